"""Signals: what each guard reads from a judged pair, as one number in a known range, or nothing.

A signal speaks only where the pair says something about both arms. A client that left, or our own limits,
say nothing about a model server, and no number is made up for them.

Latency is compared by exceedance, which has a bounded range whatever the tail does: with q̂ a quantile of
the incumbent's earlier latencies, x = 1{L_c > r·q̂} − 1{L_i > q̂}. If the candidate is no more than r times
slower, the mean of x is at most 0 for every threshold q̂ that was fixed before the pair. A timeout counts as
longer than everything, on both sides alike. An arm that could not be reached, or broke HTTP, has no latency.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import ConfigError
from domain.observation import Divergence, Observation, Outcome, Pair
from killswitch.quantile import RunningQuantile
from settings.schema import GuardSettings, LatencyGuard

DIVERGENCE = "divergence"
FLIPS = "flips"
ERRORS = "errors"
LATENCY_P95 = "latency_p95"
LATENCY_P99 = "latency_p99"
LATENCY_SLO = "latency_slo"


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair and what the comparator found.

    `divergence` is None when nothing was compared. `fault` says why a comparison was impossible because of
    the incumbent's answer; a candidate's unreadable answer is a divergence of 1 and a flip.
    """

    pair: Pair
    divergence: Divergence | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Signal:
    """One stream of numbers in [`low`, `high`], claimed to have a mean of at most `limit`.

    `parameter` is what the numbers depend on besides the pair: the ratio of a latency quantile, or the
    limit in seconds of an SLO; 0 for the others. `read` gives the number of a pair, None for no vote.
    `quantile` is the running quantile that `read` compares with, when there is one.
    """

    name: str
    limit: float
    low: float
    high: float
    read: Callable[[JudgedPair], float | None]
    parameter: float = 0.0
    quantile: RunningQuantile | None = None

    @property
    def compares_predictions(self) -> bool:
        """Whether it needs both predictions to be readable."""
        return self.name in (DIVERGENCE, FLIPS)


def signals(settings: GuardSettings) -> tuple[Signal, ...]:
    """The configured signals, in a fixed order. Raises ConfigError for a limit that nothing can breach."""
    found: list[Signal] = []
    if settings.divergence is not None:
        found.append(Signal(DIVERGENCE, settings.divergence.mean, 0.0, 1.0, divergence))
    if settings.flips is not None:
        found.append(Signal(FLIPS, settings.flips.rate, 0.0, 1.0, flip))
    if settings.errors is not None:
        found.append(Signal(ERRORS, settings.errors.excess, -1.0, 1.0, excess_error))
    if settings.latency is not None:
        found.extend(_latency_signals(settings.latency))
    for signal in found:
        if not signal.low < signal.limit < signal.high:
            allowed = f"a limit strictly between {signal.low:g} and {signal.high:g}"
            raise ConfigError(f"guards.{signal.name}", signal.limit, allowed)
        if signal.name.startswith("latency") and not 0 < signal.parameter < math.inf:
            raise ConfigError(f"guards.{signal.name}", signal.parameter, "a ratio or a time above 0")
    return tuple(found)


def _latency_signals(settings: LatencyGuard) -> list[Signal]:
    found: list[Signal] = []
    if settings.p95_ratio is not None:
        quantile = RunningQuantile(0.95, minimum=100)
        found.append(_ratio_signal(LATENCY_P95, settings.p95_ratio, quantile))
    if settings.p99_ratio is not None:
        quantile = RunningQuantile(0.99, minimum=200)
        found.append(_ratio_signal(LATENCY_P99, settings.p99_ratio, quantile))
    if settings.slo is not None:
        read = _over(settings.slo)
        found.append(Signal(LATENCY_SLO, settings.slo_rate, 0.0, 1.0, read, parameter=settings.slo))
    return found


def divergence(judged: JudgedPair) -> float | None:
    """The comparator's score in [0, 1]."""
    return None if judged.divergence is None else judged.divergence.score


def flip(judged: JudgedPair) -> float | None:
    """1 when a user would call it another prediction, else 0."""
    return None if judged.divergence is None else float(judged.divergence.flip)


def excess_error(judged: JudgedPair) -> float | None:
    """1 when only the candidate failed, −1 when only the incumbent did, else 0."""
    incumbent, candidate = judged.pair.incumbent, judged.pair.candidate
    if incumbent.outcome in _SILENT or candidate.outcome in _SILENT:
        return None
    return float(candidate.failed) - float(incumbent.failed)


def latency(observation: Observation) -> float | None:
    """Seconds; infinite for a timeout; None when the outcome says nothing about how fast the arm is."""
    outcome = observation.outcome
    if outcome is Outcome.ANSWERED or outcome is Outcome.OVERSIZE:
        return observation.latency
    return math.inf if outcome is Outcome.TIMEOUT else None


def _ratio_signal(name: str, ratio: float, quantile: RunningQuantile) -> Signal:
    def read(judged: JudgedPair) -> float | None:
        threshold = quantile.value
        if threshold is None or threshold == math.inf:
            return None
        candidate, incumbent = latency(judged.pair.candidate), latency(judged.pair.incumbent)
        if candidate is None or incumbent is None:
            return None
        return float(candidate > ratio * threshold) - float(incumbent > threshold)

    return Signal(name, 0.0, -1.0, 1.0, read, parameter=ratio, quantile=quantile)


def _over(slo: float) -> Callable[[JudgedPair], float | None]:
    def read(judged: JudgedPair) -> float | None:
        candidate = latency(judged.pair.candidate)
        return None if candidate is None else float(candidate > slo)

    return read


_SILENT = frozenset({Outcome.ABANDONED, Outcome.OVERLOAD})
