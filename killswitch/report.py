"""How a guard stands, as it is told; and whether it can see at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.verdict import Verdict
from killswitch.columns import JudgedPair
from killswitch.increments import SightIncrement

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
        limit: the mean that is tolerated, in the same measure. (Confidence: in either direction.)
        evidence: the e-value, at most 1e300: by chance it gets that high once in `evidence` at most.
        threshold: the evidence at which the guard breaches.
        count: votes since the start or the last reset.
        rising_since: when the signal went bad, as a change-point estimate (`killswitch.rise`): wall clock
            (`Pair.at`) of the first vote after the one at which the CUSUM of the bet that has won most was
            last 0. Once a guard breaches its error is small against the delay (docs/statistics.md); while
            e ≤ 1 it says only where a change would be, if there was one. None when no bet is winning.
        rising_count: votes since then, that one included; 0 when there is none.
        bound_low, bound_high: a 95 % confidence sequence for the mean of which `estimate` is the estimate:
            it holds at every look together (`killswitch.bounds`).
        pairs_needed: votes that are still missing for a PASS, if they are like those so far; 0 when nothing
        is
            missing, None when going by those it will never come.
        certified: the signal is below its limit but for the chance `guards.certify`.
        soft: it warns and holds a release up, and trips nothing.
        cohort: whom it is about, "" for everybody.
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
    bound_low: float
    bound_high: float
    pairs_needed: int | None
    certified: bool
    soft: bool = False
    cohort: str = ""


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

    def take(self, parts: Sequence[SightIncrement]) -> None:
        """One batch, of which several may have seen parts at the same time: the one that saw best counts."""
        seeing = [part for part in parts if part.measured]
        if seeing:
            self.measured = True
            self.unmeasured = min(part.unmeasured for part in seeing)
        else:
            self.unmeasured += sum(part.unmeasured for part in parts)
        self.fault = next((part.fault for part in reversed(parts) if part.fault), self.fault)


def seen(judged: Sequence[JudgedPair]) -> SightIncrement:
    """What a batch says about whether predictions can be compared."""
    measured, unmeasured, fault = False, 0, ""
    for one in judged:
        if one.divergence is not None:
            measured, unmeasured = True, 0
        elif one.fault is not None:
            unmeasured += 1
            fault = one.fault[:200]
    return SightIncrement(measured, unmeasured, fault)
