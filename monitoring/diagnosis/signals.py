"""Signals read off the prediction log: a number in [0, 1] for each request or answer, in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring.diagnosis.changes import Signal
from monitoring.diagnosis.points import Floats, ranks
from monitoring.diagnosis.shifts import Value, column

MOST_CLASSES = 32
"""Different whole numbers of which predictions may be the indices of classes."""

Indices = npt.NDArray[np.intp]


class Answer(NamedTuple):
    """What one version said: status (0: nothing), seconds, a prediction a row, the first row's confidence."""

    version: str
    status: int
    latency: float
    predictions: tuple[Value, ...] = ()
    confidence: float | None = None

    @property
    def failed(self) -> bool:
        """Whether it is no answer, by no fault of who asked."""
        return self.status == 0 or self.status >= 500


class Request(NamedTuple):
    """One request: what was asked, what the client got, what the other version said, what was really true."""

    at: float
    features: Mapping[str, Value]
    served: Answer
    mirrored: Answer | None = None
    labels: tuple[Value, ...] = ()
    cohorts: tuple[str | None, ...] = ()

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What was said, the client's first."""
        return (self.served,) if self.mirrored is None else (self.served, self.mirrored)


@dataclass(frozen=True, slots=True)
class Series:
    """A signal. All of shape (n,), in the order of time.

    Attributes:
        values: in [0, 1].
        at: seconds since the epoch.
        requests: the index of the request of each value.
        versions: who said it: a version, or two as `a ↔ b`.
        subject: the feature or class, where the signal is of one.
    """

    values: Floats
    at: Floats
    requests: Indices
    versions: tuple[str, ...]
    subject: str = ""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def together(self) -> float:
        """How many values a request has."""
        return len(self.values) / max(1, len(np.unique(self.requests)))


def series(signal: Signal, requests: Sequence[Request], scale: float | None = None) -> tuple[Series, ...]:
    """`signal` of `requests`, which are in the order of time; of drift one for each feature, of predictions
    one for each class. Empty where there is nothing to read it off.

    `scale`: the difference of two numbers that counts as 1; by itself, four standard deviations of what is
    predicted.
    """
    match signal:
        case Signal.DIVERGENCE:
            found = _read(requests, _divergence(requests, scale))
        case Signal.ERRORS:
            found = _each_answer(requests, lambda _, answer: float(answer.failed))
        case Signal.LATENCY:
            found = _ranked(_each_answer(requests, lambda _, one: None if one.failed else one.latency))
        case Signal.CONFIDENCE:
            found = _ranked(_each_answer(requests, lambda _, one: one.confidence))
        case Signal.ACCURACY:
            found = _each_answer(requests, _wrong(requests, scale))
        case Signal.PREDICTIONS:
            return _predicted(requests)
        case Signal.DRIFT:
            return _features(requests)
    return (found,) if len(found) else ()


def feature_names(requests: Sequence[Request]) -> tuple[str, ...]:
    """Every feature that any request has, in their order of appearance."""
    return tuple(dict.fromkeys(name for one in requests for name in one.features))


def _divergence(
    requests: Sequence[Request], scale: float | None
) -> Callable[[Request], tuple[float, str] | None]:
    differ = _difference(requests, scale)

    def of(one: Request) -> tuple[float, str] | None:
        other = one.mirrored
        if other is None or not one.served.predictions or not other.predictions:
            return None
        mean = differ(one.served.predictions, other.predictions)
        return None if mean is None else (mean, " ↔ ".join(sorted((one.served.version, other.version))))

    return of


def _wrong(requests: Sequence[Request], scale: float | None) -> Callable[[Request, Answer], float | None]:
    differ = _difference(requests, scale)
    return lambda request, answer: differ(answer.predictions, request.labels) if request.labels else None


def _difference(
    requests: Sequence[Request], scale: float | None
) -> Callable[[Sequence[Value], Sequence[Value]], float | None]:
    """The mean difference of two lists of predictions, row by row; None where they cannot be compared.

    Numbers that are the indices of classes are equal or not.
    """
    spread = scale or _spread(requests)

    def row(one: Value, other: Value) -> float | None:
        if one is None or other is None:
            return None
        if isinstance(one, str) or isinstance(other, str):
            return float(_named(one) != _named(other))
        if spread is None:
            return float(one != other)
        gap = abs(one - other)
        return min(1.0, gap / spread) if math.isfinite(gap) else float(one != other)

    def mean(one: Sequence[Value], other: Sequence[Value]) -> float | None:
        if len(one) != len(other):
            return None
        found = [gap for gap in map(row, one, other) if gap is not None]
        return sum(found) / len(found) if found else None

    return mean


def _named(value: Value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _spread(requests: Sequence[Request]) -> float | None:
    """Some four standard deviations of what is predicted; None where that is one of a few classes."""
    numbers = [
        one for request in requests for one in request.served.predictions
        if isinstance(one, float | int) and math.isfinite(one)
    ]  # fmt: skip
    if len(set(numbers)) <= MOST_CLASSES and all(float(one).is_integer() for one in numbers):
        return None
    numbers.sort()
    low, high = (float(numbers[int(part * (len(numbers) - 1))]) for part in (0.16, 0.84))
    return 2 * (high - low) or float(numbers[-1]) - float(numbers[0]) or 1.0


def _read(requests: Sequence[Request], of: Callable[[Request], tuple[float, str] | None]) -> Series:
    found = [(index, *told) for index, one in enumerate(requests) if (told := of(one)) is not None]
    return _made(requests, found)


def _each_answer(requests: Sequence[Request], of: Callable[[Request, Answer], float | None]) -> Series:
    found = [
        (index, value, answer.version)
        for index, one in enumerate(requests)
        for answer in one.answers
        if (value := of(one, answer)) is not None
    ]
    return _made(requests, found)


def _made(requests: Sequence[Request], found: Sequence[tuple[int, float, str]]) -> Series:
    return Series(
        np.array([value for _, value, _ in found], dtype=np.float64),
        np.array([requests[index].at for index, _, _ in found], dtype=np.float64),
        np.array([index for index, _, _ in found], dtype=np.intp),
        tuple(version for _, _, version in found),
    )


def _ranked(one: Series) -> Series:
    return Series(ranks(one.values), one.at, one.requests, one.versions)


def _predicted(requests: Sequence[Request]) -> tuple[Series, ...]:
    said = [
        (index, answer.predictions[0], answer.version)
        for index, one in enumerate(requests)
        for answer in one.answers
        if answer.predictions
    ]
    return _of_values(requests, "prediction", said)


def _features(requests: Sequence[Request]) -> tuple[Series, ...]:
    found: list[Series] = []
    for name in feature_names(requests):
        said = [(index, one.features.get(name), "") for index, one in enumerate(requests)]
        found += _of_values(requests, name, said)
    return tuple(found)


def _of_values(
    requests: Sequence[Request], name: str, said: Sequence[tuple[int, Value, str]]
) -> tuple[Series, ...]:
    """Numbers by their rank; of texts, and of what is missing, whether it is that, one series for each."""
    values = [value for _, value, _ in said]
    known = [value for value in values if value is not None]
    found: list[Series] = []
    numbers = not any(isinstance(value, str) for value in known)
    if numbers and len(known) > 1:
        kept = [one for one in said if one[1] is not None and math.isfinite(float(one[1]))]
        series = _made(requests, [(index, float(value or 0.0), by) for index, value, by in kept])
        found.append(_named_series(_ranked(series), name))
    if not numbers or len(known) < len(values):
        cells = column([None if value is None else (name if numbers else str(value)) for value in values])
        for cell, called in enumerate(cells.names):
            marks = (cells.cells == cell).astype(np.float64)
            if 0.0 < marks.mean() < 1.0:
                told = [(index, float(mark), by) for (index, _, by), mark in zip(said, marks, strict=True)]
                found.append(_named_series(_made(requests, told), f"{name}={called}"))
    return tuple(found)


def _named_series(one: Series, subject: str) -> Series:
    return Series(one.values, one.at, one.requests, one.versions, subject)
