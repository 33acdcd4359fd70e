"""The release machine: every step is in the table, and none goes past a gate, a guard or the switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from domain.routing import FULL_WEIGHT, Mode
from domain.verdict import Verdict
from gates.release import (
    TRANSITIONS,
    Phase,
    Release,
    Seen,
    Terms,
    Trigger,
    begun,
    never_ends,
    placed,
    step,
    trigger,
)
from settings.schema import Stage

PLAN = (Stage(Mode.SHADOW, pairs=10), Stage(Mode.CANARY, 100, 10), Stage(Mode.CANARY, 5000, 10, 60.0))
TERMS = Terms(True, PLAN, 1000.0, 500.0)
FRESH = Release("r", "rain", "rain-1", "rain-2", "i", "c", Phase.GATING, 0, 0.0, 0.0)
GOOD = {"verdict": Verdict.PASS, "pairs": 10}


def walk(start: Release, terms: Terms, *seen: Seen) -> list[Phase]:
    phases, at = [], start
    for one in seen:
        moved = step(at, terms, one)
        at = at if moved is None else moved[0]
        phases.append(at.phase)
    return phases


def test_a_good_candidate_goes_all_the_way() -> None:
    phases = walk(
        FRESH,
        TERMS,
        Seen(1.0),
        Seen(2.0, gates=Verdict.PASS),
        Seen(3.0, **GOOD),
        Seen(4.0, **GOOD),
        Seen(5.0, **GOOD),  # the last stage lasts a minute
        Seen(70.0, **GOOD),
        Seen(71.0, **GOOD),
        Seen(600.0, **GOOD),
        Seen(1e9, **GOOD),
    )
    assert phases == [
        Phase.GATING, Phase.SHADOW, Phase.CANARY, Phase.CANARY, Phase.CANARY, Phase.PROMOTED,
        Phase.PROMOTED, Phase.DONE, Phase.DONE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gates", "phase"),
    [
        (Verdict.PASS, Phase.SHADOW),
        (Verdict.FAIL, Phase.HALTED),
        (Verdict.ERROR, Phase.HALTED),
        (Verdict.INCONCLUSIVE, Phase.GATING),
        (None, Phase.GATING),
    ],
)
def test_only_a_pass_of_every_gate_lets_a_release_begin(gates: Verdict | None, phase: Phase) -> None:
    assert walk(FRESH, TERMS, Seen(1.0, gates=gates)) == [phase]


@pytest.mark.parametrize("phase", [Phase.GATING, Phase.SHADOW, Phase.CANARY])
def test_what_stays_inconclusive_halts_when_patience_is_over(phase: Phase) -> None:
    waiting = replace(FRESH, phase=phase, stage=0 if phase is not Phase.CANARY else 1)
    unsure = Seen(1000.0, pairs=10, gates=Verdict.INCONCLUSIVE)
    assert walk(waiting, TERMS, unsure, replace(unsure, now=1000.1)) == [phase, Phase.HALTED]


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY])
def test_a_guard_that_cannot_measure_halts(phase: Phase) -> None:
    assert walk(replace(FRESH, phase=phase), TERMS, Seen(1.0, verdict=Verdict.ERROR)) == [Phase.HALTED]


@pytest.mark.parametrize(
    "phase", [Phase.GATING, Phase.APPROVING, Phase.SHADOW, Phase.CANARY, Phase.PROMOTED, Phase.DONE]
)
def test_a_trip_rolls_back_and_a_rearm_begins_again_with_the_gates(phase: Phase) -> None:
    out = Seen(5000.0, tripped=True, verdict=Verdict.PASS, pairs=99, gates=Verdict.PASS)
    found = walk(replace(FRESH, phase=phase, stage=2), TERMS, out, out, replace(out, tripped=False))
    assert found == [Phase.ROLLED_BACK, Phase.ROLLED_BACK, Phase.GATING]


TWO = replace(TERMS, people=2)


def test_people_are_asked_after_the_gates_and_before_the_first_stage() -> None:
    passed, agreed = Seen(2.0, gates=Verdict.PASS), Seen(4.0, gates=Verdict.PASS, approved=True)
    phases = walk(FRESH, TWO, passed, Seen(3.0, gates=Verdict.PASS), agreed)
    assert phases == [Phase.APPROVING, Phase.APPROVING, Phase.SHADOW]


@pytest.mark.parametrize("gates", [None, Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE])
def test_no_approval_is_in_place_of_a_gate(gates: Verdict | None) -> None:
    asking = replace(FRESH, phase=Phase.APPROVING, asked=1.0)
    assert walk(asking, TWO, Seen(2.0, gates=gates, approved=True)) == [Phase.GATING]


def test_gates_that_are_executed_again_do_not_renew_the_patience_with_people() -> None:
    passed = Seen(100.0, gates=Verdict.PASS)
    first = step(FRESH, TWO, passed)
    assert first is not None
    assert first[0].asked == 100.0
    again = walk(
        first[0], TWO, Seen(900.0, approved=True), replace(passed, now=950.0), Seen(1100.0), Seen(1100.1)
    )
    assert again == [Phase.GATING, Phase.APPROVING, Phase.APPROVING, Phase.HALTED]


def test_without_gates_people_are_asked_first() -> None:
    opened = begun(replace(FRESH, since=7.0), replace(TWO, gated=False))
    assert (opened.phase, opened.asked) == (Phase.APPROVING, 7.0)
    assert walk(opened, replace(TWO, gated=False), Seen(8.0, approved=True)) == [Phase.SHADOW]


def test_a_rearm_asks_people_anew() -> None:
    back = replace(FRESH, phase=Phase.ROLLED_BACK, asked=5.0, attempt=1)
    moved = step(back, TWO, Seen(9.0, cleared=1))
    assert moved is not None
    assert (moved[0].phase, moved[0].attempt, moved[0].asked) == (Phase.GATING, 2, 0.0)


@pytest.mark.parametrize("phase", [Phase.GATING, Phase.APPROVING, Phase.CANARY, Phase.PROMOTED, Phase.DONE])
def test_a_trip_that_was_cleared_again_before_anybody_looked_rolls_back_too(phase: Phase) -> None:
    before = replace(FRESH, phase=phase, stage=1, cleared=3)
    found = walk(before, TWO, Seen(1.0, cleared=4), Seen(2.0, cleared=4), Seen(3.0, cleared=4))
    assert found == [Phase.ROLLED_BACK, Phase.GATING, Phase.GATING]


@pytest.mark.parametrize(("known", "cleared"), [(3, 3), (3, 2), (-1, 5)])
def test_a_replica_that_has_heard_of_fewer_clearances_rolls_nothing_back(known: int, cleared: int) -> None:
    before = replace(FRESH, phase=Phase.PROMOTED, cleared=known)
    assert walk(before, TWO, Seen(1.0, cleared=cleared)) == [Phase.PROMOTED]


def test_without_gates_a_rearmed_release_begins_in_shadow() -> None:
    ungated = replace(TERMS, gated=False)
    back = replace(FRESH, phase=Phase.ROLLED_BACK, stage=2)
    moved = step(back, ungated, Seen(9.0, restart=0))
    assert moved is not None
    assert (moved[0].phase, moved[0].stage) == (Phase.SHADOW, 0)
    no_shadow = replace(ungated, stages=PLAN[1:])
    moved = step(back, no_shadow, Seen(9.0, restart=-1))
    assert moved is not None
    assert (moved[0].phase, moved[0].stage) == (Phase.SHADOW, -1)
    again = step(moved[0], no_shadow, Seen(10.0, verdict=Verdict.PASS, pairs=500))
    assert again is not None
    assert (again[0].phase, again[0].stage) == (Phase.CANARY, 0)


def test_the_kill_beats_evidence_and_an_abort_beats_everything() -> None:
    at = replace(FRESH, phase=Phase.CANARY, stage=1)
    everything = Seen(70.0, tripped=True, **GOOD)
    assert trigger(at, TERMS, everything) is Trigger.TRIPPED
    assert trigger(at, TERMS, replace(everything, abort="no")) is Trigger.ABORTED


@pytest.mark.parametrize("phase", [Phase.HALTED, Phase.ABORTED])
def test_what_has_ended_stays_ended(phase: Phase) -> None:
    seen = Seen(1e9, tripped=True, gates=Verdict.PASS, abort="again", **GOOD)
    for one in (seen, replace(seen, tripped=False), replace(seen, abort=None)):
        assert step(replace(FRESH, phase=phase), TERMS, one) is None


def test_without_a_watch_the_last_stage_stays() -> None:
    last = replace(FRESH, phase=Phase.CANARY, stage=2)
    assert walk(last, replace(TERMS, watch=0.0), Seen(1e9, **GOOD)) == [Phase.CANARY]


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR])
def test_a_watch_does_not_end_while_a_guard_fails(verdict: Verdict) -> None:
    watched = replace(FRESH, phase=Phase.PROMOTED)
    assert walk(watched, TERMS, Seen(1e9, verdict=verdict)) == [Phase.PROMOTED]


@pytest.mark.parametrize("phase", Phase)
def test_only_a_promoted_candidate_gets_everybody_and_only_a_staged_one_what_its_stage_says(
    phase: Phase,
) -> None:
    found = placed(replace(FRESH, phase=phase))
    if phase in (Phase.SHADOW, Phase.CANARY):
        assert found is None
    elif phase in (Phase.PROMOTED, Phase.DONE):
        assert found == Stage(Mode.CANARY, FULL_WEIGHT)
    else:
        assert found == Stage(Mode.SHADOW)


@pytest.mark.parametrize(
    ("terms", "guarded", "why"),
    [
        (TERMS, True, None),
        (TERMS, False, "no guard is configured"),
        (replace(TERMS, stages=PLAN[:1], watch=0.0), False, None),
        (replace(TERMS, stages=PLAN[:1]), False, "the promotion would never come"),
        (replace(TERMS, patience=60.0), True, "plan[2] lasts 60 s at least"),
    ],
)
def test_a_plan_that_never_can_finish_is_recognised(terms: Terms, guarded: bool, why: str | None) -> None:
    found = never_ends(terms, guarded)
    assert (found is None) == (why is None)
    assert (why or "") in (found or "")


SEEN = st.builds(
    Seen,
    now=st.floats(0, 5000),
    tripped=st.booleans(),
    verdict=st.sampled_from(Verdict),
    pairs=st.integers(0, 20),
    gates=st.none() | st.sampled_from(Verdict),
    abort=st.none() | st.just("no"),
    restart=st.sampled_from([-1, 0]),
    approved=st.booleans(),
    cleared=st.integers(-1, 3),
)
TERMS_OF_ALL_KINDS = st.builds(
    Terms,
    gated=st.booleans(),
    stages=st.sampled_from([PLAN, PLAN[1:], PLAN[:1]]),
    patience=st.just(1000.0),
    watch=st.sampled_from([0.0, 500.0]),
    people=st.integers(0, 2),
)


@given(TERMS_OF_ALL_KINDS, st.lists(SEEN, max_size=30))
@options(deadline=None, max_examples=300)
def test_no_sequence_of_events_goes_past_a_gate_a_guard_or_the_switch(terms: Terms, seen: list[Seen]) -> None:
    at = begun(FRESH, terms)
    passed, agreed = not terms.gated, not terms.people
    for one in seen:
        moved = step(at, terms, one)
        if moved is None:
            continue
        after, why = moved
        assert after.phase in TRANSITIONS[at.phase, why]
        assert after.steps == at.steps + 1
        if why in (Trigger.REARMED, Trigger.GATES_VOID) and terms.gated:
            passed = False
        passed = passed or why is Trigger.GATES_PASSED
        if why is Trigger.REARMED and terms.people:
            agreed = False
        if why is Trigger.APPROVED:
            assert one.approved
            assert not terms.gated or one.gates is Verdict.PASS
            agreed = True
        if after.phase in (Phase.SHADOW, Phase.CANARY, Phase.PROMOTED, Phase.DONE):
            assert passed, "it is past its gates without their PASS"
            assert agreed, "it is past the people who have to agree"
            assert not one.tripped, "it moved on while the candidate was out"
        if why is Trigger.EVIDENCE:
            assert one.verdict is Verdict.PASS
            assert one.pairs >= 1
            assert after.phase is Phase.PROMOTED or after.stage in (at.stage + 1, 0)
        at = after


@given(TERMS_OF_ALL_KINDS, st.sampled_from(Phase), st.integers(-1, 3), SEEN)
@options(deadline=None, max_examples=300)
def test_every_step_from_everywhere_is_in_the_table(
    terms: Terms, phase: Phase, stage: int, seen: Seen
) -> None:
    moved = step(replace(FRESH, phase=phase, stage=stage), terms, seen)
    if moved is not None:
        assert moved[0].phase in TRANSITIONS[phase, moved[1]]


def test_from_no_phase_but_the_ends_there_is_no_way_out() -> None:
    for phase in Phase:
        leaves = {
            target for (source, _), targets in TRANSITIONS.items() if source is phase for target in targets
        }
        assert bool(leaves - {phase}) or phase in (Phase.HALTED, Phase.ABORTED)


def test_a_plan_that_became_shorter_leads_back_to_its_first_stage() -> None:
    beyond = replace(FRESH, phase=Phase.CANARY, stage=2)
    moved = step(beyond, replace(TERMS, stages=PLAN[:2]), Seen(9.0, verdict=Verdict.PASS, pairs=500))
    assert moved is not None
    assert (moved[0].phase, moved[0].stage) == (Phase.SHADOW, 0)
