"""Seldon Core's own protocol (v1): a SeldonMessage.

    {"data": {"names": ["t:0", "t:1"], "ndarray": [[0.1, 0.9]]}, "meta": {…}}
    {"data": {"names": […], "tensor": {"shape": [1, 2], "values": [0.1, 0.9]}}}
    {"strData": "…"}    {"jsonData": …}               read as plain JSON is

`names` are those of the columns, so an `output` picks one. Source: Seldon Core 1, "Prediction Proto Buffer
Spec" (SeldonMessage, DefaultData, Tensor); protobuf's JSON writes the names in camel case.
"""

from __future__ import annotations

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.plain import read_plainly
from comparators.readers.pointer import follow
from comparators.readers.scalars import noun
from comparators.readers.tables import Choice, TableReader, table
from comparators.readers.tensors import nested_by_shape
from comparators.wording import quoted
from domain.media import JSON, Media

_UNREAD = ("binData", "customData")


class SeldonReader(TableReader):
    """Reads the column called `output`; what a pointer leads to; or all there is."""

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        document = decode(inflated(body, media))
        if not isinstance(document, dict):
            raise Unreadable(f"the answer is {noun(document)}, not a Seldon message")
        if "data" not in document:
            return self._other(document)
        values, names = matrix(document["data"])
        name = self._choice.name
        if name is None:
            return table(values, self._choice, "data", self._structured)
        if name not in names:
            raise Unreadable(
                f"there is no output {quoted(name)}; data has {', '.join(map(quoted, names[:5]))}"
            )
        at = names.index(name)
        column = [row[at] if isinstance(row, list) and at < len(row) else None for row in values]
        return table(column, Choice(None, ()), self._choice.where("data"), self._structured)

    def _other(self, document: dict[str, object]) -> Prediction:
        for key in ("jsonData", "strData"):
            if key in document:
                return self._plain(document[key], key)
        for key in _UNREAD:
            if key in document:
                raise Unreadable(f"the answer is {key}, which is not compared; answer with data or jsonData")
        if "status" in document:
            status = document["status"]
            why = status.get("info") or status.get("reason") if isinstance(status, dict) else status
            raise Unreadable(f"the answer is an error: {quoted(why)}")
        raise Unreadable("the answer has none of data, jsonData and strData")

    def _plain(self, value: object, key: str) -> Prediction:
        choice = self._choice
        tokens = choice.tokens if choice.name is None else (choice.name,)
        return read_plainly(follow(value, tokens), choice.where(key), self._structured)


def matrix(data: object) -> tuple[list[object], list[object]]:
    """The values of a DefaultData, nested, and the names of its columns. Raises Unreadable."""
    if not isinstance(data, dict):
        raise Unreadable(f"data is {noun(data)}, not an object")
    names = data.get("names")
    names = names if isinstance(names, list) else []
    if "ndarray" in data:
        values = data["ndarray"]
        if not isinstance(values, list):
            raise Unreadable(f"ndarray is {noun(values)}, not an array")
        return values, names
    if "tensor" in data:
        tensor = data["tensor"]
        if not isinstance(tensor, dict):
            raise Unreadable(f"tensor is {noun(tensor)}, not an object")
        values = tensor.get("values")
        if not isinstance(values, list):
            raise Unreadable(f"the tensor's values are {noun(values)}, not an array")
        return nested_by_shape(values, tensor, "the tensor"), names
    if "tftensor" in data:
        raise Unreadable("data is a tftensor, which is not compared; answer with a tensor or an ndarray")
    raise Unreadable("data has neither an ndarray nor a tensor")
