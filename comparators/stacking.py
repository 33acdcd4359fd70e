"""The rows of many pairs under each other, so that NumPy compares a batch at once.

NumPy's fixed cost is some 5 µs a call whatever the size, a pair of small answers holds two numbers, and a
batch holds hundreds of pairs. So the rows of all pairs of one width become two arrays, the incumbents' and
the candidates', and what belongs to a pair is a segment of them. A pair's numbers never depend on what else
stands in the batch: all that is computed is computed by element, by row or by segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comparators.kind import PredictionPair
from comparators.prediction import Prediction, Values

Rows = NDArray[np.intp]


FEW = 4
"""Numbers of a row up to which one pair alone is compared without NumPy: ten times as fast."""


class Stack(NamedTuple):
    """Pairs whose predictions have the same rows and width each.

    Attributes:
        places: where each pair stands in the batch.
        rows: how many rows each pair has, one at least.
        starts: index of each pair's first row.
        incumbent: shape (all rows, width).
        candidate: shape (all rows, width).
    """

    places: list[int]
    rows: list[int]
    starts: Rows
    incumbent: Values
    candidate: Values


def stacked(pairs: Sequence[PredictionPair], places: Iterable[int]) -> list[Stack]:
    """The pairs at `places`, whose predictions have numbers and the same shape, one stack a width."""
    by_width: dict[int, list[int]] = {}
    for place in places:
        by_width.setdefault(pairs[place][0].width, []).append(place)
    return [_stack(pairs, width, found) for width, found in by_width.items()]


def alone(pairs: Sequence[PredictionPair]) -> bool:
    """Whether `pairs` are one pair of one short row of numbers each, of the same width."""
    if len(pairs) != 1:
        return False
    incumbent, candidate = pairs[0]
    return (
        incumbent.rows == candidate.rows == 1
        and incumbent.width == candidate.width <= FEW
        and incumbent.numbers is not None
        and candidate.numbers is not None
    )


def sum_of_few(values: Sequence[float]) -> float:
    """The sum of at least one number, and of fewer than eight, as NumPy rounds it: from left to right.

    (From Python 3.12 on `sum` is more exact than that.)
    """
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _stack(pairs: Sequence[PredictionPair], width: int, places: list[int]) -> Stack:
    rows = [pairs[place][0].rows for place in places]
    starts = np.zeros(len(rows), dtype=np.intp)
    np.cumsum(rows[:-1], out=starts[1:])
    return Stack(
        places,
        rows,
        starts,
        _below_each_other([pairs[place][0] for place in places], sum(rows), width),
        _below_each_other([pairs[place][1] for place in places], sum(rows), width),
    )


def _below_each_other(predictions: list[Prediction], rows: int, width: int) -> Values:
    if all(prediction.array is None for prediction in predictions):
        numbers = chain.from_iterable([prediction.numbers or () for prediction in predictions])
        return np.fromiter(numbers, dtype=np.float64, count=rows * width).reshape(rows, width)
    values = np.empty((rows, width), dtype=np.float64)
    at = 0
    for prediction in predictions:
        values[at : at + prediction.rows] = prediction.values
        at += prediction.rows
    return values
