"""The Open Inference Protocol (V2), as KServe, MLServer, Triton and OpenVINO answer.

    {"outputs": [{"name": ..., "shape": [n, k], "datatype": "FP64", "data": [...]}]}

Source: Open Inference Protocol, "Inference Response JSON Object" and "Binary Tensor Data Extension". In the
extension, `Inference-Header-Content-Length` says where the JSON ends; the bytes of the tensors that have a
parameter `binary_data_size` follow, in the order of the tensors; others have their `data` as ever. `data` may
be flat or nested, row-major either way.
"""

from __future__ import annotations

from typing import cast

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import MAX_BODY, decode
from comparators.readers.frames import Frames
from comparators.readers.scalars import noun
from comparators.readers.tensors import (
    EmptyTensor,
    Tensor,
    nested,
    numeric,
    prediction,
    row_values,
    without_values,
)
from comparators.wording import counted, quoted
from domain.media import JSON, Media

Payloads = dict[int, memoryview]
"""The raw bytes of tensors, by the place of the tensor among the outputs (or inputs)."""


class V2Reader:
    """Reads the output tensor called `output`, or the first one; for structures without a name, all."""

    def __init__(self, output: str | None = None, structured: bool = False) -> None:
        """Raises ValueError for an empty `output`."""
        if output == "":
            raise ValueError("name an output tensor; without it the first is taken")
        self._output = output
        self._structured = structured
        self._where = "the first output" if output is None else f"output {quoted(output)}"
        self._frames = Frames(self._tensor, lambda tensor: numeric(tensor, self._where))

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        if media is not JSON or self._structured:
            return self._read(body, media)
        found = self._frames.read(body)
        if found is None:
            found = self._read(body, media)
            self._frames.missed(body)
        return found

    def _tensor(self, document: object) -> Tensor:
        return self._pick(_tensors(document, "outputs"))[1]

    def _read(self, body: bytes, media: Media) -> Prediction:
        outputs, payloads = read_tensors(body, media, "outputs")
        if self._structured and self._output is None and len(outputs) > 1:
            return _all(outputs, payloads)
        at, output = self._pick(outputs)
        payload = None if payloads is None else payloads.get(at)
        if self._structured:
            return _structured(output, self._where, payload)
        return prediction(output, self._where, payload)

    def _pick(self, outputs: list[object]) -> tuple[int, Tensor]:
        wanted, first = self._output, outputs[0]
        if wanted is None:
            if type(first) is dict:
                return 0, first
            raise Unreadable(f"the first output is {noun(first)}, not an object")
        if len(outputs) == 1 and type(first) is dict and first.get("name") == wanted:
            return 0, first
        found = [
            (at, output)
            for at, output in enumerate(outputs)
            if isinstance(output, dict) and output.get("name") == wanted
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise Unreadable(f"{len(found)} outputs are called {quoted(wanted)}")
        names = [quoted(output.get("name")) for output in outputs if isinstance(output, dict)]
        there = ", ".join(names[:5]) or "none that is an object"
        raise Unreadable(f"there is no output {quoted(wanted)}; the answer has {there}")


def read_tensors(body: bytes, media: Media, key: str) -> tuple[list[object], Payloads | None]:
    """The tensors at `key` (outputs or inputs), and their bytes in a binary message. Raises Unreadable."""
    if media is JSON:
        return _tensors(decode(body), key), None
    body = inflated(body, media)
    if media.header_length is None:
        return _tensors(decode(body), key), None
    return _split(body, media.header_length, key)


def _tensors(document: object, key: str) -> list[object]:
    """The list at `key` (outputs or inputs), which is not empty. Raises Unreadable."""
    if type(document) is not dict:
        raise Unreadable(f"the answer is {noun(document)}, not an object with {key}")
    found = document.get(key)
    if type(found) is list and found:
        return found
    if "error" in document:
        raise Unreadable(f"the answer is an error: {quoted(document['error'])}")
    if key not in document:
        raise Unreadable(f"the answer has no {key}")
    if isinstance(found, list):
        raise Unreadable(f"the list of {key} is empty")
    raise Unreadable(f"{key} is {noun(found)}, not an array")


def _split(body: bytes, header_length: int, key: str) -> tuple[list[object], Payloads]:
    """The tensors at `key`, and the bytes behind the JSON that are theirs. Raises Unreadable."""
    if len(body) > MAX_BODY:
        raise Unreadable(f"the answer has {len(body)} bytes; up to {MAX_BODY} are compared")
    if header_length < 0:
        raise Unreadable("the Inference-Header-Content-Length is no number of bytes")
    if header_length > len(body):
        size = counted(len(body), "byte")
        raise Unreadable(f"the Inference-Header-Content-Length is {header_length}; the answer has {size}")
    found = _tensors(decode(body[:header_length]), key)
    payloads: Payloads = {}
    at, raw = header_length, memoryview(body)
    for index, tensor in enumerate(found):
        length = _binary_size(tensor)
        if length is not None:
            payloads[index] = raw[at : at + length]
            at += length
    if at != len(body):
        there, said = counted(len(body) - header_length, "byte"), at - header_length
        raise Unreadable(f"{there} of tensors came behind the JSON, which asks for {said}")
    return found, payloads


def _binary_size(tensor: object) -> int | None:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    if not isinstance(parameters, dict) or "binary_data_size" not in parameters:
        return None
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise Unreadable(f"a binary_data_size is {quoted(size)}, which is no number of bytes")
    return size


def _structured(output: Tensor, where: str, payload: memoryview | None) -> Prediction:
    """The output with its structure: rows of values, or arrays inside them when it has more dimensions."""
    try:
        found = prediction(output, where, payload)
    except EmptyTensor:
        return Prediction(where, 1, 1, structure=without_values(output, where))
    deep = len(cast("list[int]", output["shape"])) > 2
    return found._replace(structure=nested(output, found) if deep else row_values(output, found))


def _all(outputs: list[object], payloads: Payloads | None) -> Prediction:
    """Every output by its name, as one structure."""
    structure: dict[str, object] = {}
    for at, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(output, dict) or not isinstance(name, str):
            raise Unreadable(f"output {at} has no name")
        if name in structure:
            raise Unreadable(f"2 outputs are called {quoted(name)}")
        where = f"output {quoted(name)}"
        try:
            found = prediction(output, where, None if payloads is None else payloads.get(at))
        except EmptyTensor:
            structure[name] = without_values(output, where)
        else:
            structure[name] = nested(output, found)
    return Prediction("the outputs", 1, 1, structure=structure)
