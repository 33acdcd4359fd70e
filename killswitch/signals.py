"""Signals: what each guard reads from judged pairs, as numbers in a known range, or nothing.

A signal speaks only where the pair says something about both arms. A client that left, or our own limits,
say nothing about a model server, and no number is made up for them.

Noise. An incumbent that answers the same request in two ways flips against itself. Where it is asked twice
for some requests, predictions are judged on those triplets alone, by what differs beyond that noise: the
candidate against the incumbent, less the incumbent against its repeat. Noise then neither trips nor hides a
candidate, and it may change with the traffic, since each triplet brings its own.

Latency is compared by exceedance, which has a bounded range whatever the tail does: with q̂ a quantile of
the incumbent's earlier latencies, x = 1{L_c > r·q̂} − 1{L_i > q̂}. If the candidate is no more than r times
slower, the mean of x is at most 0 for every threshold q̂ that was fixed before the batch. A timeout counts as
longer than everything, on both sides alike. An arm that could not be reached, or broke HTTP, has no latency.

Class shares are compared through the set A of classes that the candidate predicted too often so far
(`killswitch.classes`): x = 1{c ∈ A} − 1{i ∈ A} has a mean of at most the total variation, whatever A is. That
x is small does not prove the reverse, A may be badly chosen. What is certified is that the arms name
different classes for less than the limit, which bounds the total variation from above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from domain.errors import ConfigError
from domain.observation import Divergence
from killswitch.classes import ClassShares
from killswitch.columns import Columns, JudgedPair, Numbers, heard
from killswitch.evidence import Floats
from killswitch.quantile import LatencyProfile, RunningQuantile
from settings.schema import GuardSettings, LatencyGuard

__all__ = ["JudgedPair", "Learned", "Signal", "signals"]

DIVERGENCE = "divergence"
FLIPS = "flips"
NOISE_CORRECTED_DIVERGENCE = "noise_corrected_divergence"
NOISE_CORRECTED_FLIPS = "noise_corrected_flips"
ERRORS = "errors"
ERRORS_UNPAIRED = "errors_unpaired"
LATENCY_P95 = "latency_p95"
LATENCY_P99 = "latency_p99"
LATENCY_SLO = "latency_slo"
CONFIDENCE = "confidence"
CLASSES = "classes"
ACCURACY = "accuracy"
DRIFT = "drift"

MOST_SHIFT = 0.1
"""A pair's confidence counts as shifted by this at most."""


@dataclass(slots=True)
class Learned:
    """What signals compare with: learned from pairs of earlier batches only."""

    latencies: LatencyProfile = field(default_factory=LatencyProfile)
    classes: ClassShares = field(default_factory=ClassShares)


@dataclass(frozen=True, slots=True)
class Signal:
    """One stream of numbers in [`low`, `high`], claimed to have a mean of at most `limit`.

    Attributes:
        read: the votes in a batch of pairs; None when it is not pairs that the signal is read from.
        parameter: what the numbers depend on besides the pair: the ratio of a latency quantile, or the limit
            in seconds of an SLO; 0 for the others.
        quantile: the running quantile that is compared with, when there is one.
        two_sided: the mean shall not be below −`limit` either.
        certified_below: what a certificate says the mean is below; `limit` unless told otherwise.
        compares_predictions: both predictions have to be readable.
        needs: what is missing while there is no vote, for people.
    """

    name: str
    limit: float
    low: float
    high: float
    read: Callable[[Columns], Numbers] | None = None
    parameter: float = 0.0
    quantile: RunningQuantile | None = None
    two_sided: bool = False
    certified_below: float | None = None
    compares_predictions: bool = False
    needs: str = ""

    @property
    def proved(self) -> float:
        """What a certificate says the mean is below."""
        return self.limit if self.certified_below is None else self.certified_below


def signals(settings: GuardSettings, learned: Learned | None = None) -> tuple[Signal, ...]:
    """The configured signals that are read from pairs, in a fixed order, comparing with what is `learned`.

    Raises ConfigError for a limit that nothing can breach.
    """
    learned = Learned() if learned is None else learned
    found = [*_predictions(settings)]
    if settings.errors is not None and settings.mirrored:
        found.append(Signal(ERRORS, settings.errors.excess, -1.0, 1.0, lambda columns: columns.errors))
    if settings.latency is not None:
        found.extend(_latencies(settings.latency, learned.latencies))
    if settings.confidence is not None:
        found.append(_confidence(settings.confidence.shift))
    if settings.classes is not None:
        found.append(_classes(settings.classes.shift, learned.classes))
    for signal in found:
        check(signal)
    return tuple(found)


def check(signal: Signal) -> Signal:
    """`signal` itself. Raises ConfigError for a limit that nothing can breach."""
    lowest = 0.0 if signal.two_sided else signal.low
    if not lowest < signal.limit < signal.high:
        allowed = f"a limit strictly between {lowest:g} and {signal.high:g}"
        raise ConfigError(f"guards.{signal.name}", signal.limit, allowed)
    if signal.name.startswith("latency") and not 0 < signal.parameter < math.inf:
        raise ConfigError(f"guards.{signal.name}", signal.parameter, "a ratio or a time above 0")
    return signal


def unpaired_errors(settings: GuardSettings) -> Signal | None:
    """Errors where no request reaches both arms, judged by counts; None when that is not so."""
    if settings.errors is None or settings.mirrored:
        return None
    return check(Signal(ERRORS_UNPAIRED, settings.errors.excess, -1.0, 1.0, needs="requests of both arms"))


def _predictions(settings: GuardSettings) -> list[Signal]:
    found: list[Signal] = []
    repeats = "requests that the incumbent is asked twice (shadow.noise_share)"
    if settings.divergence is not None:
        mean = settings.divergence.mean
        if settings.noisy:
            signal = Signal(NOISE_CORRECTED_DIVERGENCE, mean, -1.0, 1.0, _excess_divergence, needs=repeats)
        else:
            signal = Signal(DIVERGENCE, mean, 0.0, 1.0, lambda columns: columns.rows.scores)
        found.append(signal)
    if settings.flips is not None:
        rate = settings.flips.rate
        if settings.noisy:
            signal = Signal(NOISE_CORRECTED_FLIPS, rate, -1.0, 1.0, _excess_flips, needs=repeats)
        else:
            signal = Signal(FLIPS, rate, 0.0, 1.0, lambda columns: columns.rows.flips)
        found.append(signal)
    return [replace(signal, compares_predictions=True) for signal in found]


def _latencies(settings: LatencyGuard, profile: LatencyProfile) -> list[Signal]:
    found: list[Signal] = []
    if settings.p95_ratio is not None:
        found.append(_ratio(LATENCY_P95, settings.p95_ratio, RunningQuantile(profile, 0.95, minimum=100)))
    if settings.p99_ratio is not None:
        found.append(_ratio(LATENCY_P99, settings.p99_ratio, RunningQuantile(profile, 0.99, minimum=200)))
    if settings.slo is not None:
        read = _over(settings.slo)
        found.append(Signal(LATENCY_SLO, settings.slo_rate, 0.0, 1.0, read, parameter=settings.slo))
    return found


def _excess_divergence(columns: Columns) -> Numbers:
    return _excess(columns, lambda found: found.score)


def _excess_flips(columns: Columns) -> Numbers:
    return _excess(columns, _flipped)


def _flipped(found: Divergence) -> float:
    """The share of rows that flipped."""
    return sum(row.flip for row in found.rows) / len(found.rows) if found.rows else float(found.flip)


def _excess(columns: Columns, read: Callable[[Divergence], float]) -> Numbers:
    """Of each triplet the candidate's less the incumbent's own; the mean over the rows of a batch."""
    triplets = columns.triplets
    x = np.array([read(found) - read(noise) for _, found, noise in triplets], dtype=np.float64)
    return Numbers(x, np.array([index for index, _, _ in triplets], dtype=np.int64))


def _ratio(name: str, ratio: float, quantile: RunningQuantile) -> Signal:
    def read(columns: Columns) -> Numbers:
        threshold = quantile.value
        if threshold is None or threshold == math.inf:
            return NOTHING
        incumbent, candidate = columns.latencies
        x = (candidate > ratio * threshold).astype(np.float64) - (incumbent > threshold)
        return heard(x, columns.every, ~(np.isnan(candidate) | np.isnan(incumbent)))

    # Certified is that slow answers are less than twice as many as the incumbent's, which has 1 − level of
    # them by definition. A candidate that is just as fast as it must be has an excess of 0, the limit itself,
    # and could never be certified below that.
    slack = 1 - quantile.level
    return Signal(name, 0.0, -1.0, 1.0, read, parameter=ratio, quantile=quantile, certified_below=slack)


def _over(slo: float) -> Callable[[Columns], Numbers]:
    def read(columns: Columns) -> Numbers:
        candidate = columns.latencies[1]
        return heard((candidate > slo).astype(np.float64), columns.every, ~np.isnan(candidate))

    return read


def _confidence(limit: float) -> Signal:
    def read(columns: Columns) -> Numbers:
        rows = columns.rows
        incumbent = np.array([row.incumbent_confidence for row in rows.findings], dtype=np.float64)
        candidate = np.array([row.candidate_confidence for row in rows.findings], dtype=np.float64)
        shift: Floats = np.clip(candidate - incumbent, -MOST_SHIFT, MOST_SHIFT)
        return rows.votes(shift, ~np.isnan(shift))

    return Signal(
        CONFIDENCE, limit, -MOST_SHIFT, MOST_SHIFT, read, two_sided=True, compares_predictions=True,
        needs="predictions with a confidence",
    )  # fmt: skip


def _classes(limit: float, shares: ClassShares) -> Signal:
    def read(columns: Columns) -> Numbers:
        incumbent, candidate, known = columns.labels
        x = np.array(shares.over(candidate), dtype=np.float64)
        x -= np.array(shares.over(incumbent), dtype=np.float64)
        differs = [mine != theirs for mine, theirs in zip(incumbent, candidate, strict=True)]
        return columns.rows.votes(x, known, np.array(differs, dtype=np.float64))

    return Signal(
        CLASSES, limit, -1.0, 1.0, read, compares_predictions=True, needs="predictions that name a class"
    )


NOTHING = Numbers(np.zeros(0), np.zeros(0, dtype=np.int64))
