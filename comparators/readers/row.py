"""The first row of features in a request's body, as it was asked: numbers as numbers, texts as texts.

`comparators.readers.features` reads whole tables, of numbers only, to count with. Here one row is read to be
kept and shown, by the same names: a matrix's columns are called by their index, a named tensor's by name and
index, the leaves of an object by their dotted path. Bodies and documents have the same caps, and everything
that is not features is Unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import cast

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.features import MAX_NAME
from comparators.readers.scalars import noun
from comparators.readers.seldon import matrix
from comparators.readers.tensors import prediction
from comparators.readers.v2 import read_tensors
from comparators.wording import clipped, quoted
from domain.media import Media

MOST = 1024
"""Features of one row; the others are left out."""
LONGEST = 200
"""Characters of a text; what is longer is cut."""

Value = float | str | None
Row = dict[str, Value]


def first_row(protocol: str, body: bytes, media: Media) -> Row:
    """The features of the first row, at most MOST; null and NaN are None. Raises Unreadable."""
    return _READERS[protocol](body, media)


def _v2(body: bytes, media: Media) -> Row:
    inputs, payloads = read_tensors(body, media, "inputs")
    row: Row = {}
    for at, tensor in enumerate(inputs):
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(tensor, dict) or not isinstance(name, str):
            raise Unreadable(f"input {at} has no name")
        found = prediction(tensor, f"input {quoted(name)}", None if payloads is None else payloads.get(at))
        _add(row, name, found)
    return row


def _add(row: Row, name: str, found: Prediction) -> None:
    """The first row of a tensor."""
    _check(name)
    width = min(found.width, MOST - len(row))
    values: Sequence[object] = ()
    if found.numbers is not None:
        numbers = found.numbers if len(found.numbers) == width else found.numbers[:width]
        values = numbers if math.isfinite(sum(numbers)) else [_value(one) for one in numbers]
    elif found.array is not None:
        values = [_value(one) for one in found.array[0, :width].tolist()]
    elif found.labels is not None:
        values = [_value(one) for one in found.labels[:width]]
    if found.width == 1:
        names: Sequence[str] = (name,)
    else:
        names = [f"{name}.{index}" for index in range(width)]
    row.update(zip(names, cast("Sequence[Value]", values), strict=False))


def _mlflow(body: bytes, media: Media) -> Row:
    document = _object(decode(inflated(body, media)))
    if "dataframe_split" in document:
        frame = _object(document["dataframe_split"])
        return _first(frame.get("data"), frame.get("columns"))
    if "dataframe_records" in document:
        return _first(document["dataframe_records"])
    return _of_tensors(document)


def _tfserving(body: bytes, media: Media) -> Row:
    return _of_tensors(_object(decode(inflated(body, media))))


def _of_tensors(document: Mapping[str, object]) -> Row:
    if "instances" in document:
        return _first(document["instances"])
    if "inputs" not in document:
        raise Unreadable("the request has none of the fields that hold features")
    inputs = document["inputs"]
    if not isinstance(inputs, dict):
        return _first(inputs)
    row: Row = {}
    for name, values in inputs.items():
        if not isinstance(values, list) or not values:
            raise Unreadable(f"input {quoted(name)} is {noun(values)}, not an array of rows")
        _gather(row, name, values[0])
    return row


def _seldon(body: bytes, media: Media) -> Row:
    document = _object(decode(inflated(body, media)))
    if "data" in document:
        values, names = matrix(document["data"])
        return _first(values, names or None)
    if "jsonData" in document:
        return _of_document(document["jsonData"])
    raise Unreadable("the request has neither data nor jsonData")


def _json(body: bytes, media: Media) -> Row:
    return _of_document(decode(inflated(body, media)))


def _openai(body: bytes, media: Media) -> Row:
    raise Unreadable("a request for a text has no columns of features")


def _of_document(document: object) -> Row:
    if isinstance(document, dict) and len(document) == 1:
        (only,) = document.values()
        if isinstance(only, list) and only and isinstance(only[0], dict | list):
            return _first(only)
    return _first(document if isinstance(document, list) else [document])


def _first(rows: object, names: object = None) -> Row:
    """The first of `rows`, whose values stand under `names` where they have such."""
    if not isinstance(rows, list):
        raise Unreadable(f"the features are {noun(rows)}, not an array of rows")
    if not rows:
        raise Unreadable("there are no rows of features")
    first = rows[0]
    if isinstance(names, list) and isinstance(first, list):
        if len(first) != len(names):
            raise Unreadable(f"a row has {len(first)} values; {len(names)} columns are named")
        first = dict(zip(map(str, names), first, strict=True))
    row: Row = {}
    _gather(row, "", first)
    return row


def _gather(row: Row, path: str, value: object) -> None:
    """Every leaf of `value` by its dotted path; a value alone is column 0."""
    _check(path)
    if len(row) >= MOST:
        return
    if isinstance(value, dict):
        for key, member in islice(value.items(), MOST):
            _gather(row, f"{path}.{key}" if path else key, member)
    elif isinstance(value, list):
        for index, member in enumerate(value[:MOST]):
            _gather(row, f"{path}.{index}" if path else str(index), member)
    else:
        row[path or "0"] = _value(value)


def _value(value: object) -> Value:
    if isinstance(value, str):
        return clipped(value, LONGEST)
    if isinstance(value, int | float):  # true and false are 1 and 0
        number = float(value)
        return None if math.isnan(number) else number
    return None


def _object(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise Unreadable(f"the request holds {noun(document)} where an object is needed")
    return document


def _check(name: str) -> None:
    if len(name) > MAX_NAME:
        raise Unreadable(f"the name of a feature has {len(name)} characters; up to {MAX_NAME} are looked at")


_READERS: dict[str, Callable[[bytes, Media], Row]] = {
    "v2": _v2,
    "mlflow": _mlflow,
    "tfserving": _tfserving,
    "seldon": _seldon,
    "openai": _openai,
    "json": _json,
}
