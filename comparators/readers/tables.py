"""Predictions as JSON values without a datatype: one row an instance, or named columns of them.

MLflow, TensorFlow Serving and Seldon answer so. The outermost array is the rows: [a, b] are two rows of one
value, [[a, b]] is one row of two, and of what is nested deeper the last axis is the width. Several outputs or
columns stand in objects by name, either one object a row ([{"a": 1, "b": 2}]) or one object of columns
({"a": [1], "b": [2]}). `Choice` is what the operator chose of them: a name, nothing, or a JSON pointer
(RFC 6901), which leads out of the table: what it leads to is read as plain JSON.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple, cast

from comparators.prediction import Prediction, Unreadable
from comparators.readers.plain import read_plainly
from comparators.readers.pointer import follow, pointer_tokens
from comparators.readers.scalars import flattened, noun, of_scalars
from comparators.wording import quoted

_NAMES_SHOWN = 5


class Choice(NamedTuple):
    """What of an answer is compared: `name` of an output or column, or the `tokens` of a pointer."""

    name: str | None
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, output: str | None) -> Choice:
        """Raises ValueError for an `output` that is empty, or no JSON pointer though it begins with /."""
        if output == "":
            raise ValueError("name an output, or write a JSON pointer such as /0/score; or leave this out")
        if output is not None and output.startswith("/"):
            return cls(None, pointer_tokens(output))
        return cls(output, ())

    def where(self, place: str) -> str:
        """What is chosen, for messages; `place` is the value that it is chosen from."""
        if self.tokens:
            return f"the value at {quoted('/' + '/'.join(self.tokens))} of {place}"
        return place if self.name is None else f"output {quoted(self.name)}"


class TableReader:
    """What readers of protocols have in common whose outputs are tables."""

    def __init__(self, output: str | None = None, structured: bool = False) -> None:
        """Raises ValueError for an `output` that can be none."""
        self._choice = Choice.of(output)
        self._structured = structured


def table(value: object, choice: Choice, place: str, structured: bool) -> Prediction:
    """The prediction in `value`, which stands at `place` in the answer. Raises Unreadable."""
    where = choice.where(place)
    if choice.tokens:
        return read_plainly(follow(value, choice.tokens), where, structured)
    value = _chosen(value, choice.name, place)
    if not structured:
        return _tabular(value, where)
    instances = value if isinstance(value, list) and value else [value]
    own = instances[0] if len(instances) == 1 else instances
    try:
        found = _tabular(value, where)
    except Unreadable:
        return Prediction(where, len(instances), 1, structure=own)
    width = found.rows * found.width // len(instances)
    return found._replace(rows=len(instances), width=width, structure=own)


def _chosen(value: object, name: str | None, place: str) -> object:
    """The output or column called `name`, or the only one; what has no names is taken whole."""
    if isinstance(value, dict) and "b64" not in value:
        return _column(value, name, place)
    if isinstance(value, list) and value and type(value[0]) is dict and "b64" not in value[0]:
        return _column_of_records(value, name, place)
    if name is not None:
        raise Unreadable(f"there is no output {quoted(name)}; {place} is {noun(value)} without names")
    return value


def _column(columns: dict[str, object], name: str | None, place: str) -> object:
    if name is not None:
        if name in columns:
            return columns[name]
        raise Unreadable(f"there is no output {quoted(name)}; {place} has {_names(columns)}")
    if len(columns) == 1:
        return next(iter(columns.values()))
    return columns


def _column_of_records(records: list[object], name: str | None, place: str) -> object:
    if name is None:
        return records
    column: list[object] = []
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise Unreadable(f"row {row} of {place} is {noun(record)}, where an object is needed")
        if name not in record:
            raise Unreadable(f"there is no output {quoted(name)}; row {row} of {place} has {_names(record)}")
        column.append(record[name])
    return column


def _tabular(value: object, where: str) -> Prediction:
    if isinstance(value, dict) and "b64" not in value:
        raise Unreadable(f"{where} has {_names(value)}: name one with compare.output")
    if not isinstance(value, list):
        return of_scalars(where, 1, 1, [_decoded(value, where)])
    if not value:
        raise Unreadable(f"{where} is an empty array")
    if type(value[0]) is dict and "b64" not in value[0]:
        value = _rows_of_records(value, where)
    inner: object = value
    width = 1
    while isinstance(inner, list) and inner and type(inner[0]) is list:
        inner = inner[0]
        width = len(cast("list[object]", inner))
    data = flattened(value, where)
    if not data:
        raise Unreadable(f"{where} has empty rows")
    if type(data[0]) is dict:
        data = [_decoded(item, where) for item in data]
    return of_scalars(where, len(data) // width, width, data)


def _rows_of_records(records: list[object], where: str) -> list[object]:
    """Records of numbers as rows of them, by their names: 0, 1, … 10, and else in the alphabet's order.

    By name, because no order of keys means anything; a data frame's columns may come in another order.
    """
    first = cast("dict[str, object]", records[0])
    names = sorted(first, key=lambda name: (0, int(name), name) if _is_index(name) else (1, 0, name))
    rows: list[object] = []
    for row, record in enumerate(records):
        if not isinstance(record, dict) or record.keys() != first.keys():
            raise Unreadable(f"row {row} of {where} has other columns than row 0")
        rows.append([record[name] for name in names])
    values = [value for row in cast("list[list[object]]", rows) for value in row]
    if len(names) > 1 and not all(type(value) in (int, float) for value in values):
        raise Unreadable(f"{where} has {_names(first)}: name one with compare.output")
    return rows


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10


def _decoded(value: object, where: str) -> object:
    """Text that came as {"b64": ...}, because it may be no text (TensorFlow Serving's binary values)."""
    if not isinstance(value, dict):
        return value
    coded = value.get("b64")
    if not isinstance(coded, str) or len(value) != 1:
        return value
    try:
        return base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unreadable(f"{where} holds a base64 value that is no text") from None


def _names(columns: dict[str, object]) -> str:
    names = ", ".join(map(quoted, list(columns)[:_NAMES_SHOWN]))
    more = len(columns) - _NAMES_SHOWN
    return f"{names} and {more} more" if more > 0 else names or "no names"
