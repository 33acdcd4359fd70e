"""The features in a request's body, as named columns of numbers: what cohorts and drift look at.

Whatever a protocol calls its inputs, a request becomes a table: a column a feature, a row an instance. Truth
is 1 and 0; text and null are NaN, for they are there but are no numbers. A matrix has no names of its own, so
its columns are called by their index ("0", "1"), or, as a named tensor, by name and index ("x.0", "x.1");
`Features.column` finds a column by its name, and by its index when none has that name.

Nothing that a client sends is trusted here: bodies have the caps of `document`, tables have at most
MAX_COLUMNS columns, whose names have at most MAX_NAME characters, and everything else is Unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from comparators.prediction import Prediction, Unreadable, Values
from comparators.readers.document import MAX_PARTS
from comparators.readers.table import Table, demand_short, named_tensors, table
from domain.media import Media

MAX_COLUMNS = 10_000
"""In one table of features."""

Column = Sequence[object]


class Features(NamedTuple):
    """Named columns: `values` has shape (rows, columns); `reason` says why there are none, where so."""

    names: tuple[str, ...]
    values: Values
    reason: str = ""

    def column(self, name: str) -> Values | None:
        """The column called `name`, or, when none is, the one at that index; None when there is neither."""
        if name in self.names:
            return self.values[:, self.names.index(name)]
        if name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(self.names):
            return self.values[:, int(name)]
        return None


def without_features(reason: str) -> Features:
    """No columns, because of `reason`."""
    return Features((), np.empty((0, 0)), reason)


def features(protocol: str, body: bytes, media: Media) -> Features:
    """The features in a request of `protocol` (one of PROTOCOLS). Never raises: see `reason`."""
    try:
        return _read(protocol, body, media)
    except Unreadable as error:
        return without_features(error.reason.replace("the answer", "the request"))


def _read(protocol: str, body: bytes, media: Media) -> Features:
    if protocol == "v2":
        return _of_tensors(*named_tensors(body, media))
    found = table(protocol, body, media)
    return _of_rows(found) if found.inputs is None else _of_inputs(found.inputs)


def _of_tensors(count: int, tensors: Iterable[tuple[str, Prediction]]) -> Features:
    columns: dict[str, Column] = {}
    for name, found in tensors:
        if count == 1 and found.has_numbers:
            return _of_matrix(found, name)
        columns |= _columns_of(found, name)
    return _of_columns(columns)


def _of_matrix(found: Prediction, name: str) -> Features:
    if found.width > MAX_COLUMNS:
        raise _too_wide(found.width)
    return Features(_names(name, found.width), found.values)


def _columns_of(found: Prediction, name: str) -> dict[str, Column]:
    if found.width > MAX_COLUMNS:
        raise _too_wide(found.width)
    numbers = found.real() if found.has_numbers else (math.nan,) * (found.rows * found.width)
    return {column: numbers[at :: found.width] for at, column in enumerate(_names(name, found.width))}


def _names(name: str, width: int) -> tuple[str, ...]:
    demand_short(name)
    return (name,) if width == 1 else tuple(f"{name}.{at}" for at in range(width))


def _of_inputs(inputs: Mapping[str, object]) -> Features:
    columns: dict[str, Column] = {}
    for name, values in inputs.items():
        part = _of_rows(Table(values))
        for at, column in enumerate(_names(name, len(part.names))):
            columns[column] = part.values[:, at].tolist()
    return _of_columns(columns)


def _of_rows(whole: Table) -> Features:
    """A row an instance: an object of leaves, an array of numbers, nested or not, or a number."""
    rows, names = whole.some(), whole.names
    found: list[dict[str, float]] = [{} for _ in rows]
    given = [str(name) for name in names] if isinstance(names, list) else []
    cells = 0
    for row, leaves in zip(rows, found, strict=True):
        if given and isinstance(row, list):
            if len(row) != len(given):
                raise Unreadable(f"a row has {len(row)} values; {len(given)} columns are named")
            row = dict(zip(given, row, strict=True))  # noqa: PLW2901 - the same row, by its names
        _gather(leaves, "", row)
        cells += len(leaves)
        if cells > MAX_PARTS:
            raise Unreadable(f"there are more than {MAX_PARTS} values of features")
    columns = tuple(dict.fromkeys(name for leaves in found for name in leaves))
    if len(columns) > MAX_COLUMNS or len(columns) * len(rows) > 4 * MAX_PARTS:
        raise _too_wide(len(columns))
    if not columns:
        raise Unreadable("the rows have no features")
    values = [[leaves.get(name, math.nan) for name in columns] for leaves in found]
    return Features(columns, np.array(values, dtype=np.float64))


def _gather(leaves: dict[str, float], path: str, value: object) -> None:
    """Every leaf of `value` by its dotted path; a value alone is column 0."""
    demand_short(path)
    if isinstance(value, dict):
        for key, member in value.items():
            _gather(leaves, f"{path}.{key}" if path else key, member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _gather(leaves, f"{path}.{index}" if path else str(index), member)
    else:
        leaves[path or "0"] = float(value) if isinstance(value, int | float) else math.nan


def _of_columns(columns: dict[str, Column]) -> Features:
    if len(columns) > MAX_COLUMNS:
        raise _too_wide(len(columns))
    lengths = set(map(len, columns.values()))
    if len(lengths) != 1:
        raise Unreadable("the inputs have different numbers of rows")
    values = np.array([cast("Sequence[float]", column) for column in columns.values()], dtype=np.float64)
    return Features(tuple(columns), values.T)


def _too_wide(columns: int) -> Unreadable:
    return Unreadable(f"there are {columns} columns of features; up to {MAX_COLUMNS} are looked at")
