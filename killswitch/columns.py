"""A batch of judged pairs as columns, so that signals read numbers at once and not pair by pair.

A column of predictions has an entry for each row of each pair that was compared. How rows become votes is the
vote rule: they are averaged over the rows of a pair, or each votes for itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from domain.observation import Divergence, Observation, Outcome, Pair, RowFinding
from killswitch.evidence import Floats

Whole = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair and what the comparator found.

    `divergence` is None when nothing was compared. `fault` says why a comparison was impossible because of
    the incumbent's answer; a candidate's unreadable answer is a divergence of 1 and a flip. `noise` compares
    the incumbent's answer with its repeat, when it was asked twice.
    """

    pair: Pair
    divergence: Divergence | None
    fault: str | None
    noise: Divergence | None = None


class Numbers(NamedTuple):
    """Votes before they are admitted.

    `x`, of shape (n,), and for each the index of its pair in the batch, in ascending order. `certified` holds
    the numbers that a certificate is about, when these are not `x`.
    """

    x: Floats
    pair: Whole
    certified: Floats | None = None


class Columns:
    """The columns of `judged`. `per` is the vote rule: unit, pair or row."""

    def __init__(self, judged: Sequence[JudgedPair], per: str) -> None:
        self.judged = judged
        self.pairs = [one.pair for one in judged]
        self._per = per

    @cached_property
    def every(self) -> Whole:
        """The index of every pair: what speaks of all of them refers to this very array."""
        return np.arange(len(self.pairs))

    @cached_property
    def at(self) -> Floats:
        """When each pair began, wall clock."""
        return np.array([pair.at for pair in self.pairs], dtype=np.float64)

    @cached_property
    def units(self) -> list[int]:
        return [pair.unit for pair in self.pairs]

    @cached_property
    def latencies(self) -> tuple[Floats, Floats]:
        """The incumbent's and the candidate's: seconds, infinity for a timeout, NaN where it says nothing."""
        return self._incumbent.latencies(), self._candidate.latencies()

    @cached_property
    def errors(self) -> Numbers:
        """1 where only the candidate failed, −1 where only the incumbent did, else 0."""
        x = self._candidate.failures() - self._incumbent.failures()
        return heard(x, self.every, ~np.isnan(x))

    @cached_property
    def _incumbent(self) -> _Arm:
        return _Arm([pair.incumbent for pair in self.pairs])

    @cached_property
    def _candidate(self) -> _Arm:
        return _Arm([pair.candidate for pair in self.pairs])

    @cached_property
    def rows(self) -> Rows:
        """The compared predictions."""
        return Rows(self.judged, self.every, self._per)

    @cached_property
    def labels(self) -> tuple[list[str], list[str], Truth]:
        """The incumbent's and the candidate's class of every row, and in which rows both named one."""
        incumbent = [row.incumbent_label for row in self.rows.findings]
        candidate = [row.candidate_label for row in self.rows.findings]
        named = [None not in couple for couple in zip(incumbent, candidate, strict=True)]
        known = np.array(named, dtype=np.bool_)
        return [label or "" for label in incumbent], [label or "" for label in candidate], known

    @cached_property
    def triplets(self) -> list[tuple[int, Divergence, Divergence]]:
        """Index, divergence and noise of each pair that has both."""
        return [
            (index, one.divergence, one.noise)
            for index, one in enumerate(self.judged)
            if one.noise is not None and one.divergence is not None
        ]


class _Arm:
    """One arm's side of a batch. Nearly always all of it was answered, which is read without a look at
    each."""

    def __init__(self, observations: list[Observation]) -> None:
        self._observations = observations
        outcomes = [one.outcome for one in observations]
        self._answered = outcomes.count(Outcome.ANSWERED) == len(outcomes)

    def latencies(self) -> Floats:
        if self._answered:
            return np.array([one.latency for one in self._observations], dtype=np.float64)
        return np.array([latency(one) for one in self._observations], dtype=np.float64)

    def failures(self) -> Floats:
        if self._answered:
            status = np.array([one.status for one in self._observations])
            return ((status < 200) | (status >= 300)).astype(np.float64)
        return np.array([_blame(one) for one in self._observations], dtype=np.float64)


class Rows:
    """Every row of every compared pair; a prediction that is no batch is one row."""

    def __init__(self, judged: Sequence[JudgedPair], every: Whole, per: str) -> None:
        compared = [(index, one.divergence) for index, one in enumerate(judged) if one.divergence is not None]
        self.findings: list[Divergence | RowFinding] = [found for _, found in compared]
        self._pair: Whole = every
        if len(compared) < len(judged):
            self._pair = np.array([index for index, _ in compared], dtype=np.int64)
        self._vote: Whole | None = None
        if any(found.rows for _, found in compared):
            self._spread(judged, compared, per)

    def _spread(
        self, judged: Sequence[JudgedPair], compared: Sequence[tuple[int, Divergence]], per: str
    ) -> None:
        """Rows of batches in place of the whole; `_vote` says which rows are averaged into which vote."""
        findings: list[Divergence | RowFinding] = []
        votes: list[int] = []
        pairs: list[int] = []
        for index, found in compared:
            rows = found.rows or (found,)
            findings.extend(rows)
            if per == "row" or (per == "unit" and not judged[index].pair.unit):
                votes.extend(range(len(pairs), len(pairs) + len(rows)))
                pairs.extend([index] * len(rows))
            else:
                votes.extend([len(pairs)] * len(rows))
                pairs.append(index)
        self.findings = findings
        self._pair = np.array(pairs, dtype=np.int64)
        self._vote = np.array(votes, dtype=np.int64)

    @property
    def scores(self) -> Numbers:
        return self.votes(np.array([row.score for row in self.findings], dtype=np.float64))

    @property
    def flips(self) -> Numbers:
        return self.votes(np.array([row.flip for row in self.findings], dtype=np.float64))

    def votes(self, values: Floats, known: Truth | None = None, certified: Floats | None = None) -> Numbers:
        """Votes from a column, of shape (rows,), and of another to certify; of the rows that are `known`."""
        if self._vote is None:
            return heard(values, self._pair, known, certified)
        which = np.ones(len(values), dtype=np.bool_) if known is None else known
        of_vote = self._vote[which]
        count = np.bincount(of_vote, minlength=len(self._pair))
        spoken = count > 0

        def averaged(column: Floats) -> Floats:
            total = np.bincount(of_vote, weights=column[which], minlength=len(self._pair))
            return total[spoken] / count[spoken]

        second = None if certified is None else averaged(certified)
        return Numbers(averaged(values), self._pair[spoken], second)


def latency(observation: Observation) -> float:
    """Seconds; infinite for a timeout; NaN when the outcome says nothing about how fast the arm is."""
    outcome = observation.outcome
    if outcome is Outcome.ANSWERED or outcome is Outcome.OVERSIZE:
        return observation.latency
    return math.inf if outcome is Outcome.TIMEOUT else math.nan


def _blame(observation: Observation) -> float:
    """1 for a failure of the arm, 0 for none, NaN when the outcome says nothing about it."""
    outcome = observation.outcome
    if outcome is Outcome.ANSWERED:
        return 0.0 if 200 <= observation.status < 300 else 1.0
    return math.nan if outcome in _SILENT else float(outcome.blames_the_arm)


def heard(x: Floats, pair: Whole, known: Truth | None = None, certified: Floats | None = None) -> Numbers:
    """Those of the numbers that are `known`; all when that is None."""
    if known is None or np.logical_and.reduce(known):
        return Numbers(x, pair, certified)
    return Numbers(x[known], pair[known], None if certified is None else certified[known])


_SILENT = frozenset({Outcome.ABANDONED, Outcome.OVERLOAD})
