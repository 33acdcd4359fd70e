"""A test double of a server that speaks OpenAI's chat and completions API, streamed or whole.

It writes what such servers write on the wire: a role first, then the text in pieces, then the finish
reason, usage when it is asked for, and `[DONE]`; tool calls whose arguments come in pieces; logarithms of
probabilities. What it says is fixed by `says`, `calls` and the request, so the same request gets the same
answer, apart from the identifiers and the times that real servers make anew for each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

from tests.support.upstream import Heard, ScriptedUpstream


class OpenAIServer(ScriptedUpstream):
    """`says` is its text, one token a word; `calls` is a tool call (name, arguments) in place of a text."""

    def __init__(
        self, model: str, says: str, *, certainty: float = 0.9, calls: tuple[str, object] | None = None
    ) -> None:
        super().__init__(self._answer)
        self.model = model
        self.says = says
        self.certainty = certainty
        self.calls = calls
        self._numbers = itertools.count(1)

    async def _answer(self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(heard.body)
        chat = heard.line.split()[1] == b"/v1/chat/completions"
        if not asked.get("stream"):
            body = json.dumps(self.whole(asked) if chat else self.completion(asked)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await writer.drain()
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for event in self.events(asked) if chat else self.completion_events(asked):
            data = b"data: %b\n\n" % event
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def whole(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": self.says, "refusal": None}
        reason = "stop"
        if self._calls_tool(asked):
            message["content"], reason = None, "tool_calls"
            message["tool_calls"] = [{"id": f"call_{next(self._numbers)}", **self._call()}]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(asked, self._tokens()),
            "finish_reason": reason,
        }
        return self._envelope("chat.completion") | {"choices": [choice], "usage": self._usage()}

    def events(self, asked: dict[str, Any]) -> Iterator[bytes]:
        """The data of a streamed chat's events, `[DONE]` included."""
        envelope = self._envelope("chat.completion.chunk")
        for delta, logprobs, reason in self._deltas(asked):
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
            yield json.dumps(envelope | {"choices": [choice]}).encode()
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield json.dumps(envelope | {"choices": [], "usage": self._usage()}).encode()
        yield b"[DONE]"

    def completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A `text_completion`, of the older API."""
        choice = {"index": 0, "text": self.says, "logprobs": None, "finish_reason": "stop"}
        return self._envelope("text_completion") | {"choices": [choice], "usage": self._usage()}

    def completion_events(self, asked: dict[str, Any]) -> Iterator[bytes]:
        """The data of a streamed completion's events, `[DONE]` included."""
        envelope = self._envelope("text_completion")
        for token in (*self._tokens(), ""):
            choice = {
                "index": 0, "text": token, "logprobs": None, "finish_reason": None if token else "stop",
            }  # fmt: skip
            yield json.dumps(envelope | {"choices": [choice]}).encode()
        yield b"[DONE]"

    def _deltas(self, asked: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any, str | None]]:
        yield {"role": "assistant", "content": None if self._calls_tool(asked) else ""}, None, None
        if not self._calls_tool(asked):
            for token in self._tokens():
                yield {"content": token}, self._logprobs(asked, [token]), None
            yield {}, None, "stop"
            return
        call = self._call()
        arguments = call["function"]["arguments"]
        opened = call | {"function": call["function"] | {"arguments": ""}}
        yield {"tool_calls": [{"index": 0, "id": f"call_{next(self._numbers)}", **opened}]}, None, None
        for at in range(0, len(arguments), 7):
            piece = {"index": 0, "function": {"arguments": arguments[at : at + 7]}}
            yield {"tool_calls": [piece]}, None, None
        yield {}, None, "tool_calls"

    def _calls_tool(self, asked: dict[str, Any]) -> bool:
        return self.calls is not None and bool(asked.get("tools"))

    def _call(self) -> dict[str, Any]:
        assert self.calls is not None
        name, arguments = self.calls
        return {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}

    def _tokens(self) -> list[str]:
        first, *rest = self.says.split(" ")
        return [first, *(f" {word}" for word in rest)]

    def _logprobs(self, asked: dict[str, Any], tokens: list[str]) -> dict[str, Any] | None:
        if not asked.get("logprobs"):
            return None
        chance = math.log(self.certainty)
        return {
            "content": [
                {"token": token, "logprob": chance, "bytes": list(token.encode()), "top_logprobs": []}
                for token in tokens
            ],
            "refusal": None,
        }

    def _envelope(self, kind: str) -> dict[str, Any]:
        number = next(self._numbers)
        return {
            "id": f"chatcmpl-{self.model}-{number}", "object": kind, "created": 1_760_000_000 + number,
            "model": self.model, "system_fingerprint": f"fp_{self.model}",
        }  # fmt: skip

    def _usage(self) -> dict[str, int]:
        said = len(self._tokens())
        return {"prompt_tokens": 12, "completion_tokens": said, "total_tokens": 12 + said}
