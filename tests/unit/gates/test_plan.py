from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.routing import Mode
from domain.verdict import Verdict
from gates.plan import REARM_SHADOW, Progress, current, rearmed, start, step
from settings.schema import Stage

DAY = 1_700_000_000.0
PLAN = (
    Stage(Mode.SHADOW, pairs=500),
    Stage(Mode.CANARY, 100, 500),
    Stage(Mode.CANARY, 1000, 1000, 600.0),
    Stage(Mode.CANARY, 5000),
)
CANARY_FIRST = PLAN[1:]


@st.composite
def plans(draw: st.DrawFn) -> tuple[Stage, ...]:
    pairs = st.integers(0, 50)
    waits = st.sampled_from([0.0, 1.0, 600.0])
    shadows = [Stage(Mode.SHADOW, 0, draw(pairs), draw(waits)) for _ in range(draw(st.integers(0, 2)))]
    weights = sorted(draw(st.lists(st.integers(1, 10_000), min_size=0 if shadows else 1, max_size=4)))
    return (*shadows, *(Stage(Mode.CANARY, weight, draw(pairs), draw(waits)) for weight in weights))


events = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from([Verdict.PASS, Verdict.PASS, *Verdict]),
        st.one_of(st.floats(-2000, 2000), st.just(0.0)),
    ),
    max_size=30,
)


@given(plans(), st.booleans(), events)
@settings(deadline=None)
def test_a_release_moves_by_evidence_only(
    plan: tuple[Stage, ...], after_rearm: bool, history: list[tuple[int, Verdict, float]]
) -> None:
    now = DAY
    progress = rearmed(plan, now) if after_rearm else start(now)
    judged_in_stage = 0
    for judged, verdict, later in history:
        now += later
        before, stage = progress, current(plan, progress)
        progress = step(plan, before, judged=judged, verdict=verdict, now=now)
        judged_in_stage += judged
        assert current(plan, progress).weight >= stage.weight, "the weight never goes down"
        if progress.stage == before.stage:
            assert (progress.pairs, progress.since) == (judged_in_stage, before.since)
            continue
        assert progress == Progress(before.stage + 1, 0, now), "one stage a step, and its pairs start at none"
        assert verdict is Verdict.PASS
        assert judged_in_stage >= max(1, stage.pairs)
        assert now - before.since >= stage.at_least
        assert now >= before.since, "a clock that was set back moves nothing on"
        judged_in_stage = 0


@given(plans(), st.integers(0, 100), st.sampled_from(list(Verdict)), st.floats(0, 1e9))
def test_the_last_stage_stays(plan: tuple[Stage, ...], judged: int, verdict: Verdict, later: float) -> None:
    last = Progress(len(plan) - 1, 7, DAY)
    assert step(plan, last, judged=judged, verdict=verdict, now=DAY + later) == Progress(
        last.stage, 7 + judged, DAY
    )


@given(plans())
def test_enough_evidence_leads_through_every_stage(plan: tuple[Stage, ...]) -> None:
    progress = rearmed(plan, DAY)
    seen = [current(plan, progress)]
    for hour in range(1, 10):
        progress = step(plan, progress, judged=500, verdict=Verdict.PASS, now=DAY + 3600 * hour)
        seen.append(current(plan, progress))
    begun = (REARM_SHADOW, *plan) if plan[0].mode is Mode.CANARY else plan
    assert list(dict.fromkeys(zip(range(10), seen, strict=True)))[: len(begun)] == list(enumerate(begun))
    assert progress.stage == len(plan) - 1


@given(plans())
def test_a_rearmed_release_is_in_shadow_whatever_the_plan(plan: tuple[Stage, ...]) -> None:
    assert current(plan, rearmed(plan, DAY)).mode is Mode.SHADOW


def test_a_plan_that_begins_with_a_canary_is_rearmed_before_its_first_stage() -> None:
    progress = rearmed(CANARY_FIRST, DAY)
    assert (progress, current(CANARY_FIRST, progress)) == (Progress(-1, 0, DAY), REARM_SHADOW)
    almost = step(CANARY_FIRST, progress, judged=499, verdict=Verdict.PASS, now=DAY + 1)
    assert almost == Progress(-1, 499, DAY)
    assert step(CANARY_FIRST, almost, judged=1, verdict=Verdict.PASS, now=DAY + 2) == Progress(0, 0, DAY + 2)


def test_a_new_release_begins_with_the_first_stage() -> None:
    assert start(DAY) == Progress(0, 0, DAY)
    assert current(PLAN, start(DAY)) is PLAN[0]


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE])
def test_only_a_pass_moves_a_release(verdict: Verdict) -> None:
    assert step(PLAN, start(DAY), judged=10**6, verdict=verdict, now=DAY + 1e6) == Progress(0, 10**6, DAY)


def test_time_alone_moves_nothing_even_when_a_stage_asks_for_no_pairs() -> None:
    plan = (Stage(Mode.SHADOW), Stage(Mode.CANARY, 10_000))
    assert step(plan, start(DAY), judged=0, verdict=Verdict.PASS, now=DAY + 1e6) == start(DAY)
    assert step(plan, start(DAY), judged=1, verdict=Verdict.PASS, now=DAY).stage == 1


def test_pairs_without_the_time_do_not_move_a_stage() -> None:
    waiting = Progress(2, 0, DAY)
    early = step(PLAN, waiting, judged=5000, verdict=Verdict.PASS, now=DAY + 599.9)
    assert early == Progress(2, 5000, DAY)
    assert step(PLAN, early, judged=0, verdict=Verdict.PASS, now=DAY + 600) == Progress(3, 0, DAY + 600)


@pytest.mark.parametrize("now", [DAY - 1, DAY - 1e9, float("nan")])
def test_a_clock_that_was_set_back_moves_nothing(now: float) -> None:
    assert step(PLAN, start(DAY), judged=500, verdict=Verdict.PASS, now=now) == Progress(0, 500, DAY)


def test_a_position_that_the_plan_does_not_have_exposes_nobody() -> None:
    beyond = Progress(4, 10**6, DAY)
    assert current(PLAN, beyond) is REARM_SHADOW
    after = step(PLAN, beyond, judged=0, verdict=Verdict.INCONCLUSIVE, now=DAY + 1)
    assert current(PLAN, after) is REARM_SHADOW


def test_a_negative_count_of_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        step(PLAN, start(DAY), judged=-1, verdict=Verdict.PASS, now=DAY)


def test_the_weights_of_the_documented_plan_are_reached_one_after_the_other() -> None:
    progress, weights = start(DAY), []
    for minute in range(1, 40):
        weights.append(current(PLAN, progress).weight)
        progress = step(PLAN, progress, judged=250, verdict=Verdict.PASS, now=DAY + 60 * minute)
    assert sorted(set(weights)) == [0, 100, 1000, 5000]
    assert all(before <= after for before, after in pairwise(weights))
