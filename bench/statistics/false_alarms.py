"""How often a guard cries wolf: every signal at its limit and inside, with a look after every vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistics import traffic
from bench.statistics.streams import BETS, Floats, RareStreams, Streams, fresh_money
from bench.statistics.traffic import Claim, Draw

ALPHAS = (0.05, 0.01, 0.001)
CHUNK = 500
Watch = Callable[[np.random.Generator, int, int], Floats]
"""(generator, streams, pairs) -> the highest e that each stream ever showed, of shape (streams,)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One healthy candidate.

    Attributes:
        weight: how dear a stream is; more of them are watched where they are cheap.
        breaks: the assumption of the promise does not hold, so it alarms more often: shown as a warning.
    """

    name: str
    watch: Watch
    weight: float = 1
    breaks: bool = False


def guard(claim: Claim, draw: Callable[[int], Draw], *, pairs_a_vote: int = 1) -> Watch:
    """One guard; `draw` makes the traffic anew for so many streams."""

    def watch(generator: np.random.Generator, streams: int, pairs: int) -> Floats:
        source = draw(streams)
        dense = Streams(claim.limit, claim.low, claim.high, streams, two_sided=claim.two_sided)
        peak = np.zeros(streams)
        for count in chunks(pairs // pairs_a_vote):
            for x in source(generator, count, streams):
                np.maximum(peak, dense.step(x), out=peak)
        return peak

    return watch


def rare(claim: Claim, draw: Callable[[int], Draw], *, pairs_a_vote: int = 1) -> Watch:
    """The same for x that is 0 nearly always."""

    def watch(generator: np.random.Generator, streams: int, pairs: int) -> Floats:
        source = draw(streams)
        quick = RareStreams(claim.limit, claim.low, claim.high, streams)
        peak = np.zeros(streams)
        for count in chunks(pairs // pairs_a_vote):
            for x in source(generator, count, streams):
                where = np.flatnonzero(x)
                peak[where] = np.maximum(peak[where], quick.step(where, x[where]))
        return peak

    return watch


def together(generator: np.random.Generator, streams: int, pairs: int) -> Floats:
    """Six guards on the same pairs, all at their limits and feeding on the same luck; e/6 of the loudest."""
    claims = [FLIPS, Claim(0.02, 0.0, 1.0), Claim(0.005, -1.0, 1.0)] * 2
    watched = [RareStreams(claim.limit, claim.low, claim.high, streams) for claim in claims]
    peak = np.zeros(streams)
    for count in chunks(pairs):
        for luck, other in generator.random((count, 2, streams)):
            for number, (claim, one) in enumerate(zip(claims, watched, strict=True)):
                mine = luck if number < 3 else 0.5 * luck + 0.5 * other
                rate = claim.limit if number < 3 else math.sqrt(claim.limit / 2)  # of the sum of two
                where = np.flatnonzero(mine < rate)
                peak[where] = np.maximum(peak[where], one.step(where, 1.0) / len(claims))
    return peak


def unpaired(generator: np.random.Generator, streams: int, pairs: int, tolerated: float = 0.005) -> Floats:
    """Errors by counts: stretches of 100 requests, 10 of them the candidate's, in which both arms have errors
    at a rate that changes, the candidate's `tolerated` higher."""
    ratio = 9.0
    stakes = np.minimum(np.geomspace(0.05, 50.0, BETS), 0.95 * ratio)[:, np.newaxis]
    wealth = np.full((BETS, streams), 0.5)
    peak = np.zeros(streams)
    for stretch in range(pairs // 100):
        rate = generator.choice([0.0, 0.01, 0.05], streams)
        incumbent = generator.binomial(90, rate)
        candidate = generator.binomial(10, rate + tolerated)
        growth = (
            candidate * np.log1p(stakes) + incumbent * np.log1p(-stakes / ratio) - 10 * tolerated * stakes
        )
        wealth = (wealth + fresh_money(stretch)) * np.exp(growth)
        np.maximum(peak, wealth.mean(axis=0), out=peak)
    return peak


def cohorts(generator: np.random.Generator, streams: int, pairs: int, groups: int = 8) -> Floats:
    """Accuracy of everybody and of 8 overlapping cohorts by e-BH, each exactly 2 % worse with 2 % tolerated.

    Answers the largest k·(w·e)_(k); the weights are those of 64 cohorts.
    """
    weights = np.full((groups + 1, 1), 0.5 / 64)
    weights[0] = 0.5
    ranks = np.arange(1, groups + 2)[:, np.newaxis]
    everyone = (groups + 1) * streams
    watched = RareStreams(0.02, -1.0, 1.0, everyone)
    peak = np.zeros(streams)
    e = np.full(everyone, 0.5)
    for count in chunks(pairs):
        x = traffic.excess_errors(0.08, 0.02, 0.05)(generator, count, streams)
        member = generator.random((count, groups, streams)) < 0.3
        for votes, groups_of in zip(x, member, strict=True):
            each = np.concatenate([votes[np.newaxis], votes * groups_of]).ravel()
            where = np.flatnonzero(each)
            e[where] = watched.step(where, each[where])
            ranked = np.sort(weights * e.reshape(groups + 1, streams), axis=0)[::-1]
            np.maximum(peak, (ranks * ranked).max(axis=0), out=peak)
    return peak


def certificates(generator: np.random.Generator, streams: int, pairs: int) -> Floats:
    """The evidence for a certificate ("flips are certainly below 1 %") of a candidate at 1 %."""
    limit = 0.01
    stakes = (np.geomspace(0.97, 0.03, 8) / (1 - limit))[:, np.newaxis]
    wealth = np.array([2.0**-k for k in range(1, 8)] + [2.0**-7])[:, np.newaxis].repeat(streams, axis=1)
    peak = np.zeros(streams)
    for count in chunks(pairs):
        for flips in generator.random((count, streams)) < limit:
            wealth *= 1 + stakes * limit
            wealth[:, np.flatnonzero(flips)] *= (1 + stakes * (limit - 1)) / (1 + stakes * limit)
            np.maximum(peak, wealth.sum(axis=0), out=peak)
    return peak


def chunks(votes: int) -> list[int]:
    """How many votes to draw at once."""
    return [min(CHUNK, votes - start) for start in range(0, votes, CHUNK)]


def _always(draw: Draw) -> Callable[[int], Draw]:
    return lambda streams: draw


FLIPS = Claim(0.01, 0.0, 1.0)
DIVERGENCE = Claim(0.05, 0.0, 1.0)
NOISY = Claim(0.02, -1.0, 1.0)
ERRORS = Claim(0.005, -1.0, 1.0)
SLOWER = Claim(0.0, -1.0, 1.0)
CONFIDENCE = Claim(0.02, -0.1, 0.1, two_sided=True)
SHARES = Claim(0.05, -1.0, 1.0)

ROWS = (
    Row("flips, at the limit of 1 %", rare(FLIPS, _always(traffic.flips(0.01))), weight=0.5),
    Row("flips, inside: 0.5 %", rare(FLIPS, _always(traffic.flips(0.005)))),
    Row("flips in batches of 20 rows that err together, at the limit",
        rare(FLIPS, _always(traffic.batches(0.01, 20))), weight=4),
    Row("flips in bursts of 20 of a unit, one vote per unit",
        rare(FLIPS, _always(traffic.bursts(0.01, 20, every=20)), pairs_a_vote=20)),
    Row("flips in bursts of 20 of nobody known, blocks of 100",
        rare(FLIPS, _always(traffic.blocks(0.01, 20, 100)), pairs_a_vote=100), weight=4),
    Row("divergence, at the limit of 5 %", guard(DIVERGENCE, _always(traffic.scores(0.05))), weight=4),
    Row("divergence, inside: 3 %", guard(DIVERGENCE, _always(traffic.scores(0.03))), weight=4),
    Row("noise-corrected flips, at the limit of 2 %",
        guard(NOISY, _always(traffic.noise_corrected_flips(0.02))), weight=4),
    Row("noise-corrected flips, inside: nothing but noise",
        guard(NOISY, _always(traffic.noise_corrected_flips(0.0))), weight=4),
    Row("errors, 2.5 % against 2 % with 0.5 % allowed",
        rare(ERRORS, _always(traffic.excess_errors(0.02, 0.005, 0.0))), weight=0.5),
    Row("errors, inside: 5 % each, 3 % together",
        rare(ERRORS, _always(traffic.excess_errors(0.05, 0.0, 0.03))), weight=1),
    Row("errors by counts, 0.5 % more with 0.5 % allowed", unpaired, weight=1),
    Row("latency p95, 1.5 times slower with 1.5 allowed",
        rare(SLOWER, lambda streams: traffic.Exceedances(1.5, 1.5, 0.95, 100, streams))),
    Row("latency p99, the same",
        rare(SLOWER, lambda streams: traffic.Exceedances(1.5, 1.5, 0.99, 200, streams))),
    Row("latency p95, inside: as fast as the incumbent",
        rare(SLOWER, lambda streams: traffic.Exceedances(1.5, 1.0, 0.95, 100, streams)), weight=8),
    Row("confidence, at +2 % of ±2 %", guard(CONFIDENCE, _always(traffic.shifts(0.02))), weight=8),
    Row("confidence, at −2 % of ±2 %", guard(CONFIDENCE, _always(traffic.shifts(-0.02))), weight=8),
    Row("class shares, at a total variation of 5 %",
        rare(SHARES, lambda streams: traffic.Classes(0.05, streams)), weight=8),
    Row("class shares, inside: none moves",
        rare(SHARES, lambda streams: traffic.Classes(0.0, streams)), weight=8),
    Row("feature drift, at a total variation of 5 %",
        guard(SHARES, lambda streams: traffic.Bins(0.05, streams)), weight=16),
    Row("accuracy of 8 cohorts and all, each at its limit", cohorts, weight=20),
    Row("six guards that share α, all at their limits", together, weight=16),
    Row("certificates that are wrong, at the limit of 1 %", certificates, weight=0.5),
    Row("not promised: bursts of 20 of a unit, every pair voting",
        rare(FLIPS, _always(traffic.bursts(0.01, 20))), breaks=True),
)  # fmt: skip


def peaks(row: Row, streams: int, pairs: int, seed: int) -> Floats:
    """The highest e that each stream ever showed in `pairs` looks, of shape (streams,)."""
    return row.watch(np.random.default_rng(seed), streams, pairs)


def most(alarms_of: int, alpha: float, chance: float = 1e-4) -> int:
    """A binomial(`alarms_of`, `alpha`) count is above this with a probability of `chance` at most."""
    above, count, term = 1.0, 0, (1 - alpha) ** alarms_of
    while (above := above - term) > chance:
        term *= (alarms_of - count) / (count + 1) * alpha / (1 - alpha)
        count += 1
    return count


def shares(peak: Floats, alphas: Sequence[float] = ALPHAS) -> dict[float, float]:
    """The share of streams that ever reached 1/α."""
    return {alpha: float((peak >= 1 / alpha).mean()) for alpha in alphas}
