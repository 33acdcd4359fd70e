"""Cohorts in which divergence concentrates: found where it is so, never by luck, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.cohorts import BINS, LEARNED, MISSING, MOST_VALUES, OTHER, Cohorts
from domain.observation import Divergence, Outcome, RowFinding
from killswitch.columns import JudgedPair
from settings.schema import CohortKind, CohortSource
from tests.support.control import pair

COUNTRY = CohortSource(CohortKind.HEADER, "x-country")
AGE = CohortSource(CohortKind.FEATURE, "age")


def judged(
    number: int, flip: bool, country: str | None = "NZ", latency: float = 0.002, **more: Any
) -> JudgedPair:
    one = pair(number, cohorts=(country,))
    one = one._replace(candidate=one.candidate._replace(latency=latency), **more)
    return JudgedPair(one, Divergence(float(flip), flip, "r"), None)


def stream(
    generator: np.random.Generator, count: int, rates: dict[str, float], shares: list[float] | None = None
) -> list[JudgedPair]:
    """Pairs of random cohorts that flip at the rate of theirs."""
    names = list(rates)
    drawn = generator.choice(len(names), count, p=shares)
    return [
        judged(
            n,
            bool(generator.random() < rates[names[place]]),
            names[place],
            float(generator.lognormal(-6, 0.3)),
        )
        for n, place in enumerate(drawn.tolist())
    ]


def test_the_cohort_that_diverges_comes_first_and_is_certain() -> None:
    generator = np.random.default_rng(1)
    cohorts = Cohorts([COUNTRY])
    cohorts.take(stream(generator, 4000, {"NZ": 0.3, "AU": 0.01, "DE": 0.01}, [0.05, 0.75, 0.2]), {}, 0.0)
    first = cohorts.findings(20)[0]
    assert first.cohort == "header:x-country=NZ"
    assert first.certain
    assert first.low <= 0.3 <= first.mean + 0.1
    assert first.rest == pytest.approx(0.01, abs=0.006)


def test_a_small_cohort_does_not_win_by_luck() -> None:
    cohorts = Cohorts([COUNTRY])
    pairs = [judged(n, flip=True, country="tiny") for n in range(2)]
    pairs += [judged(10 + n, flip=n % 5 == 0, country="large") for n in range(1000)]
    pairs += [judged(2000 + n, flip=n % 100 == 0, country="calm") for n in range(3000)]
    cohorts.take(pairs, {}, 0.0)
    found = {one.cohort: one for one in cohorts.findings(20)}
    assert found["header:x-country=tiny"].mean == 1.0
    assert not found["header:x-country=tiny"].certain
    assert next(iter(found)) == "header:x-country=large"


def test_where_all_cohorts_are_alike_hardly_ever_one_is_called_certain() -> None:
    generator = np.random.default_rng(7)
    names = {f"c{n}": 0.05 for n in range(20)}
    wrong = 0
    for _ in range(60):
        cohorts = Cohorts([COUNTRY])
        ever = False
        for _ in range(8):
            cohorts.take(stream(generator, 250, names), {}, 0.0)
            ever = ever or any(one.certain for one in cohorts.findings(20))
        wrong += ever
    assert wrong <= 3, "5 % of 60 are 3; the bounds hold at every look"


def test_a_unit_speaks_once_in_a_window() -> None:
    cohorts = Cohorts([COUNTRY], window=600.0)
    one = judged(1, flip=True)
    cohorts.take([one] * 50, {}, 0.0)
    cohorts.take([one] * 50, {}, 10.0)
    assert sum(count for count, *_ in cohorts.headers[0].cells.values()) == 1
    cohorts.take([one], {}, 601.0)
    assert sum(count for count, *_ in cohorts.headers[0].cells.values()) == 2


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=120)), max_size=300))
def test_values_are_bounded_and_none_is_lost(values: list[str | None]) -> None:
    cohorts = Cohorts([COUNTRY])
    cohorts.take([judged(n, flip=False, country=value) for n, value in enumerate(values)], {}, 0.0)
    cells = cohorts.headers[0].cells
    assert sum(count for count, *_ in cells.values()) == len(values)
    assert len(cells) <= MOST_VALUES + 2
    assert all(len(name) <= 100 for name in cells)


def test_values_beyond_the_bound_are_one_cohort() -> None:
    cohorts = Cohorts([COUNTRY])
    pairs = [judged(n, flip=False, country=f"v{n}") for n in range(MOST_VALUES + 10)]
    cohorts.take([*pairs, judged(9999, flip=False, country=None)], {}, 0.0)
    assert cohorts.headers[0].cells[OTHER][0] == 10
    assert cohorts.headers[0].cells[MISSING][0] == 1


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=800),
    st.integers(1, 300),
)
def test_ranges_hold_every_value_in_bounded_bins(values: list[float], at_once: int) -> None:
    cohorts = Cohorts([AGE])
    for start in range(0, len(values), at_once):
        part = values[start : start + at_once]
        features = {place: {"age": np.array([value])} for place, value in enumerate(part)}
        cohorts.take([judged(start + n, flip=False) for n in range(len(part))], features, 0.0)
    ranges = cohorts.features["age"]
    if len(values) >= LEARNED + at_once:
        assert sum(count for count, *_ in ranges.cells.values()) == len(values)
    assert len(ranges.cells) <= BINS + 1
    assert len({ranges.label(name) for name in ranges.cells}) == len(ranges.cells)


def test_a_range_of_a_feature_in_which_it_diverges_is_named() -> None:
    generator = np.random.default_rng(3)
    cohorts = Cohorts([AGE])
    for start in range(0, 6000, 200):
        ages = generator.uniform(0, 100, 200)
        pairs = [judged(start + n, flip=bool(age > 90)) for n, age in enumerate(ages.tolist())]
        cohorts.take(pairs, {n: {"age": np.array([age])} for n, age in enumerate(ages)}, 0.0)
    first = cohorts.findings(3)[0]
    assert first.cohort.startswith("feature:age > 8")
    assert first.certain
    assert all(one.cohort.startswith("feature:age") for one in cohorts.findings(1))


def test_a_batch_of_rows_speaks_once_in_each_range_its_rows_lie_in() -> None:
    cohorts = Cohorts([AGE])
    learned = np.linspace(0, 100, LEARNED)
    cohorts.take(
        [judged(n, flip=False) for n in range(LEARNED)],
        {n: {"age": np.array([age])} for n, age in enumerate(learned)},
        0.0,
    )
    before = dict(cohorts.features["age"].cells)
    rows = tuple(RowFinding(float(flip), flip) for flip in (True, True, False, False))
    one = JudgedPair(pair(9999, cohorts=(None,)), Divergence(0.5, True, "r", rows=rows), None)
    cohorts.take([one], {0: {"age": np.array([99.0, 99.0, 1.0, 2.0])}}, 0.0)
    after = cohorts.features["age"].cells
    added = {
        name: (after[name][0] - before[name][0], after[name][1] - before[name][1])
        for name in after
        if after[name] != before[name]
    }
    assert sorted(added.values()) == [(1, 0.0), (1, 1.0)]


def test_where_the_incumbent_is_asked_twice_its_noise_is_taken_off() -> None:
    cohorts = Cohorts([COUNTRY], noisy=True)
    noise = Divergence(1.0, True, "noise")
    pairs = [JudgedPair(judged(n, flip=True, country="noisy").pair, noise, None, noise) for n in range(500)]
    calm = Divergence(0.0, False, "same")
    pairs += [
        JudgedPair(judged(1000 + n, flip=True, country="worse").pair, noise, None, calm) for n in range(500)
    ]
    pairs += [judged(3000 + n, flip=True, country="no repeat") for n in range(100)]
    cohorts.take(pairs, {}, 0.0)
    (first, *rest) = cohorts.findings(20)
    assert (first.cohort, first.mean, first.rest) == ("header:x-country=worse", 1.0, 0.0)
    assert first.certain
    assert not any("no repeat" in one.cohort for one in rest)


def test_an_answer_that_only_the_candidate_failed_to_give_counts() -> None:
    cohorts = Cohorts([COUNTRY])
    failed = pair(1, cohorts=("NZ",))
    failed = failed._replace(candidate=failed.candidate._replace(outcome=Outcome.TIMEOUT, status=0, body=b""))
    both = failed._replace(incumbent=failed.incumbent._replace(status=500))
    cohorts.take([JudgedPair(failed, None, None), JudgedPair(both, None, None)], {}, 0.0)
    assert cohorts.headers[0].cells == {"NZ": (1, 1.0, 1.0)}


def test_what_is_kept_goes_on_after_a_restart_and_nonsense_is_refused() -> None:
    generator = np.random.default_rng(5)
    cohorts, again = Cohorts([COUNTRY, AGE]), Cohorts([COUNTRY, AGE])
    pairs = stream(generator, 600, {"NZ": 0.4, "AU": 0.02})
    features = {n: {"age": np.array([float(n)])} for n in range(600)}
    cohorts.take(pairs, features, 0.0)
    again.restore(cohorts.keep())
    for one in (cohorts, again):
        one.take(pairs[:100], {n: features[n] for n in range(100)}, 0.0)
    assert again.findings(50) == cohorts.findings(50)
    other = Cohorts([CohortSource(CohortKind.HEADER, "x-tier")])
    other.restore(cohorts.keep())
    assert other.headers[0].cells == {}
    with pytest.raises(ValueError, match="not kept cohorts"):
        other.restore(b"\xc1")
