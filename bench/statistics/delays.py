"""How many pairs until the alarm, when flips come at more than the limit: the guard and its rivals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistics import rivals
from bench.statistics.rivals import MINUTE, Detector
from bench.statistics.streams import Floats

LIMIT = 0.01
ALPHA = 0.001
RATES = (0.02, 0.05, 0.12, 0.5)
HEALTHY_PAIRS = 10_000
HEALTHY_RATE = 0.005
WINDOWS = (15, 80, 100, 400, 4000)
"""Widths: a hundred, and the best one for each of the rates."""
HORIZON = 100_000
"""Pairs after which waiting ends."""

WEEK = 7 * 24 * 60 * MINUTE
"""Pairs in the life of a release, for which a window is tuned, as the guard promises for all of it."""

POINTSMAN = "Pointsman"
MANN_WHITNEY = "Mann-Whitney"
NORMAL = "mSPRT, normal"
EXACT = "mSPRT, exact"

CHUNK = 200
Build = Callable[[int], Detector]


@dataclass(frozen=True, slots=True)
class Delay:
    """Pairs from the change to the alarm: of the streams without a false alarm before it.

    `median` and `late` (95 % are not later) are infinite when so many never alarmed within the horizon.
    """

    median: float
    late: float
    false_before: float


def contestants() -> dict[str, Build]:
    """The guard, and the rivals."""
    found: dict[str, Build] = {POINTSMAN: lambda streams: rivals.Pointsman(LIMIT, ALPHA, streams)}
    for width in WINDOWS:
        found[window_name(width)] = _window(width, rivals.window_count(width, LIMIT, ALPHA, WEEK))
    found[MANN_WHITNEY] = lambda streams: rivals.MannWhitney(LIMIT, 0.01, streams, seed=32)
    found[NORMAL] = lambda streams: rivals.NormalMixture(LIMIT, ALPHA, streams)
    found[EXACT] = lambda streams: rivals.BetaMixture(LIMIT, ALPHA, streams)
    return found


def window_name(width: int) -> str:
    return f"window of {width}"


def _window(width: int, count: int) -> Build:
    return lambda streams: rivals.Window(width, count, streams)


def after_healthy(
    build: Build, streams: int, seed: int, pairs: int = HEALTHY_PAIRS
) -> tuple[Detector, Floats]:
    """A detector that has seen `pairs` healthy pairs in each stream, and in which streams it has alarmed."""
    detector = build(streams)
    generator = np.random.default_rng(seed)
    alarmed = np.zeros(streams, dtype=bool)
    for start in range(0, pairs, CHUNK):
        for flips in generator.random((min(CHUNK, pairs - start), streams)) < HEALTHY_RATE:
            alarmed |= detector.step(flips)
    return detector, alarmed.astype(float)


def delay(detector: Detector, alarmed: Floats, rate: float, seed: int, horizon: int = HORIZON) -> Delay:
    """The delay of a copy of `detector` when flips come at `rate` from now on."""
    detector = copy.deepcopy(detector)
    generator = np.random.default_rng(seed)
    counted = alarmed == 0
    waited = np.full(len(alarmed), np.inf)
    pairs = 0
    enough = 0.95 * counted.sum()
    while pairs < horizon and np.isfinite(waited[counted]).sum() < enough:
        for flips in generator.random((CHUNK, len(alarmed))) < rate:
            pairs += 1
            waited[detector.step(flips) & np.isinf(waited)] = pairs
    ranked = np.sort(waited[counted])
    if not len(ranked):
        return Delay(np.inf, np.inf, 1.0)
    middle, late = ranked[len(ranked) // 2], ranked[int(0.95 * len(ranked)) - 1]
    return Delay(float(middle), float(late), float(alarmed.mean()))


def false_alarms(build: Build, streams: int, seed: int, pairs: int = HORIZON) -> float:
    """The share of streams that alarm within `pairs` pairs of a candidate at its limit."""
    detector = build(streams)
    generator = np.random.default_rng(seed)
    alarmed = np.zeros(streams, dtype=bool)
    for _ in range(0, pairs, CHUNK):
        for flips in generator.random((CHUNK, streams)) < LIMIT:
            alarmed |= detector.step(flips)
    return float(alarmed.mean())


@dataclass(frozen=True, slots=True)
class Contest:
    """One contestant's delays by rate, and the share of candidates at their limit that it alarmed for."""

    start: dict[float, Delay]
    late: dict[float, Delay]
    false_alarms: float


def contest(
    build: Build, streams: int, healthy_streams: int, pairs: int = HORIZON, rates: Sequence[float] = RATES
) -> Contest:
    """Everything about one contestant. False alarms are counted in `healthy_streams` of so many `pairs`."""
    nothing = np.zeros(streams)
    seen, alarmed = after_healthy(build, streams, seed=41)
    return Contest(
        {rate: delay(build(streams), nothing, rate, seed=42) for rate in rates},
        {rate: delay(seen, alarmed, rate, seed=43) for rate in rates},
        false_alarms(build, healthy_streams, seed=44, pairs=pairs),
    )
