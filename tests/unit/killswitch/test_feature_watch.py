"""Drift from the first request on: a reference that is learned, frozen, merged, kept, and told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.verdict import Verdict
from killswitch.guards import GuardReport, GuardSet, Request
from killswitch.increments import Increments
from killswitch.references import FeatureReference, learned, matrix, reference
from settings.schema import DriftGuard, GuardSettings

LEARN = 400
SETTINGS = GuardSettings(drift=DriftGuard(0.2, learn=LEARN))


def requests(count: int, shift: float = 0.0, seed: int = 1, first: int = 1) -> list[Request]:
    generator = np.random.default_rng(seed)
    heat, wet = generator.normal(shift, 1, count), generator.random(count)
    return [
        Request(first + n, float(n), {"heat": heat[n : n + 1], "wet": wet[n : n + 1]}) for n in range(count)
    ]


def shown(guards: GuardSet, stream: list[Request], size: int = 50) -> GuardReport:
    for start in range(0, len(stream), size):
        guards.observe([], 0.0, stream[start : start + size])
    return report(guards)


def features(guards: GuardSet) -> tuple[str, ...] | None:
    return guards.features


def report(guards: GuardSet) -> GuardReport:
    return guards.reports(100)[-1]


def test_without_a_reference_the_first_requests_are_it_and_the_report_says_so() -> None:
    guards = GuardSet(SETTINGS)
    assert features(guards) is None
    before = shown(guards, requests(150))
    assert (before.guard, before.verdict, before.soft) == ("drift", Verdict.INCONCLUSIVE, True)
    assert (
        "no reference file: to be learned from the first 400 requests; 150 of them are known"
        in before.sentence
    )
    assert guards.drifts() == {}
    shown(guards, requests(250, seed=2, first=1000))
    assert features(guards) == ("heat", "wet")
    healthy = shown(guards, requests(1000, seed=3, first=2000))
    assert healthy.verdict is Verdict.PASS
    assert healthy.sentence.endswith("; no reference file: learned from the first 400 requests")
    drifted = shown(guards, requests(1000, shift=1.5, seed=4, first=5000))
    assert (drifted.verdict, drifted.cohort) == (Verdict.FAIL, "feature:heat")
    assert guards.verdict(0) is Verdict.FAIL
    assert guards.breach is None, "it warns, and takes nobody out"


def test_a_reference_that_is_given_is_compared_with_at_once_and_outlives_a_reset() -> None:
    given_reference = [reference("heat", np.random.default_rng(5).normal(0, 1, 5000))]
    guards = GuardSet(SETTINGS, given_reference)
    assert features(guards) == ("heat",)
    assert shown(guards, requests(600, shift=1.5)).verdict is Verdict.FAIL
    guards.reset()
    assert report(guards).count == 0
    assert features(guards) == ("heat",)
    assert "learned" not in shown(guards, requests(600)).sentence


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), kept_after=st.integers(0, 11), parts=st.integers(1, 3))
def test_processes_that_share_a_stream_learn_and_judge_as_one_and_a_restart_goes_on(
    seed: int, kept_after: int, parts: int
) -> None:
    whole, shared = GuardSet(SETTINGS), GuardSet(SETTINGS)
    stream = requests(1200, shift=0.4, seed=seed)
    for number, start in enumerate(range(0, 1200, 100)):
        batch = stream[start : start + 100]
        cut = -(-len(batch) // parts)
        pieces = [batch[at : at + cut] for at in range(0, len(batch), cut)]
        whole.observe([], 0.0, batch)
        shared.merge([Increments.load(shared.read([], 0.0, piece).dump()) for piece in pieces])
        if number == kept_after:
            again = GuardSet(SETTINGS)
            again.load(shared.dump())
            shared = again
    assert shared.drifts() == whole.drifts()
    mine, theirs = report(shared), report(whole)
    assert (mine.evidence, mine.estimate, mine.count) == (theirs.evidence, theirs.estimate, theirs.count)


def test_a_batch_is_one_vote_unless_rows_vote() -> None:
    one = Request(7, 0.0, {"heat": np.array([-1.0, 0.0, 1.0, 5.0])})
    given_reference = [FeatureReference("heat", (0.0,), (0.5, 0.5, 0.0))]
    counts = {}
    for per, unit in (("unit", 7), ("unit", 0), ("pair", 7), ("row", 7)):
        window = 600.0 if per == "unit" else 0.0
        guards = GuardSet(replace(SETTINGS, vote_per=per, vote_window=window), given_reference)
        guards.observe_requests([one._replace(unit=unit)], 0.0)
        counts[per, unit] = report(guards).count
        assert guards.drifts() == {"heat": 0.0}, "two rows of four lie in each half, whoever votes"
    assert counts == {("unit", 7): 1, ("unit", 0): 4, ("pair", 7): 1, ("row", 7): 4}


def test_a_unit_is_learned_from_once_in_a_window() -> None:
    guards = GuardSet(SETTINGS)
    shown(guards, [request._replace(unit=7) for request in requests(300)])
    assert "1 of them are known" in report(guards).sentence


def test_what_one_client_names_is_not_learned() -> None:
    stream = requests(LEARN)
    stream[0] = stream[0]._replace(columns={"forged": np.ones(1), **stream[0].columns})
    guards = GuardSet(SETTINGS)
    shown(guards, stream)
    assert features(guards) == ("heat", "wet")


def test_where_no_feature_is_common_learning_begins_anew() -> None:
    guards = GuardSet(SETTINGS)
    for n in range(LEARN):
        guards.observe_requests([Request(n + 1, 0.0, {f"f{n}": np.ones(1)})], 0.0)
    assert features(guards) is None
    assert "0 of them are known" in report(guards).sentence


def test_infinity_and_nothing_can_be_learned_and_kept() -> None:
    guards, again = GuardSet(SETTINGS), GuardSet(SETTINGS)
    odd = [math.inf, -math.inf, math.nan, 1.0] * (LEARN // 4)
    stream = [Request(n + 1, 0.0, {"heat": np.array([value])}) for n, value in enumerate(odd)]
    guards.observe_requests(stream[:-1], 0.0)
    again.load(guards.dump())
    for one in (guards, again):
        one.observe_requests(stream[-1:], 0.0)
    assert guards.dump() == again.dump()


def test_requests_that_name_nothing_are_taken_by_the_order_of_their_columns() -> None:
    named = Request(1, 0.0, {"b": np.array([2.0, 2.5]), "a": np.array([1.0, 1.5])})
    nameless = Request(2, 0.0, {"0": np.array([3.0]), "1": np.array([4.0])})
    partly = Request(3, 0.0, {"a": np.array([5.0])})
    stranger = Request(4, 0.0, {"x": np.array([6.0])})
    values, owners = matrix([named, nameless, partly, stranger], ("a", "b"))
    assert owners.tolist() == [0, 0, 1, 2]
    assert values[:3].tolist() == [[1.0, 2.0], [1.5, 2.5], [3.0, 4.0]]
    assert values[3, 0] == 5.0
    assert math.isnan(values[3, 1])


@settings(deadline=None)
@given(st.lists(st.floats(allow_infinity=True, allow_nan=True), min_size=1, max_size=60))
def test_a_reference_of_any_numbers_is_one_and_holds_them_all(values: list[float]) -> None:
    found = reference("x", values)
    counts = np.bincount(found.bins(np.array(values)), minlength=len(found.shares))
    assert np.allclose(counts / len(values), found.shares)
    assert learned([{"x": value} for value in values])[0] == found


def test_drift_against_another_reference_begins_anew_and_takes_no_other_guard_along() -> None:
    guards = GuardSet(SETTINGS, [reference("heat", np.arange(100.0))])
    shown(guards, requests(200))
    other = GuardSet(SETTINGS, [reference("heat", np.arange(50.0))])
    other.load(guards.dump())
    assert report(other).count == 0
    same = GuardSet(SETTINGS, [reference("heat", np.arange(100.0))])
    same.load(guards.dump())
    assert report(same).count == 200


def test_two_references_for_a_feature_are_refused() -> None:
    twice = [reference("heat", [1.0]), reference("heat", [2.0])]
    with pytest.raises(ValueError, match="each once"):
        GuardSet(SETTINGS, twice)
