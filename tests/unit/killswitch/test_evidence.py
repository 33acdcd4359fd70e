"""The e-detector: its laws, and that it is the recursion of DESIGN.md."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.evidence import HEAD_START, START, EDetector, Increment, restart_weight

signals = st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=40)


def formula(limit: float, low: float, high: float, batches: list[list[float]]) -> float:
    """ln e by the letter of the design: plain wealths, one x at a time."""
    q = (limit - low) / (high - low)
    bets = 16
    first, last = 0.3 * min(q, 1 - q), 0.95 * (1 - q)
    steps = [first * (last / first) ** (k / (bets - 1)) for k in range(bets)]
    stakes = [step / (q * (1 - q)) / (high - low) for step in steps]
    wealth = [0.5] * bets
    for j, batch in enumerate(batches):
        restart = 0.5 * math.log(20) / ((j + 20) * math.log(j + 20) ** 2) if j else 0.0
        wealth = [
            (m + restart) * math.prod(1 + stake * (x - limit) for x in batch)
            for m, stake in zip(wealth, stakes, strict=True)
        ]
    return math.log(sum(wealth) / bets)


@settings(deadline=None)
@given(
    batches=st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=12),
    limit=st.floats(0.001, 0.999),
)
def test_the_detector_is_the_designs_formula(batches: list[list[float]], limit: float) -> None:
    detector = EDetector(limit, 0.0, 1.0)
    state = detector.start()
    for batch in batches:
        state = detector.apply(state, detector.increment(batch))
    assert detector.log_evidence(state) == pytest.approx(formula(limit, 0.0, 1.0, batches), abs=1e-8)
    assert state.count == sum(map(len, batches))
    assert state.batches == len(batches)


def test_a_signed_range_follows_the_formula_too() -> None:
    detector = EDetector(0.005, -1.0, 1.0)
    batches = [[0.0, 1.0, -1.0], [1.0], [1.0, 1.0, 0.0, 0.0]]
    state = detector.start()
    for batch in batches:
        state = detector.apply(state, detector.increment(batch))
    assert detector.log_evidence(state) == pytest.approx(formula(0.005, -1.0, 1.0, batches), abs=1e-8)


def test_start_and_all_restarts_are_worth_no_more_than_one() -> None:
    j = np.arange(1, 1_000_001, dtype=float)
    assert restart_weight(0) == 0.0
    restarts = math.log(HEAD_START) / ((j + HEAD_START) * np.log(j + HEAD_START) ** 2)
    # The integral from the last term on bounds the rest: the terms fall.
    rest = math.log(HEAD_START) / math.log(j[-1] + HEAD_START)
    assert restarts.sum() + rest <= 1
    assert restart_weight(3) == pytest.approx((1 - START) * restarts[2])


@settings(deadline=None)
@given(left=signals, right=signals)
def test_merging_replicas_is_exactly_the_sum_of_their_log_growth(
    left: list[float], right: list[float]
) -> None:
    detector = EDetector(0.02, 0.0, 1.0)
    one, other = detector.increment(left), detector.increment(right)
    merged = one + other
    assert merged == other + one
    assert merged.growth == tuple(a + b for a, b in zip(one.growth, other.growth, strict=True))
    assert merged.count == len(left) + len(right)
    assert merged.total == one.total + other.total
    assert merged.absolute == one.absolute + other.absolute
    assert merged == detector.increment(left + right)
    assert merged == detector.increment((left + right)[::-1])


def test_increments_of_different_detectors_do_not_add() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        EDetector(0.1, 0, 1, bets=4).increment([1.0]) + EDetector(0.1, 0, 1, bets=5).increment([1.0])


@settings(deadline=None)
@given(x=signals)
def test_values_outside_the_range_count_as_its_ends(x: list[float]) -> None:
    detector = EDetector(0.1, 0.0, 1.0)
    assert detector.increment(x) == detector.increment([min(max(value, 0.0), 1.0) for value in x])


def test_infinite_values_are_clipped_and_nan_is_refused() -> None:
    detector = EDetector(0.1, -1.0, 1.0)
    assert detector.increment([math.inf, -math.inf]) == detector.increment([1.0, -1.0])
    with pytest.raises(ValueError, match="not a number"):
        detector.increment([0.0, math.nan, 1.0])
    with pytest.raises(ValueError, match="not a number"):
        detector.path([math.nan])


def test_an_empty_batch_changes_nothing() -> None:
    detector = EDetector(0.1, 0.0, 1.0)
    state = detector.apply(detector.start(), detector.increment([0.5]))
    assert detector.apply(state, detector.increment([])) is state
    assert detector.apply(state, Increment((0.0,) * 16, 0, 0.0, 0.0)) is state


@settings(deadline=None)
@given(x=signals)
def test_the_path_leads_number_by_number_to_the_increment(x: list[float]) -> None:
    detector = EDetector(0.05, 0.0, 1.0)
    path = detector.path(x)
    assert path.growth.shape == (16, len(x) + 1)
    assert path.increment == detector.increment(x)
    for count in range(len(x) + 1):
        increment = detector.increment(x[:count])
        assert path.growth[:, count].tolist() == list(increment.growth)
        assert path.totals[count] == increment.total
        assert path.absolutes[count] == increment.absolute


def test_evidence_stays_finite_through_a_million_of_the_worst_and_of_the_best() -> None:
    detector = EDetector(0.01, 0.0, 1.0)
    bad = detector.apply(detector.start(), detector.increment(np.ones(1_000_000)))
    good = detector.apply(detector.start(), detector.increment(np.zeros(1_000_000)))
    assert math.isfinite(detector.log_evidence(bad))
    assert math.isfinite(detector.log_evidence(good))
    revived = good
    for _ in range(30):
        revived = detector.apply(revived, detector.increment([1.0]))
    assert detector.log_evidence(revived) > math.log(1000)


def test_the_expected_wealth_under_the_claim_never_exceeds_one() -> None:
    """Exact, over all 2^10 streams at the limit: E[e] is the money handed out."""
    limit = 0.3
    detector = EDetector(limit, 0.0, 1.0)
    expected = 0.0
    for x in itertools.product((0.0, 1.0), repeat=10):
        state = detector.start()
        for value in x:
            state = detector.apply(state, detector.increment([value]))
        ones = sum(x)
        chance = limit**ones * (1 - limit) ** (10 - ones)
        expected += chance * math.exp(detector.log_evidence(state))
    spent = START + sum(restart_weight(j) for j in range(10))
    assert expected <= spent
    assert expected == pytest.approx(spent, rel=1e-8)
    assert spent <= 1


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [(0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (2.0, 0.0, 1.0), (math.nan, 0.0, 1.0), (0.5, 0.0, math.inf)],
)
def test_a_limit_that_nothing_can_breach_is_refused(limit: float, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        EDetector(limit, low, high)


@settings(deadline=None)
@given(x=st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=60))
def test_both_sides_are_the_mean_of_a_detector_a_side(x: list[float]) -> None:
    both = EDetector(0.05, -0.1, 0.1, two_sided=True)
    one = EDetector(0.05, -0.1, 0.1)
    state = both.apply(both.start(), both.increment(x))
    above = one.log_evidence(one.apply(one.start(), one.increment(x)))
    below = one.log_evidence(one.apply(one.start(), one.increment([-value for value in x])))
    assert both.log_evidence(state) == pytest.approx(
        math.log((math.exp(above) + math.exp(below)) / 2), abs=1e-7
    )


@pytest.mark.parametrize(("limit", "low", "high"), [(0.05, 0.0, 1.0), (-0.01, -0.1, 0.1), (0.2, -0.1, 0.5)])
def test_a_limit_without_two_sides_is_refused(limit: float, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="two sides"):
        EDetector(limit, low, high, two_sided=True)


def test_a_detector_without_bets_is_refused() -> None:
    with pytest.raises(ValueError, match="bets 0"):
        EDetector(0.1, 0.0, 1.0, bets=0)
