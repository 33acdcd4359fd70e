"""The rivals are what they are called: a comparison with a broken one would prove nothing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.statistics import rivals


def test_a_window_is_tuned_to_what_it_then_does() -> None:
    """Naus's approximation against streams of 20 000 pairs, by the places of their flips."""
    generator = np.random.default_rng(31)
    width, limit, pairs, streams = 100, 0.01, 20_000, 1500
    fullest = np.zeros(streams)
    for stream in range(streams):
        places = np.cumsum(generator.geometric(limit, 400))
        places = places[places <= pairs]
        behind = np.searchsorted(places, places - width, side="right")
        fullest[stream] = (np.arange(1, len(places) + 1) - behind).max(initial=0)
    for alpha in (0.3, 0.05):
        count = rivals.window_count(width, limit, alpha, pairs)
        assert (fullest >= count).mean() <= alpha * 1.2 + 0.01
        assert (fullest >= count - 1).mean() > alpha


def test_a_window_counts_its_last_pairs() -> None:
    generator = np.random.default_rng(32)
    flips = generator.random((200, 5)) < 0.3
    window = rivals.Window(10, 5, 5)
    for at in range(len(flips)):
        expected = flips[max(0, at - 9) : at + 1].sum(axis=0) >= 5
        assert (window.step(flips[at]) == expected).all()


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.01), (5, 0.02), (6, 0.01)])
def test_mann_whitneys_level_is_exact(n: int, alpha: float) -> None:
    """By all ways to rank two samples of n: the smallest U that is as rare as α, which is when it alarms."""
    found = []
    for chosen in itertools.combinations(range(2 * n), n):
        others = [rank for rank in range(2 * n) if rank not in chosen]
        found.append(sum(one > other for one in chosen for other in others))
    us = np.array(found)
    smallest = min(u for u in range(n * n + 1) if (us >= u).mean() <= alpha)
    candidate, control = np.arange(n) + n - 0.5, np.arange(n, dtype=float)
    watcher = rivals.MannWhitney(0.01, alpha, 1, seed=1)
    assert watcher._significant(candidate[:, np.newaxis] + n, control[:, np.newaxis]).all()
    assert rivals._critical(n, alpha) == smallest
    assert rivals._critical(3, 0.01) == math.inf


def test_the_mixtures_are_fair_games_at_the_limit() -> None:
    """The exact mSPRT's expected ratio after ten tosses of a coin at the limit is 1."""
    limit, tosses = 0.2, 10
    exact = rivals.BetaMixture(limit, 0.001, 1)
    exact._pairs = tosses
    expected = sum(
        math.comb(tosses, k) * limit**k * (1 - limit) ** (tosses - k) * math.exp(exact._log_ratio(k))
        for k in range(tosses + 1)
    )
    assert expected == pytest.approx(1.0, abs=1e-9)


def test_the_normal_mixture_crosses_where_its_formula_says() -> None:
    limit, alpha, spread = 0.1, 0.01, 0.05
    watcher = rivals.NormalMixture(limit, alpha, 1, spread)
    alarmed = False
    for n in range(1, 60):
        variance = limit * (1 - limit)
        whole = variance + n * spread**2
        ratio = math.sqrt(variance / whole) * math.exp(
            n**2 * spread**2 * (1 - limit) ** 2 / (2 * variance * whole)
        )
        alarmed = bool(watcher.step(np.array([True]))[0])
        assert alarmed == (ratio >= 1 / alpha)
    assert alarmed
