"""One guard: a signal's evidence, its current rise, its breach, and how that reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from domain.verdict import Verdict
from killswitch import sentences
from killswitch.evidence import EDetector, EvidenceState
from killswitch.rise import KeptRises, Rises
from killswitch.signals import JudgedPair, Signal

BLIND_AFTER = 100
"""So many comparisons in a row that could not be measured make a verdict an ERROR."""

MOST_EVIDENCE = 1e300
"""Evidence is reported up to here; the logarithm inside goes further."""


@dataclass(frozen=True, slots=True)
class GuardReport:
    """How one guard stands, with the numbers that explain it.

    Attributes:
        estimate: the signal's current mean. While e > 1 it is the mean over the votes since the estimated
            change, so that an operator reads how bad it is now, not averaged over the healthy past (it is
            biased upwards: a rise is what made it look); otherwise the mean over all votes.
        limit: the mean that is tolerated, in the same measure.
        evidence: the e-value, at most 1e300: by chance it gets that high once in `evidence` at most.
        threshold: the evidence at which the guard breaches.
        count: votes since the start or the last reset.
        rising_since: when the signal went bad, as a change-point estimate (`killswitch.rise`): wall clock
            (`Pair.at`) of the first vote after the one at which the CUSUM of the bet that has won most was
            last 0. Once a guard breaches its error is small against the delay (docs/statistics.md); while
            e ≤ 1 it says only where a change would be, if there was one. None when no bet is winning.
        rising_count: votes since then, that one included; 0 when there is none.
    """

    guard: str
    verdict: Verdict
    estimate: float
    limit: float
    evidence: float
    threshold: float
    count: int
    sentence: str
    rising_since: float | None
    rising_count: int


class KeptGuard(msgspec.Struct, frozen=True):
    """What survives a restart of one guard."""

    name: str
    limit: float
    parameter: float
    log_wealth: tuple[float, ...]
    batches: int
    count: int
    total: float
    rises: KeptRises
    quantile: float | None
    breach: GuardReport | None


@dataclass(slots=True)
class Sight:
    """Whether predictions can be compared at all. `unmeasured` counts the faults in a row."""

    measured: bool = False
    unmeasured: int = 0
    fault: str = ""

    @property
    def blind(self) -> bool:
        """None of the last 100 comparisons, or of all when there were fewer, could be measured."""
        return self.unmeasured >= (BLIND_AFTER if self.measured else 1)

    def note(self, judged: JudgedPair) -> None:
        if judged.divergence is not None:
            self.measured = True
            self.unmeasured = 0
        elif judged.fault is not None:
            self.unmeasured += 1
            self.fault = judged.fault[:200]


class Guard:
    """One signal's evidence, its current rise, and its breach."""

    def __init__(self, signal: Signal, threshold: float) -> None:
        self.signal = signal
        self.detector = EDetector(signal.limit, signal.low, signal.high)
        self.threshold = threshold
        self.state: EvidenceState = self.detector.start()
        self.log_evidence = self.detector.log_evidence(self.state)
        self.rises = Rises(self.detector.bets)
        self.breach: GuardReport | None = None

    @property
    def breaches(self) -> bool:
        """Whether the evidence is over the threshold now."""
        return self.log_evidence >= math.log(self.threshold)

    @property
    def estimate(self) -> float:
        """See `GuardReport.estimate`."""
        rise = self.rises.strongest() if self.log_evidence > 0 else None
        votes, total = (0, 0.0) if rise is None else (rise.votes_before, rise.total_before)
        return (self.state.total - total) / (self.state.count - votes) if self.state.count else 0.0

    @property
    def evidence(self) -> float:
        """e, at most 1e300."""
        return math.exp(min(self.log_evidence, math.log(MOST_EVIDENCE)))

    def take(self, x: list[float], at: list[float]) -> None:
        """One batch of votes `x`, cast by pairs that began at the wall times `at`."""
        path = self.detector.path(x)
        self.rises.take(path, at, self.state)
        self.state = self.detector.apply(self.state, path.increment)
        self.log_evidence = self.detector.log_evidence(self.state)

    def verdict(self, needed: int, sight: Sight) -> Verdict:
        """FAIL once breached; ERROR when blind; PASS with at least `needed` votes, at or below the limit."""
        if self.breach is not None:
            return Verdict.FAIL
        if self.signal.compares_predictions and sight.blind:
            return Verdict.ERROR
        if self.state.count < max(needed, 1) or self.estimate > self.signal.limit:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS

    def report(self, needed: int, sight: Sight) -> GuardReport:
        """The breach as it stood when there was one, else how it stands now."""
        if self.breach is not None:
            return self.breach
        verdict = self.verdict(needed, sight)
        return self._report(verdict, self._sentence(verdict, needed, sight))

    def latch(self, sight: Sight) -> None:
        """Keep the breach as it stands now."""
        self.breach = self._report(Verdict.FAIL, self._sentence(Verdict.FAIL, 0, sight))

    def _report(self, verdict: Verdict, sentence: str) -> GuardReport:
        rise = self.rises.strongest()
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
        )

    def _sentence(self, verdict: Verdict, needed: int, sight: Sight) -> str:
        if verdict is Verdict.ERROR:
            unread = min(sight.unmeasured, BLIND_AFTER)
            failed = f"the last {unread} comparisons failed: {sight.fault}"
            return f"{self.signal.name} cannot be measured: {failed}"
        if not self.state.count:
            return f"{self.signal.name}: no votes yet{self._waiting_for()}"
        finding = sentences.finding(self.signal, self.estimate)
        if verdict is Verdict.FAIL:
            return f"{finding}: {sentences.odds(self.evidence)}"
        if verdict is Verdict.PASS:
            return f"{finding}: within the limit over {sentences.count(self.state.count)} votes"
        if self.state.count < needed:
            so_far = f"{sentences.count(self.state.count)} of {sentences.count(needed)} votes"
        else:
            so_far = f"{sentences.count(self.state.count)} votes"
        if self.evidence > 1:
            needs = sentences.odds(self.threshold)
            so_far = f"{sentences.odds(self.evidence)} where a breach takes {needs}, {so_far}"
        return f"{finding}: not enough evidence yet ({so_far})"

    def _waiting_for(self) -> str:
        quantile = self.signal.quantile
        if quantile is None or quantile.value is not None:
            return ""
        return f", {quantile.seen} of the {quantile.minimum} incumbent latencies it compares with"

    def keep(self) -> KeptGuard:
        """Everything `restore` needs to go on."""
        threshold = None if self.signal.quantile is None else self.signal.quantile.value
        return KeptGuard(
            name=self.signal.name,
            limit=self.signal.limit,
            parameter=self.signal.parameter,
            log_wealth=self.state.log_wealth,
            batches=self.state.batches,
            count=self.state.count,
            total=self.state.total,
            rises=self.rises.keep(),
            quantile=None if threshold is None or math.isinf(threshold) else threshold,
            breach=self.breach,
        )

    def restore(self, kept: KeptGuard) -> None:
        """Go on from `kept`, which is of a guard with the same signal."""
        self.state = EvidenceState(kept.log_wealth, kept.batches, kept.count, kept.total)
        self.log_evidence = self.detector.log_evidence(self.state)
        self.rises.restore(kept.rises)
        self.breach = kept.breach
        if self.signal.quantile is not None:
            self.signal.quantile.value = kept.quantile
