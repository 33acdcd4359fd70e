"""What every kind of comparison looks like, and what they have in common: findings by pair and by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from comparators.prediction import Prediction, Unreadable
from comparators.wording import counted
from domain.errors import ComparatorFault
from domain.observation import Divergence, RowFinding
from domain.routing import Arm

Finding = Divergence | ComparatorFault
"""What is found in one pair: how far apart its answers are, or whose answer cannot be compared."""

PredictionPair = tuple[Prediction, Prediction]
"""The incumbent's and the candidate's prediction; one and the same object when their bytes are equal."""

EQUAL_BYTES = "equal bytes"

Row = TypeVar("Row")


class Kind(Protocol):
    """One way to compare predictions. Holds no state: one object may serve all threads."""

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """One finding a pair, in order; what stands in a batch changes no finding."""
        ...

    def describe(self, prediction: Prediction) -> object:
        """`prediction` as a JSON-able value for people. Raises Unreadable or ComparatorFault."""
        ...


class RowDistance(NamedTuple):
    """How far apart two rows are: `score` in [0, 1], the reason, and the paths that differ."""

    score: float
    flip: bool
    reason: str
    paths: tuple[str, ...] = ()


def compare_one(kind: Kind, incumbent: Prediction, candidate: Prediction) -> Divergence:
    """The finding in one pair. Raises the ComparatorFault that `compare_many` answers."""
    (found,) = kind.compare_many([(incumbent, candidate)])
    if isinstance(found, ComparatorFault):
        raise found
    return found


def compare_rows(
    pair: PredictionPair,
    noun: str,
    rows_of: Callable[[Prediction], Sequence[Row]],
    distance: Callable[[Row, Row], RowDistance],
) -> Finding:
    """The finding in a pair whose rows are compared one by one: `rows_of` reads them, raising Unreadable.

    The whole scores the mean of the rows and flips when any does; its reason is the worst row's.
    """
    incumbent, candidate = pair
    try:
        trusted = rows_of(incumbent)
    except Unreadable as error:
        return ComparatorFault(error.reason, Arm.INCUMBENT)
    if candidate is incumbent:
        found = [RowDistance(0.0, False, EQUAL_BYTES)] * len(trusted)
        return summarized(found, noun, incumbent, candidate)
    try:
        tried = rows_of(candidate)
    except Unreadable as error:
        return ComparatorFault(error.reason, Arm.CANDIDATE)
    if len(trusted) != len(tried):
        reason = f"{counted(len(trusted), noun)} → {counted(len(tried), noun)}"
        return Divergence(1.0, True, reason, mean_confidence(incumbent), mean_confidence(candidate))
    found = [distance(a, b) for a, b in zip(trusted, tried, strict=True)]
    return summarized(found, noun, incumbent, candidate)


def summarized(
    found: Sequence[RowDistance], noun: str, incumbent: Prediction, candidate: Prediction
) -> Divergence:
    """The finding in a whole pair with these rows. There is one row at least."""
    trusted, tried = mean_confidence(incumbent), mean_confidence(candidate)
    if len(found) == 1:
        score, flip, reason, paths = found[0]
        return Divergence(score, flip, reason, trusted, tried, paths=paths)
    rows = tuple(
        RowFinding(row.score, row.flip, a, b)
        for row, a, b in zip(
            found, _confidences(incumbent, len(found)), _confidences(candidate, len(found)), strict=True
        )
    )
    score = mean([row.score for row in found])
    flips = sum(row.flip for row in found)
    worst = max(range(len(found)), key=lambda at: (found[at].flip, found[at].score))
    paths = tuple(sorted({path for row in found for path in row.paths}))
    reason = f"{flips} of {len(found)} {noun}s differ, mean distance {score:.2g}"
    if found[worst].score or found[worst].flip:
        reason += f"; worst is {noun} {worst}: {found[worst].reason}"
    elif candidate is incumbent:
        reason = EQUAL_BYTES
    return Divergence(score, flips > 0, reason, trusted, tried, rows=rows, paths=paths)


def not_numeric(incumbent: Prediction, candidate: Prediction) -> ComparatorFault | None:
    """A fault for the arm whose prediction has no numbers."""
    for prediction, arm in ((incumbent, Arm.INCUMBENT), (candidate, Arm.CANDIDATE)):
        if prediction.numbers is None and prediction.array is None:
            try:
                prediction.real()
            except Unreadable as error:
                return ComparatorFault(error.reason, arm)
    return None


def not_alike(
    incumbent: Prediction, candidate: Prediction, shape: Callable[[Prediction], str]
) -> Finding | None:
    """The finding in a pair whose numbers cannot be held against each other; `shape` is told in words."""
    if fault := not_numeric(incumbent, candidate):
        return fault
    if (incumbent.rows, incumbent.width) == (candidate.rows, candidate.width):
        return None
    return Divergence(1.0, True, f"{shape(incumbent)} → {shape(candidate)}")


def mean_confidence(prediction: Prediction) -> float | None:
    """The confidence that the server states itself, mean over the rows."""
    return mean(prediction.confidences) if prediction.confidences else None


def mean(shares: Sequence[float]) -> float:
    """The mean of numbers that lie in [0, 1], which rounding may not push beyond 1."""
    return min(1.0, sum(shares) / len(shares))


def _confidences(prediction: Prediction, rows: int) -> Sequence[float | None]:
    stated = prediction.confidences
    return stated if stated is not None and len(stated) == rows else [None] * rows
