"""Which paths differ more often between the arms than the incumbent from itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.path_noise import MOST_PATHS, OTHER_PATHS, PathNoise, interval


def watched(arms: dict[str, float], noise: dict[str, float], requests: int, seed: int) -> PathNoise:
    """Paths that differ with these rates."""
    chance = np.random.default_rng(seed)
    found = PathNoise()
    for _ in range(requests):
        found.observe(
            [path for path, rate in arms.items() if chance.random() < rate],
            [path for path, rate in noise.items() if chance.random() < rate],
        )
    return found


def test_noise_is_told_from_a_difference() -> None:
    found = watched({"/stamp": 1.0, "/text": 0.4, "/price": 0.3}, {"/stamp": 1.0, "/text": 0.4}, 2000, 1)
    assert found.exceeding() == ("/price",)
    by_path = {one.path: one for one in found.findings()}
    assert found.findings()[0].path == "/price"
    assert by_path["/stamp"].quiet
    assert by_path["/stamp"].arms.estimate == 1.0
    assert not by_path["/price"].quiet
    assert by_path["/text"].noise.low < 0.4 < by_path["/text"].noise.high


def test_little_evidence_is_not_certain() -> None:
    found = PathNoise()
    for _ in range(5):
        found.observe(["/a"], [])
    (finding,) = found.findings()
    assert (finding.arms.differing, finding.arms.comparisons) == (5, 5)
    assert not finding.exceeds
    assert not finding.quiet


def test_requests_without_a_repeat_tell_about_the_arms_alone() -> None:
    found = PathNoise()
    for _ in range(1000):
        found.observe(["/a"], None)
    (finding,) = found.findings()
    assert finding.noise.comparisons == 0
    assert (finding.noise.low, finding.noise.high) == (0.0, 1.0)
    assert not finding.exceeds
    for _ in range(200):
        found.observe(None, [])
    assert found.exceeding() == ("/a",)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.99])
def test_the_interval_holds_at_every_moment(rate: float) -> None:
    error, misses, runs = 0.1, 0, 200
    for seed in range(runs):
        differs = np.cumsum(np.random.default_rng(seed).random(600) < rate)
        bounds = [interval(int(differs[n - 1]), n, error) for n in range(1, 601, 13)]
        misses += any(not low <= rate <= high for low, high in bounds)
    # Ville's bound; three standard errors of the simulation above it would be a fault.
    assert misses / runs <= error + 3 * math.sqrt(error * (1 - error) / runs)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.floats(1e-6, 0.5))
def test_the_interval_holds_the_estimate_and_is_where_the_martingale_reaches_its_bound(
    count: int, more: int, error: float
) -> None:
    comparisons = count + more
    low, high = interval(count, comparisons, error)
    assert 0.0 <= low <= count / comparisons <= high <= 1.0
    mixture = math.lgamma(count + 0.5) + math.lgamma(more + 0.5) - math.lgamma(comparisons + 1)
    for rate in (low, high):
        if 0.0 < rate < 1.0:
            log_martingale = mixture - math.log(math.pi) - count * math.log(rate) - more * math.log1p(-rate)
            assert log_martingale == pytest.approx(-math.log(error), abs=1e-3)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.none() | st.sets(st.sampled_from("abc"))), max_size=20
    )
)
def test_counts_of_several_processes_add_up(requests: list[tuple[set[str], set[str] | None]]) -> None:
    whole, parts = PathNoise(), [PathNoise(), PathNoise()]
    for at, (arms, noise) in enumerate(requests):
        whole.observe(arms, noise)
        parts[at % 2].observe(arms, noise)
    parts[0].merge(parts[1])
    assert set(parts[0].findings()) == set(whole.findings())
    loaded = PathNoise.load(json.loads(json.dumps(whole.dump())))
    assert loaded.findings() == whole.findings()


def test_memory_is_bounded_and_what_is_not_listed_is_counted_together() -> None:
    found = PathNoise()
    for at in range(3000):
        found.observe([f"/{at}", f"/{at}/x"], [])
    assert len(found.findings()) == MOST_PATHS + 1
    assert found.exceeding() == (OTHER_PATHS,)
    other = PathNoise()
    for at in range(3000):
        other.observe([], [f"/z{at}"])
    found.merge(other)
    assert len(found.findings()) == MOST_PATHS + 1
    (together,) = [one for one in found.findings() if one.path == OTHER_PATHS]
    assert together.noise.differing <= together.noise.comparisons


@pytest.mark.parametrize(
    "dumped",
    [
        {},
        {"arms": 1, "noise": 1, "paths": []},
        {"arms": -1, "noise": 1, "paths": {}},
        {"arms": 1, "noise": True, "paths": {}},
        {"arms": 1, "noise": 1, "paths": {"/a": [2, 0]}},
        {"arms": 1, "noise": 1, "paths": {"/a": [1]}},
        {"arms": 1, "noise": 1, "paths": {"/a": "10"}},
        {"arms": 1, "noise": 1, "paths": {f"/{at}": [1, 1] for at in range(300)}},
    ],
)
def test_what_are_no_counts_is_refused(dumped: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="count"):
        PathNoise.load(dumped)
