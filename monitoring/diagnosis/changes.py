"""What can have changed, on which of three axes; and what was found to explain something."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Axis(enum.StrEnum):
    """Where a change lies.

    CODE: configuration, the gateway's version, commits of versions. MODEL: which version answers, its
    hyperparameters and files. DATA: what versions are asked and were trained on, what was really true, and
    what they in turn depend on.
    """

    CODE = "code"
    MODEL = "model"
    DATA = "data"


class Signal(enum.StrEnum):
    """What moved."""

    DIVERGENCE = "divergence"  # of two versions' predictions for the same request
    ERRORS = "errors"  # answers that are none
    LATENCY = "latency"
    CONFIDENCE = "confidence"
    PREDICTIONS = "predictions"  # what is predicted, whoever predicts it
    ACCURACY = "accuracy"  # wrong predictions, by the labels that came
    DRIFT = "drift"  # of the features in requests

    @property
    def of_answers(self) -> bool:
        """Whether it is read off predictions alone, so that it cannot move unless they, or requests, do."""
        return self in (Signal.DIVERGENCE, Signal.CONFIDENCE, Signal.PREDICTIONS)


class Change(NamedTuple):
    """One change that was recorded.

    Attributes:
        at: seconds since the epoch.
        kind: such as `version`, `configuration`, `lineage`; changes of one kind are counted together.
        subject: what it was of: a key of the configuration, a version, a field of its lineage.
        sentence: for an operator.
        affects: the signals that it can act upon, as far as is known; None: any.
        version: the version that answers from then on, where that is what changed.
        mixes: it changes which of the known versions answers how much, and nothing else.
        part: which part of a larger change it is, as a number of parts; 0: it stands for itself.
        record: its number in the audit chain.
    """

    at: float
    axis: Axis
    kind: str
    subject: str
    sentence: str
    affects: frozenset[Signal] | None = None
    version: str = ""
    mixes: bool = False
    part: int = 0
    record: int = 0


class Level(NamedTuple):
    """A stretch of the signal: from when until when (seconds since the epoch), how many values, how high."""

    since: float
    until: float
    size: int
    mean: float


class Concentration(NamedTuple):
    """Where the signal is high after the change: a cohort, or a part of a feature's range."""

    place: str
    size: int
    mean: float
    rest: float
    p: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Something that explains the change of the signal.

    Attributes:
        score: 0 to 1, the product of all that speaks for it; see `monitoring.diagnosis.explaining`.
        at: when it changed, seconds since the epoch; None: with the signal itself.
        record: its number in the audit chain, 0 where it was measured.
        evidence: the factors of the score, and the numbers behind them.
    """

    axis: Axis
    kind: str
    subject: str
    sentence: str
    score: float
    at: float | None
    record: int
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What changed, and why, best explanation first.

    Attributes:
        signal: what was looked at; `subject` is the feature, where it is drift.
        at: when it changed, seconds since the epoch, between `low` and `high`; None: it did not.
        p: the chance of such a change where there is none.
        explanations: those whose score is worth telling.
        moved: features and labels that moved, explained or not.
        notes: what could not be looked at, and what that means.
    """

    signal: Signal
    subject: str = ""
    at: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    before: Level | None = None
    after: Level | None = None
    explanations: tuple[Explanation, ...] = ()
    concentrations: tuple[Concentration, ...] = ()
    moved: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def axis(self) -> Axis | None:
        """The axis of the best explanation; None where none is good enough to be named."""
        first = next(iter(self.explanations), None)
        return first.axis if first is not None and first.score >= NAMED else None


NAMED = 0.5
"""The score from which on the best explanation is called the answer."""

TOLD = 0.05
"""The score from which on an explanation is told at all."""
