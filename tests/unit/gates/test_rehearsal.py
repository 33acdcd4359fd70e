"""The pure part of drills: the table, what passes, what is refused, and when one is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.routing import Mode, Upstream, Version
from domain.snapshot import Fault, UnitKind, UnitSource
from gates import drill
from gates.drill import TRANSITIONS, Answers, Phase, Rehearsal, Trigger, WrongStep
from settings.drills import DrillSettings
from settings.schema import CompareSettings, EndpointSettings, FlipsGuard, GuardSettings, LatencyGuard, Stage

BEGUN = Rehearsal("d1", "rain", "rain-2", "operator", Fault.FLIP, 0.2, True, 1.0, 100.0, 1_700_000_000.0)
SEEN = replace(
    BEGUN,
    breach=101.0,
    tripped=101.01,
    confirmed=101.02,
    cause="guard:flips",
    answers=Answers(9, 4, 0, 100.1, 101.4, 100.5, 101.2),
)
SHADOW = Stage(Mode.SHADOW)
ENDPOINT = EndpointSettings(
    "rain", "/predict", "json", UnitSource(UnitKind.REQUEST),
    Version("rain-1", (Upstream("127.0.0.1", 9001),)),
    CompareSettings("classification"), candidate=Version("rain-2", (Upstream("127.0.0.1", 9002),)),
    guards=GuardSettings(flips=FlipsGuard(0.01)),
)  # fmt: skip


def confirmed(one: Rehearsal = SEEN) -> Rehearsal:
    return one.step(Trigger.FELL).step(Trigger.CONFIRMED)


def test_every_step_is_in_the_table_and_no_other_is_taken() -> None:
    for phase in Phase:
        for trigger in Trigger:
            one = replace(BEGUN, phase=phase)
            if (phase, trigger) in TRANSITIONS:
                assert one.step(trigger).phase is TRANSITIONS[phase, trigger]
            else:
                with pytest.raises(WrongStep):
                    one.step(trigger)


def test_every_open_phase_has_a_way_to_fail_and_only_a_measured_recovery_passes() -> None:
    for phase in Phase:
        targets = {target for (source, _), target in TRANSITIONS.items() if source is phase}
        assert (Phase.FAILED in targets) is phase.is_open
    passing = [key for key, target in TRANSITIONS.items() if target is Phase.PASSED]
    assert passing == [(Phase.CONFIRMED, Trigger.IN_TIME)]


def test_what_clients_got_is_what_recovery_is_measured_by() -> None:
    assert SEEN.recovery == pytest.approx(0.7)
    assert SEEN.after_detection == pytest.approx(0.2)
    of_mirrors = replace(SEEN, answers=replace(SEEN.answers, served=0))
    assert of_mirrors.recovery == pytest.approx(1.3)
    assert replace(SEEN, tripped=None).recovery is None


def test_a_drill_passes_only_with_all_it_has_to_show() -> None:
    assert confirmed().judged(unasked=True).phase is Phase.PASSED
    nothing = confirmed(replace(SEEN, answers=Answers(left=7))).judged(unasked=False)
    assert (nothing.phase, "7 could not be altered" in nothing.reason) == (Phase.FAILED, True)
    unserved = confirmed(replace(SEEN, answers=replace(SEEN.answers, served=0)))
    assert unserved.judged(unasked=True).phase is Phase.FAILED
    slow = confirmed(replace(SEEN, limit=0.5)).judged(unasked=True)
    assert (slow.phase, "more than the 0.5 s allowed" in slow.reason) == (Phase.FAILED, True)


def test_a_trip_before_the_first_bad_answer_is_none_of_the_faults_and_passes_nothing() -> None:
    early = confirmed(replace(SEEN, breach=100.05))
    assert (SEEN.is_own, early.is_own, replace(SEEN, answers=Answers()).is_own) == (True, False, False)
    judged = early.judged(unasked=False)
    assert (judged.phase, "it was not the fault" in judged.reason) == (Phase.FAILED, True)


def test_a_trip_by_mirrors_alone_passes_where_the_candidate_served_somebody() -> None:
    spared = confirmed(replace(SEEN, answers=replace(SEEN.answers, served=0), limit=2.0))
    assert spared.judged(unasked=False).phase is Phase.PASSED


def test_the_report_has_the_wall_times_of_one_monotonic_clock() -> None:
    report = confirmed().judged(unasked=True).report()
    began = datetime.fromisoformat(str(report["began_at"]))
    assert began == datetime.fromtimestamp(1_700_000_000, UTC)
    breach = datetime.fromisoformat(str(report["breach_at"]))
    assert (breach - began).total_seconds() == pytest.approx(1.0)
    assert report["recovery_ms"] == pytest.approx(700)
    assert BEGUN.report()["last_bad_served_at"] is None


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.builds(
            lambda spoilt, served, first, more: Answers(
                spoilt, min(spoilt, served), 0, first, first + more, first, first + more
            ),
            st.integers(1, 50), st.integers(0, 50), st.floats(0, 1e6), st.floats(0, 100),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_answers_of_workers_join_in_any_order(parts: list[Answers]) -> None:
    def total(some: list[Answers]) -> Answers:
        found = Answers()
        for one in some:
            found = found.joined(one)
        return found

    joined = total(parts)
    assert joined == total(parts[::-1])
    assert joined.spoilt == sum(one.spoilt for one in parts)
    if parts:
        assert joined.first == min(one.first for one in parts if one.first is not None)
        assert joined.last == max(one.last for one in parts if one.last is not None)


def refused(
    drills: DrillSettings, environment: str = "staging", stage: Stage = SHADOW, **more: object
) -> str:
    endpoint = replace(ENDPOINT, **more)  # type: ignore[arg-type]  # any field of it
    return drill.refusal(endpoint, drills, environment, stage, tripped=False) or ""


def test_what_touches_clients_is_refused_in_production_and_nowhere_else() -> None:
    served = DrillSettings(served=True)
    canary = Stage(Mode.CANARY, 100)
    assert "never get a spoilt answer" in refused(served, "production")
    assert "touches mirrors only" in refused(DrillSettings(), "production", canary)
    assert "touches mirrors only" in refused(DrillSettings(), "production", Stage(Mode.GUARDED, 100))
    assert refused(DrillSettings(), "production") == ""
    assert refused(served, "staging", canary) == ""


def test_a_drill_of_another_environment_is_refused() -> None:
    assert "'staging'" in refused(DrillSettings(environment="staging"), "production")
    assert refused(DrillSettings(environment="staging"), "staging") == ""


def test_a_fault_that_no_guard_could_see_is_refused() -> None:
    mirrorless = GuardSettings(flips=FlipsGuard(0.01), mirrored=False)
    blind = GuardSettings(breaker=0)
    assert "no guard could see" in refused(DrillSettings(), guards=mirrorless)
    for fault in Fault:
        assert "no guard could see" in refused(DrillSettings(fault=fault), guards=blind)
    assert refused(DrillSettings(fault=Fault.LATENCY), guards=GuardSettings(latency=LatencyGuard(1.5))) == ""
    assert refused(DrillSettings(fault=Fault.ERROR), guards=GuardSettings(breaker=5)) == ""


def test_noise_is_refused_where_there_are_no_numbers() -> None:
    noise = DrillSettings(fault=Fault.NOISE)
    assert "noise needs numbers" in refused(noise, protocol="openai", compare=CompareSettings("text"))
    assert refused(noise) == ""


def test_only_a_drill_that_serves_moves_a_release_out_of_shadow() -> None:
    canary = Stage(Mode.CANARY, 100)
    assert drill.staged(DrillSettings(), SHADOW) is SHADOW
    assert drill.staged(DrillSettings(served=True, weight=3000), SHADOW) == Stage(Mode.CANARY, 3000)
    assert drill.staged(DrillSettings(served=True), canary) is canary


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_schedule_is_due_in_utc_and_overdue_a_quarter_of_an_hour_later() -> None:
    monday = "0 3 * * 1"
    due = at("2026-11-23T03:00")
    assert drill.next_due(monday, at("2026-11-22T12:00")) == due
    assert drill.next_due(monday, due) == at("2026-11-30T03:00")
    last = at("2026-11-16T03:00")
    assert not drill.overdue(monday, due + 60, last)
    assert drill.overdue(monday, due + 1000, last)
    assert not drill.overdue(monday, due + 1000, due + 5)
