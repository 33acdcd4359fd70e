"""Checked conversion of JSON scalars to a Prediction's numbers and labels."""

from __future__ import annotations

import math
from itertools import chain
from typing import cast

from comparators.prediction import Prediction, Unreadable
from comparators.wording import quoted

SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**64 - 1
"""What a JSON document can hold exactly: the union of INT64 and UINT64."""

_NOUNS: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
    list: "an array",
    dict: "an object",
}
_FLOATS: frozenset[type] = frozenset((float,))
_REALS: frozenset[type] = frozenset((float, int))
_REALS_AND_NULL: frozenset[type] = frozenset((float, int, type(None)))
_INTEGERS: frozenset[type] = frozenset((int,))
_BOOLEANS: frozenset[type] = frozenset((bool,))
_TEXTS: frozenset[type] = frozenset((str,))
_NO_VALUES: frozenset[type] = frozenset((dict, type(None)))


def noun(value: object) -> str:
    """What JSON calls `value`."""
    return _NOUNS[type(value)]


def flattened(data: list[object], where: str) -> list[object]:
    """Arrays inside arrays, row-major. Raises Unreadable for ragged ones."""
    while data and type(data[0]) is list:
        if set(map(type, data)) != {list}:
            raise Unreadable(f"{where} mixes arrays and values")
        nested = cast("list[list[object]]", data)
        if len(set(map(len, nested))) != 1:
            raise Unreadable(f"{where} has rows of different lengths")
        data = list(chain.from_iterable(nested))
    return data


def of_scalars(where: str, rows: int, width: int, data: list[object]) -> Prediction:
    """Values of a protocol that has no datatypes: what they are decides. Raises Unreadable."""
    types = set(map(type, data))
    if types == _INTEGERS:
        return of_integers(where, rows, width, data)._replace(untyped=True)
    if types == _TEXTS:
        return of_texts(where, rows, width, data)
    if types == _BOOLEANS:
        return of_booleans(where, rows, width, data)
    if types <= _NO_VALUES:
        raise Unreadable(f"{where} is {noun(data[0])}, not a prediction")
    return of_reals(where, rows, width, data)


def of_reals(where: str, rows: int, width: int, data: list[object]) -> Prediction:
    """Numbers; null is NaN, as servers write it whose JSON has no word for it."""
    types = set(map(type, data))
    if types == _FLOATS:
        numbers = tuple(cast("list[float]", data))
    elif types <= _REALS:
        numbers = tuple(map(float, cast("list[float]", data)))
    elif types <= _REALS_AND_NULL:
        numbers = tuple(math.nan if n is None else float(n) for n in cast("list[float | None]", data))
    else:
        raise _unfit(data, _REALS_AND_NULL, where, "a number")
    return Prediction(where, rows, width, numbers)


def of_integers(
    where: str,
    rows: int,
    width: int,
    data: list[object],
    low: int = SMALLEST_INTEGER,
    high: int = LARGEST_INTEGER,
) -> Prediction:
    """Whole numbers in [low, high]; labels are their digits."""
    if len(data) == 1:  # one class of one row: the usual answer
        (value,) = data
        if type(value) is int and low <= value <= high:
            return Prediction(where, rows, width, (float(value),), (str(value),))
    if set(map(type, data)) != _INTEGERS:
        raise _unfit(data, _INTEGERS, where, "a whole number")
    numbers = cast("list[int]", data)
    if min(numbers) < low or max(numbers) > high:
        wrong = next(value for value in numbers if not low <= value <= high)
        raise Unreadable(f"{where} holds {wrong}; its datatype goes from {low} to {high}")
    return Prediction(where, rows, width, tuple(map(float, numbers)), tuple(map(str, numbers)))


def of_booleans(where: str, rows: int, width: int, data: list[object]) -> Prediction:
    """true and false, or 1 and 0 for them; labels are `true` and `false`."""
    types = set(map(type, data))
    if types != _BOOLEANS and not (types == _INTEGERS and set(cast("list[int]", data)) <= {0, 1}):
        raise _unfit(data, _BOOLEANS, where, "true or false")
    labels = tuple("true" if answer else "false" for answer in data)
    return Prediction(where, rows, width, tuple(1.0 if answer else 0.0 for answer in data), labels)


def of_texts(where: str, rows: int, width: int, data: list[object]) -> Prediction:
    """Strings; there are no numbers."""
    if set(map(type, data)) != _TEXTS:
        raise _unfit(data, _TEXTS, where, "text")
    return Prediction(where, rows, width, None, tuple(cast("list[str]", data)))


def _unfit(data: list[object], fit: frozenset[type], where: str, wanted: str) -> Unreadable:
    index, value = next((i, v) for i, v in enumerate(data) if type(v) not in fit)
    shown = "" if isinstance(value, list | dict | bool | None) else f" {quoted(value)}"
    return Unreadable(f"{where} holds {noun(value)}{shown} at {index}, where {wanted} is needed")
