"""Rows of probabilities: what is one, which class it decides, how far apart two are.

A row of one number is the probability p of class 1 and stands for (1 − p, p). The distance of two rows is
their total variation, ½ Σ|p − q|: the largest difference in probability that the two give to any set of
classes (Levin, Peres & Wilmer, Markov Chains and Mixing Times, §4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comparators.prediction import Prediction, Unreadable, Values
from comparators.stacking import sum_of_few
from comparators.wording import number

SUM_SLACK = 1e-3
"""How far from 1 a row of probabilities may sum: half-precision floats over many classes get this far."""

RANGE_SLACK = 1e-6
"""How far below 0 or above 1 rounding may push one probability."""


class Decided(NamedTuple):
    """What rows of probabilities decide.

    Attributes:
        fine: whether the row is a distribution; where it is not, the others say nothing.
        classes: the row's class, by index: the largest probability, the first of equal ones.
        confidences: the probability of that class.
    """

    fine: NDArray[np.bool_]
    classes: NDArray[np.intp]
    confidences: Values


def decided(values: Values, threshold: float) -> Decided:
    """What each row of `values`, shape (rows, width), decides; one number is class 1 from `threshold` on."""
    with np.errstate(all="ignore"):
        if values.shape[1] == 1:
            column = values[:, 0]
            fine = (column >= -RANGE_SLACK) & (column <= 1.0 + RANGE_SLACK)
            ones = column >= threshold
            return Decided(fine, ones.astype(np.intp), np.where(ones, column, 1.0 - column))
        fine = (np.abs(values.sum(axis=1) - 1.0) <= SUM_SLACK) & (values.min(axis=1) >= -RANGE_SLACK)
        return Decided(fine, values.argmax(axis=1), values.max(axis=1))


def decided_row(values: Sequence[float], threshold: float) -> tuple[bool, int, float]:
    """What one short row decides, as `decided` has it to the last bit: fine, class, confidence."""
    if len(values) == 1:
        (value,) = values
        one = value >= threshold
        return -RANGE_SLACK <= value <= 1.0 + RANGE_SLACK, int(one), value if one else 1.0 - value
    likeliest = max(values)
    fine = abs(sum_of_few(values) - 1.0) <= SUM_SLACK and min(values) >= -RANGE_SLACK
    return fine, values.index(likeliest), likeliest


def variation(trusted: Sequence[float], tried: Sequence[float]) -> float:
    """The total variation of one short row, as `variations` has it to the last bit."""
    total = sum_of_few([abs(p - q) for p, q in zip(trusted, tried, strict=True)])
    return min(total if len(trusted) == 1 else 0.5 * total, 1.0)


def decided_one(prediction: Prediction, threshold: float) -> Decided:
    """What the rows of `prediction` decide. Raises Unreadable when one is no distribution."""
    found = decided(prediction.values, threshold)
    if not found.fine.all():
        row = int(found.fine.argmin())
        raise no_distribution(prediction, row, prediction.values[row].tolist())
    return found


def variations(trusted: Values, tried: Values) -> Values:
    """The total variation of each row from its other one."""
    with np.errstate(all="ignore"):
        total = np.abs(trusted - tried).sum(axis=1)
    found: Values = np.minimum(total if trusted.shape[1] == 1 else 0.5 * total, 1.0)
    return found


def no_distribution(prediction: Prediction, row: int, values: Sequence[float]) -> Unreadable:
    """Why a row of `prediction` is none."""
    place = "" if prediction.rows == 1 else f"row {row} of "
    what = f"{place}{prediction.name} is no distribution"
    if len(values) == 1:
        return Unreadable(f"{what}: {number(values[0])} is not a probability")
    negative = next((value for value in values if value < -RANGE_SLACK), None)
    if negative is not None:
        return Unreadable(f"{what}: it has a probability of {number(negative)}")
    return Unreadable(f"{what}: it sums to {number(sum(values))}, not 1")
