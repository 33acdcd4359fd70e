"""The choices of a generated answer: text, calls of tools, confidence; whole, or joined from a stream."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from comparators.prediction import Unreadable
from comparators.readers.document import decode
from comparators.readers.scalars import noun
from comparators.wording import quoted

MAX_CHOICES = 1024
"""In one answer. OpenAI allows 128 for one prompt; completions of several prompts come in one list."""

_MAX_CALLS = 1024
_DONE = b"[DONE]"


@dataclass(slots=True)
class Call:
    """One call of a tool; `arguments` is the text that the model wrote, which should be JSON."""

    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def structure(self) -> dict[str, object]:
        """The arguments as JSON where they are, else as the text they are."""
        text = "".join(self.arguments)
        try:
            arguments: object = decode(text.encode())
        except Unreadable:
            arguments = text
        return {"name": self.name, "arguments": arguments}


@dataclass(slots=True)
class Choice:
    """One choice, as it gathers."""

    texts: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    log_probabilities: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    said_something: bool = False

    @property
    def text(self) -> str | None:
        """None when it has no text at all (null), as beside calls of tools."""
        return "".join(self.texts) if self.said_something else None

    @property
    def confidence(self) -> float | None:
        """exp(mean log probability) of the tokens; None where the server gives none."""
        known = self.log_probabilities
        if not known:
            return None
        return math.exp(sum(known) / len(known))

    def call_structure(self) -> list[object]:
        """The calls in the order of their index."""
        return [self.calls[index].structure() for index in sorted(self.calls)]

    def structure(self) -> dict[str, object]:
        """What the choice says, as JSON: the text, the calls, and why it ends there."""
        calls = self.call_structure()
        return {"content": self.text, "tool_calls": calls, "finish_reason": self.finish_reason}

    def add(self, part: dict[str, object]) -> None:
        """What one choice object, whole or of a stream, says. Raises Unreadable."""
        message = part.get("message", part.get("delta"))
        if message is None:
            self._say(part.get("text"))
        elif isinstance(message, dict):
            content = message.get("content")
            refusal = message.get("refusal")
            self._say(refusal if content is None and refusal is not None else content)
            self._call(message.get("tool_calls"), message.get("function_call"))
        else:
            raise Unreadable(f"a choice's message is {noun(message)}, not an object")
        self._weigh(part.get("logprobs"))
        reason = part.get("finish_reason")
        if isinstance(reason, str):
            self.finish_reason = reason

    def _say(self, content: object) -> None:
        if content is None:
            return
        if isinstance(content, list):  # parts: [{"type": "text", "text": ...}]
            for piece in content:
                self._say(piece.get("text") if isinstance(piece, dict) else piece)
            return
        if not isinstance(content, str):
            raise Unreadable(f"a choice's content is {noun(content)}, not text")
        self.said_something = True
        self.texts.append(content)

    def _call(self, calls: object, function_call: object) -> None:
        if isinstance(function_call, dict):  # what tool calls were called before there were several
            calls = [{"index": 0, "function": function_call}]
        if calls is None:
            return
        if not isinstance(calls, list):
            raise Unreadable(f"a choice's tool_calls are {noun(calls)}, not an array")
        for place, fragment in enumerate(calls):
            if not isinstance(fragment, dict):
                raise Unreadable(f"a tool call is {noun(fragment)}, not an object")
            index = _index(fragment, place, _MAX_CALLS, "a tool call")
            function = fragment.get("function")
            if function is not None and not isinstance(function, dict):
                raise Unreadable(f"a tool call's function is {noun(function)}, not an object")
            self._extend(self.calls.setdefault(index, Call()), function or {})

    def _extend(self, call: Call, function: dict[str, object]) -> None:
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name != call.name:  # some servers repeat it in every fragment
            call.name += name
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:
            raise Unreadable(f"a tool call's arguments are {noun(arguments)}, not text")

    def _weigh(self, logprobs: object) -> None:
        """Chat: {"content": [{"logprob": x}]}; legacy: {"token_logprobs": [x]}, null for the first."""
        if not isinstance(logprobs, dict):
            return
        tokens = logprobs.get("content") or logprobs.get("refusal")
        if isinstance(tokens, list):
            found = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
        else:
            legacy = logprobs.get("token_logprobs")
            found = legacy if isinstance(legacy, list) else []
        for value in found:
            if isinstance(value, int | float) and not math.isnan(value):
                self.log_probabilities.append(min(0.0, value))


def of_answer(choices: object) -> list[Choice]:
    """The choices of a whole answer, by index. Raises Unreadable."""
    gathered: dict[int, Choice] = {}
    _gather(gathered, choices)
    return _ordered(gathered)


def joined(events: Iterable[bytes]) -> list[Choice]:
    """The choices of a streamed answer, by index. Raises Unreadable, also when the stream breaks off."""
    gathered: dict[int, Choice] = {}
    for data in events:
        if data.strip() == _DONE:
            return _ordered(gathered)
        chunk = decode(data)
        if not isinstance(chunk, dict):
            raise Unreadable(f"an event of the stream is {noun(chunk)}, not an object")
        if chunk.get("error") is not None:
            error = chunk["error"]
            message = error.get("message") if isinstance(error, dict) else error
            raise Unreadable(f"the stream ends with an error: {quoted(message)}")
        _gather(gathered, chunk.get("choices", []))
    unfinished = sum(choice.finish_reason is None for choice in gathered.values())
    if unfinished or not gathered:
        raise Unreadable("the stream breaks off: neither [DONE] nor a finish_reason for every choice")
    return _ordered(gathered)


def _gather(gathered: dict[int, Choice], choices: object) -> None:
    if not isinstance(choices, list):
        raise Unreadable(f"choices is {noun(choices)}, not an array")
    for place, part in enumerate(choices):
        if not isinstance(part, dict):
            raise Unreadable(f"choice {place} is {noun(part)}, not an object")
        gathered.setdefault(_index(part, place, MAX_CHOICES, "a choice"), Choice()).add(part)


def _index(part: dict[str, object], place: int, most: int, what: str) -> int:
    """The index that a part says it has, its place where it says none. Raises Unreadable."""
    index = part.get("index", place)
    if type(index) is not int or not 0 <= index < most:
        raise Unreadable(f"{what} has {quoted(index)} for an index; up to {most} are compared")
    return index


def _ordered(gathered: dict[int, Choice]) -> list[Choice]:
    if not gathered:
        raise Unreadable("the answer has no choices")
    return [gathered[index] for index in sorted(gathered)]
