"""One guard: a signal's evidence, its certificate, its current rise, its breach, and how that reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from domain.verdict import Verdict
from killswitch import sentences
from killswitch.bounds import bounds, share_of_error
from killswitch.certification import Certifier
from killswitch.counts import ArmCounts, CountCertifier, CountDetector, excess_bounds
from killswitch.evidence import EDetector, EvidenceState, Path, apply, log_evidence, start
from killswitch.increments import GuardIncrement
from killswitch.report import BLIND_AFTER, MOST_EVIDENCE, GuardReport, Sight
from killswitch.rise import KeptRises, Rise, Rises, segment
from killswitch.signals import Signal

__all__ = ["MOST_EVIDENCE", "CountGuard", "Guard", "GuardReport", "KeptGuard", "Sight"]

BOUNDS_ERROR = 0.05
"""The chance at most that the bounds in a report ever miss the mean."""


class KeptGuard(msgspec.Struct, frozen=True):
    """What survives a restart of one guard."""

    name: str
    limit: float
    parameter: float
    log_wealth: tuple[float, ...]
    batches: int
    count: int
    total: float
    absolute: float
    rises: KeptRises
    certified: tuple[float, ...]
    breach: GuardReport | None


class Guard:
    """One signal's evidence, its certificate, its current rise, and its breach.

    It is driven by pairs through a GuardSet, or by numbers: `take` them, or `read` them in one process and
    `add` them in another.
    """

    def __init__(self, signal: Signal, threshold: float, certify: float | None = 0.05) -> None:
        """`threshold` is J/α; `certify` the chance ε of a wrong certificate, None to certify nothing."""
        self.signal = signal
        self.threshold = threshold
        self._certify = certify
        self._prepare()
        self.state: EvidenceState = start(self.bets)
        self.log_evidence = log_evidence(self.state)
        self.rises = Rises(self.bets)
        self.certificate = np.zeros(self.certifier.bets)
        self.breach: GuardReport | None = None

    def _prepare(self) -> None:
        """Make the detector and the certifier; neither holds any state."""
        one = self.signal
        self.detector = EDetector(one.limit, one.low, one.high, two_sided=one.two_sided)
        self.certifier = Certifier(one.proved, one.low, one.high, two_sided=one.two_sided)
        self.bets = self.detector.bets

    @property
    def certifies(self) -> bool:
        """Whether a PASS takes a certificate."""
        return self._certify is not None

    @property
    def breaches(self) -> bool:
        """Whether the evidence is over the threshold now."""
        return self.log_evidence >= math.log(self.threshold)

    @property
    def certified(self) -> bool:
        """Whether the signal is below its limit, going by the evidence as it stands now."""
        goal = math.inf if self._certify is None else math.log(1 / self._certify)
        return self.certifier.log_evidence(self.certificate) >= goal

    @property
    def estimate(self) -> float:
        """See `GuardReport.estimate`."""
        votes, total, _ = self._stretch()
        return total / votes if votes else 0.0

    @property
    def evidence(self) -> float:
        """e, at most 1e300."""
        return math.exp(min(self.log_evidence, math.log(MOST_EVIDENCE)))

    def read(
        self, x: npt.ArrayLike, at: Sequence[float], certified: npt.ArrayLike | None = None
    ) -> GuardIncrement:
        """What votes `x`, cast by pairs that began at the wall times `at`, will do to the guard.

        `certified` are the numbers that the certificate is about, if they are others. Raises ValueError when
        one is not a number.
        """
        path = self.detector.path(x)
        return self._increment(path, at, self.certifier.growth(x if certified is None else certified))

    def add(self, increments: Sequence[GuardIncrement]) -> None:
        """Several parts of one batch, which were read at the same time; at least one."""
        whole = increments[0].increment
        self.rises.take(increments[0].segment, self.state)
        for one in increments[1:]:
            self.rises.take(one.segment, self.state, whole)
            whole += one.increment
        for one in increments:
            if one.certified is not None:
                self.certificate += one.certified
        self.state = apply(self.state, whole)
        self.log_evidence = log_evidence(self.state)

    def take(self, x: npt.ArrayLike, at: Sequence[float], certified: npt.ArrayLike | None = None) -> None:
        """One batch of votes, as `read` and then `add`."""
        self.add([self.read(x, at, certified)])

    def verdict(self, needed: int, sight: Sight) -> Verdict:
        """FAIL once breached; ERROR when blind; PASS with `needed` votes, certified and not rising.

        Where nothing is certified, an estimate within the limit does in place of the certificate.
        """
        if self.breach is not None:
            return Verdict.FAIL
        if self.signal.compares_predictions and sight.blind:
            return Verdict.ERROR
        if self.state.count < max(needed, 1) or self.log_evidence > 0:
            return Verdict.INCONCLUSIVE
        if self._certify is None:
            within = abs(self.estimate) if self.signal.two_sided else self.estimate
            return Verdict.PASS if within <= self.signal.limit else Verdict.INCONCLUSIVE
        return Verdict.PASS if self.certified else Verdict.INCONCLUSIVE

    def report(self, needed: int, sight: Sight) -> GuardReport:
        """The breach as it stood when there was one, else how it stands now."""
        if self.breach is not None:
            return self.breach
        verdict = self.verdict(needed, sight)
        return self._report(verdict, needed, self._sentence(verdict, needed, sight))

    def latch(self, sight: Sight) -> None:
        """Keep the breach as it stands now."""
        self.breach = self._report(Verdict.FAIL, 0, self._sentence(Verdict.FAIL, 0, sight))

    def pairs_needed(self, needed: int) -> int | None:
        """See `GuardReport.pairs_needed`."""
        votes = max(0, max(needed, 1) - self.state.count)
        if self._certify is None:
            return votes
        missing = self.certifier.votes_needed(self.certificate, self.state.count, self._certify)
        return None if missing is None else max(votes, missing)

    def keep(self) -> KeptGuard:
        """Everything `restore` needs to go on."""
        return KeptGuard(
            name=self.signal.name,
            limit=self.signal.limit,
            parameter=self.signal.parameter,
            log_wealth=self.state.log_wealth,
            batches=self.state.batches,
            count=self.state.count,
            total=self.state.total,
            absolute=self.state.absolute,
            rises=self.rises.keep(),
            certified=tuple(self.certificate.tolist()),
            breach=self.breach,
        )

    def refuse_unfit(self, kept: KeptGuard) -> None:
        """Raises ValueError unless `kept` is of this very guard."""
        theirs = (kept.name, kept.limit, kept.parameter)
        ours = (self.signal.name, self.signal.limit, self.signal.parameter)
        if theirs != ours:
            raise ValueError(f"the state is of other guards: it holds {theirs}, configured is {ours}")
        if len(kept.log_wealth) != self.bets:
            raise ValueError(f"guard {kept.name}: {len(kept.log_wealth)} bets, not {self.bets}")
        if not kept.rises.fits(self.bets):
            raise ValueError(f"guard {kept.name}: its rises are not of {self.bets} bets")
        if len(kept.certified) != self.certifier.bets:
            raise ValueError(f"guard {kept.name}: its certificate is not of {self.certifier.bets} bets")

    def fits(self, kept: KeptGuard) -> bool:
        """Whether `kept` is of this very guard."""
        try:
            self.refuse_unfit(kept)
        except ValueError:
            return False
        return True

    def restore(self, kept: KeptGuard) -> None:
        """Go on from `kept`, which fits."""
        self.state = EvidenceState(kept.log_wealth, kept.batches, kept.count, kept.total, kept.absolute)
        self.log_evidence = log_evidence(self.state)
        self.rises.restore(kept.rises)
        self.certificate = np.array(kept.certified)
        self.breach = kept.breach

    def bounds(self) -> tuple[float, float]:
        """See `GuardReport.bound_low`."""
        rise = self._rise()
        error = BOUNDS_ERROR * share_of_error(0 if rise is None else rise.votes_before)
        return self._bounds(*self._stretch(), error)

    def _bounds(self, count: int, total: float, absolute: float, error: float) -> tuple[float, float]:
        return bounds(count, total, absolute, self.signal.low, self.signal.high, error)

    def _increment(self, path: Path, at: Sequence[float], certified: tuple[float, ...]) -> GuardIncrement:
        return GuardIncrement(path.increment, segment(path, at), None if self._certify is None else certified)

    def _rise(self) -> Rise | None:
        """The rise that the estimate is about."""
        return self.rises.strongest() if self.log_evidence > 0 else None

    def _stretch(self) -> tuple[int, float, float]:
        """How many votes the estimate is about, their sum and that of their absolute values."""
        state, rise = self.state, self._rise()
        if rise is None:
            return state.count, state.total, state.absolute
        return (
            state.count - rise.votes_before,
            state.total - rise.total_before,
            state.absolute - rise.absolute_before,
        )

    def _report(self, verdict: Verdict, needed: int, sentence: str) -> GuardReport:
        rise = self.rises.strongest()
        low, high = self.bounds()
        return GuardReport(
            guard=self.signal.name,
            verdict=verdict,
            estimate=self.estimate,
            limit=self.signal.limit,
            evidence=self.evidence,
            threshold=self.threshold,
            count=self.state.count,
            sentence=sentence,
            rising_since=None if rise is None else rise.since,
            rising_count=0 if rise is None else self.state.count - rise.votes_before,
            bound_low=low,
            bound_high=high,
            pairs_needed=self.pairs_needed(needed),
            certified=self.certified,
        )

    def _sentence(self, verdict: Verdict, needed: int, sight: Sight) -> str:
        return self.told(verdict, needed, sight, self.estimate)

    def told(self, verdict: Verdict, needed: int, sight: Sight, estimate: float) -> str:
        """`verdict` in words, with an `estimate` that may be better than the guard's own."""
        if verdict is Verdict.ERROR:
            unread = min(sight.unmeasured, BLIND_AFTER)
            failed = f"the last {unread} comparisons failed: {sight.fault}"
            return f"{self.signal.name} cannot be measured: {failed}"
        if not self.state.count:
            return sentences.no_votes(self.signal)
        finding = sentences.finding(self.signal, estimate)
        if verdict is Verdict.FAIL:
            return f"{finding}: {sentences.odds(self.evidence)}"
        if verdict is Verdict.PASS:
            return sentences.passed(self.signal, finding, self.state.count, self._certify)
        breach = (self.evidence, self.threshold) if self.log_evidence > 0 else None
        missing = None if self._certify is None else (self._certify, self.pairs_needed(needed))
        return sentences.undecided(finding, self.state.count, needed, breach, missing)


class CountGuard(Guard):
    """Errors of requests that reach one arm each, from counts."""

    def read_counts(self, incumbent: ArmCounts, candidate: ArmCounts, at: float) -> GuardIncrement | None:
        """What a stretch that began at the wall time `at` will do; None when an arm had no requests.

        Raises ValueError for counts that cannot be.
        """
        path = self._counts.path(incumbent, candidate)
        if len(path.counts) == 1:
            return None
        return self._increment(path, [at], self._reverse.growth_of(incumbent, candidate))

    def _prepare(self) -> None:
        self._counts = CountDetector(self.signal.limit)
        self._reverse = self.certifier = CountCertifier(self.signal.limit)
        self.bets = self._counts.bets

    def _bounds(self, count: int, total: float, absolute: float, error: float) -> tuple[float, float]:
        return excess_bounds(count, total, absolute, error)
