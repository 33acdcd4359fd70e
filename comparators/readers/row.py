"""The first row of features in a request's body, as it was asked: numbers as numbers, texts as texts.

`comparators.readers.features` reads whole tables, of numbers only, to count with. Here one row is read to be
kept and shown, by the same names: a matrix's columns are called by their index, a named tensor's by name and
index, the leaves of an object by their dotted path. Bodies and documents have the same caps, and everything
that is not features is Unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import cast

from comparators.prediction import Prediction, Unreadable
from comparators.readers.scalars import noun
from comparators.readers.table import Table, demand_short, named_tensors, table
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
    if protocol == "v2":
        return _of_tensors(named_tensors(body, media)[1])
    found = table(protocol, body, media)
    return _first(found) if found.inputs is None else _of_inputs(found.inputs)


def _of_tensors(tensors: Iterable[tuple[str, Prediction]]) -> Row:
    row: Row = {}
    for name, found in tensors:
        _add(row, name, found)
    return row


def _add(row: Row, name: str, found: Prediction) -> None:
    """The first row of a tensor."""
    demand_short(name)
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


def _of_inputs(inputs: Mapping[str, object]) -> Row:
    row: Row = {}
    for name, values in inputs.items():
        if not isinstance(values, list) or not values:
            raise Unreadable(f"input {quoted(name)} is {noun(values)}, not an array of rows")
        _gather(row, name, values[0])
    return row


def _first(whole: Table) -> Row:
    """The first row, whose values stand under the table's names where it has such."""
    first, names = whole.some()[0], whole.names
    if isinstance(names, list) and isinstance(first, list):
        if len(first) != len(names):
            raise Unreadable(f"a row has {len(first)} values; {len(names)} columns are named")
        first = dict(zip(map(str, names), first, strict=True))
    row: Row = {}
    _gather(row, "", first)
    return row


def _gather(row: Row, path: str, value: object) -> None:
    """Every leaf of `value` by its dotted path; a value alone is column 0."""
    demand_short(path)
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
