"""OpenAI's interface, as it and vLLM, llama.cpp, Ollama, TGI and many others speak it.

Chat completions, legacy completions and embeddings. A choice is a row: its label is the text; its structure,
where tools are called or a structure is wanted, says what is called with what; its confidence is
exp(mean log probability of its tokens), the geometric mean of their probabilities, where the server gives
them. Ids, times and counts of tokens are no part of a prediction.

A streamed answer (server-sent events) is joined again: deltas by choice, calls of tools by their index, names
and arguments in fragments. It must end, with `[DONE]` or a finish_reason for every choice; what breaks off
is no answer. Source: OpenAI API reference, "The chat completion object" and "... chunk object",
"The completion object", "The embedding object".
"""

from __future__ import annotations

import base64
import binascii
from typing import cast

import numpy as np
import orjson

from comparators.prediction import SMALL, Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.choices import Choice, joined, of_answer
from comparators.readers.document import MAX_PARTS, decode
from comparators.readers.events import event_data
from comparators.readers.plain import read_plainly
from comparators.readers.pointer import follow, pointer_tokens
from comparators.readers.scalars import flattened, noun, of_reals
from comparators.wording import quoted
from domain.media import JSON, Media

TOOL_CALLS = "tool_calls"
_EVENT_STREAM = "text/event-stream"
_STREAM_STARTS = (b"data:", b":", b"event:", b"id:", b"retry:")


class OpenAiReader:
    """Reads the texts of all choices; `tool_calls` reads their calls; a pointer, their texts as JSON."""

    def __init__(self, output: str | None = None, structured: bool = False) -> None:
        """Raises ValueError for an `output` that is none of these."""
        if output is not None and output != TOOL_CALLS and not output.startswith("/"):
            raise ValueError(
                "write tool_calls, or a JSON pointer into texts that are JSON; or leave this out"
            )
        self._calls = output == TOOL_CALLS
        self._pointer = None if self._calls else output
        self._tokens = pointer_tokens(self._pointer or "")
        self._structured = structured

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        body = inflated(body, media)
        if media.media_type == _EVENT_STREAM or body.startswith(_STREAM_STARTS):
            return self._of_choices(joined(event_data(body)))
        document = decode(body)
        if not isinstance(document, dict):
            raise Unreadable(f"the answer is {noun(document)}, not an object with choices or data")
        if "choices" in document:
            return self._of_choices(of_answer(document["choices"]))
        if document.get("error") is not None:
            raise Unreadable(f"the answer is an error: {quoted(_error(document['error']))}")
        if "data" in document:
            return _embeddings(document["data"])
        raise Unreadable("the answer has neither choices nor data")

    def _of_choices(self, choices: list[Choice]) -> Prediction:
        if self._pointer is not None:
            return self._of_texts_as_json(choices)
        rows = len(choices)
        called = any(choice.calls for choice in choices)
        if self._calls:
            calls: list[object] = [choice.call_structure() for choice in choices]
            labels = tuple(orjson.dumps(one, option=orjson.OPT_SORT_KEYS).decode() for one in calls)
            return Prediction("the tool calls", rows, 1, None, labels, structure=_own(calls))
        structure = _own([choice.structure() for choice in choices]) if called or self._structured else None
        confidences = tuple(choice.confidence for choice in choices)
        return Prediction(
            "the choices",
            rows,
            1,
            None,
            tuple(choice.text or "" for choice in choices),
            structure=structure,
            confidences=None if None in confidences else cast("tuple[float, ...]", confidences),
        )

    def _of_texts_as_json(self, choices: list[Choice]) -> Prediction:
        """What the pointer leads to in each choice's text; one value a choice when there are several."""
        where = f"the value at {quoted(self._pointer)} of the text"
        values = [follow(decode((choice.text or "").encode()), self._tokens) for choice in choices]
        return read_plainly(values[0] if len(values) == 1 else values, where, self._structured)


def _own(rows: list[object]) -> object:
    return rows[0] if len(rows) == 1 else rows


def _error(error: object) -> object:
    return error.get("message") if isinstance(error, dict) else error


def _embeddings(data: object) -> Prediction:
    """One row an embedding, in the order of their `index`: an array of floats, or base64 of FP32."""
    where = "the embeddings"
    if not isinstance(data, list) or not data:
        raise Unreadable(f"data is {noun(data)}, not an array of embeddings" if data else "data is empty")
    vectors: list[tuple[int, object]] = []
    for place, item in enumerate(data):
        if not isinstance(item, dict) or "embedding" not in item:
            raise Unreadable(f"element {place} of data has no embedding")
        index = item.get("index", place)
        vectors.append((index if type(index) is int else place, item["embedding"]))
    vectors.sort(key=lambda vector: vector[0])
    if isinstance(vectors[0][1], str):
        return _of_base64([vector for _, vector in vectors], where)
    values = flattened([vector for _, vector in vectors], where)
    if not values or len(values) < len(vectors) or not isinstance(vectors[0][1], list):
        raise Unreadable(f"{where} are empty" if not values else f"{where} are no arrays of numbers")
    return of_reals(where, len(vectors), len(values) // len(vectors), values)


def _of_base64(vectors: list[object], where: str) -> Prediction:
    rows: list[bytes] = []
    for vector in vectors:
        if not isinstance(vector, str):
            raise Unreadable(f"{where} mix arrays and base64")
        try:
            rows.append(base64.b64decode(vector, validate=True))
        except (binascii.Error, ValueError):
            raise Unreadable(f"{where} hold text that is not base64") from None
    size = len(rows[0])
    if not size or size % 4 or any(len(row) != size for row in rows):
        raise Unreadable(f"{where} are not all of one number of 32-bit floats")
    values = np.frombuffer(b"".join(rows), "<f4")
    if len(values) > MAX_PARTS:
        raise Unreadable(f"{where} have {len(values)} values; up to {MAX_PARTS} are compared")
    if len(values) <= SMALL:
        return Prediction(where, len(rows), size // 4, tuple(values.tolist()))
    return Prediction(where, len(rows), size // 4, array=values.reshape(len(rows), size // 4))
