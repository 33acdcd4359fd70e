"""Drills in the control process: what may run, what counts, what is cleared, and what survives its death."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from control import drilling
from domain.routing import Arm, Mode
from domain.snapshot import Fault
from settings.file import load
from shadow.wire import LATENCY_BOUNDS, BreakerOpened, DrillReport, RequestCounts
from tests.support.control import FakeWorker, Here, batch, document, here, pair, write

DRILLS = "/api/v1/drills"
SHADOW: dict[str, Any] = {"flag": None, "plan": [{"mode": "shadow", "pairs": 1_000_000}]}


class Rehearsing:
    """A worker whose candidate answers badly while the snapshot has a drill."""

    def __init__(self, control: Here, worker: FakeWorker) -> None:
        self.control, self.worker = control, worker
        self.sequence = 0

    @property
    def rain(self) -> Any:
        return self.worker.snapshot.endpoint("rain")

    async def feed(self, y: float, count: int, *, generation: int | None = None, **more: Any) -> None:
        self.sequence += 1
        generation = self.worker.snapshot.generation if generation is None else generation
        first = self.sequence * 1000
        pairs = [pair(first + n, y, generation=generation, served=Arm.INCUMBENT) for n in range(count)]
        self.worker.say(batch(self.sequence, pairs, self.worker.session, **more))
        await self.worker.until(lambda: self.worker.acknowledged >= self.sequence)

    async def begin(self, **asked: Any) -> dict[str, Any]:
        answer = await self.control.client.post(DRILLS, json={"endpoint": "rain", **asked})
        assert answer.status_code == 201, answer.text
        await self.worker.until(lambda: self.rain.drill is not None)
        begun: dict[str, Any] = answer.json()
        return begun

    async def answer_badly(self, count: int = 60) -> None:
        """Until the switch has tripped."""
        now = time.monotonic()
        told = DrillReport(self.rain.drill.id, count, 0, 0, now - 0.1, now, 0.0, 0.0)
        await self.feed(0.9, count, drills=[told])
        await self.worker.until(lambda: self.rain.tripped)

    async def ended_yet(self, begun: dict[str, Any]) -> str:
        return str((await self.control.client.get(f"{DRILLS}/{begun['id']}")).json()["state"])

    async def ended(self, begun: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                report: dict[str, Any] = (await self.control.client.get(f"{DRILLS}/{begun['id']}")).json()
                if report["state"] in ("passed", "failed"):
                    return report
                await asyncio.sleep(0.02)


async def rehearsing(control: Here, session: str = "s") -> Rehearsing:
    board = control.control.switchboard
    await control.until(lambda: board.unreadable is None)
    worker = await FakeWorker(session=session).connect(control.link)
    await worker.until(lambda: worker.snapshot.generation == board.snapshot.generation)
    return Rehearsing(control, worker)


def test_a_drill_leaves_the_trial_as_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            await one.feed(0.5, 50)
            before = await control.endpoint()
            board = control.control.switchboard
            trial = board.judges["rain"]
            begun = await one.begin()
            assert begun["state"] == "faulty"
            drilled = one.worker.snapshot.generation
            assert (one.rain.drill.fault, one.rain.drill.served) == (Fault.FLIP, False)
            await one.answer_badly()
            report = await one.ended(begun)
            assert report["state"] == "passed", report
            assert (report["cause"], report["spoilt"], report["pairs"]) == ("guard:flips", 60, 60)
            assert report["recovery_ms"] == pytest.approx(100, abs=1)
            await one.worker.until(lambda: not one.rain.tripped and one.rain.drill is None)
            after = await control.endpoint()
            assert (after["pairs"]["judged"], after["pairs"]["flips"]) == (50, 0)
            assert after["guards"] == before["guards"]
            assert after["last_trip"] == before["last_trip"]
            assert board.judges["rain"] is trial
            await one.feed(0.9, 60, generation=drilled)
            assert (await control.endpoint())["pairs"]["judged"] == 50, (
                "a late pair of the drill counts nowhere"
            )
            await one.feed(0.5, 10)
            assert (await control.endpoint())["pairs"]["judged"] == 60
            await one.worker.close()

    asyncio.run(scenario())


def test_a_candidate_that_is_really_bad_still_trips_after_a_drill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            await one.answer_badly()
            assert (await one.ended(begun))["state"] == "passed"
            await one.worker.until(lambda: not one.rain.tripped)
            await one.feed(0.9, 60)
            await one.worker.until(lambda: one.rain.tripped)
            (kill,) = (await control.endpoint())["switch"]["kills"]
            assert not kill["id"].startswith("drill:")
            await one.worker.close()

    asyncio.run(scenario())


def test_an_operators_kill_during_a_drill_stays_and_fails_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            killed = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "for real"})
            report = await one.ended(begun)
            assert (report["state"], report["tripped"]) == ("failed", False)
            assert "killed by operator: for real" in report["reason"]
            (kill,) = (await control.endpoint())["switch"]["kills"]
            assert kill["id"] == killed.json()["kill"]
            refused = await control.client.post(DRILLS, json={"endpoint": "rain"})
            assert (refused.status_code, "is tripped" in refused.json()["detail"]) == (409, True)
            await one.worker.close()

    asyncio.run(scenario())


def test_a_candidate_that_went_bad_before_any_answer_was_spoilt_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(drilling, "PATIENCE", 0.1)
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            await one.feed(0.9, 60)
            report = await one.ended(begun)
            assert (report["state"], report["tripped"], report["spoilt"]) == ("failed", True, 0)
            view = await control.endpoint()
            (kill,) = view["switch"]["kills"]
            assert (kill["actor"], kill["id"].startswith("drill:")) == ("guard:flips", False)
            assert "had spoilt no answer yet" in kill["reason"]
            assert one.rain.tripped
            await one.worker.close()

    asyncio.run(scenario())


def test_evidence_of_the_real_trial_trips_for_good_during_a_drill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            board = control.control.switchboard
            real = board.rehearsals["rain"].real
            since = real.evidence_since
            bad = [pair(n, 0.9, generation=since) for n in range(60)]
            evidence = real.read(real.compare(real.admit(bad)))
            assert evidence is not None
            control.control.hearing.applied("rain", evidence, None)
            report = await one.ended(begun)
            assert (report["state"], report["tripped"]) == ("failed", False)
            (kill,) = (await control.endpoint())["switch"]["kills"]
            assert not kill["id"].startswith("drill:")
            assert board.judges["rain"].last_trip is not None, "the story is the real trial's"
            await one.worker.close()

    asyncio.run(scenario())


def test_a_drill_whose_end_cannot_be_kept_leaves_no_fault_and_no_candidate_unwatched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        from domain.errors import StateUnavailable

        async with here(tmp_path, drills={"lasts": "1s"}, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()

            async def full(*_: object, **__: object) -> None:
                raise StateUnavailable("the disk is full")

            monkeypatch.setattr(control.control.recorder, "together", full)
            await one.worker.until(lambda: one.rain.drill is None)
            assert (await one.ended_yet(begun)) == "faulty", "not on disk"
            await one.feed(0.9, 60)
            await one.worker.until(lambda: one.rain.tripped)
            monkeypatch.undo()
            assert (await one.ended(begun))["state"] == "failed"
            (kill,) = (await control.endpoint())["switch"]["kills"]
            assert not kill["id"].startswith("drill:")
            assert one.rain.tripped
            await one.worker.close()

    asyncio.run(scenario())


def test_a_fault_that_nobody_notices_fails_the_drill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, drills={"lasts": "1s"}, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            report = await one.ended(begun)
            assert (report["state"], report["recovery_ms"]) == ("failed", None)
            assert "nothing tripped; no answer was spoilt" in report["reason"]
            await one.worker.until(lambda: one.rain.drill is None)
            assert not one.rain.tripped
            await one.worker.close()

    asyncio.run(scenario())


def test_a_breaker_of_before_the_drill_is_no_success_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            before = one.worker.snapshot.generation
            begun = await one.begin(fault="error")
            one.worker.say(BreakerOpened("rain", "rain-2", before, 5, "connection refused"))
            report = await one.ended(begun)
            assert (report["state"], report["tripped"]) == ("failed", False)
            assert (await control.endpoint())["switch"]["tripped"]
            await one.worker.close()

    asyncio.run(scenario())


def test_a_breaker_that_the_fault_opened_passes_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin(fault="error")
            now = time.monotonic()
            await one.feed(0.5, 1, drills=[DrillReport(begun["id"], 5, 0, 0, now, now, 0.0, 0.0)])
            opened = BreakerOpened("rain", "rain-2", one.worker.snapshot.generation, 5, "5 errors")
            one.worker.say(opened)
            report = await one.ended(begun)
            assert (report["state"], report["cause"], report["evidence"]) == ("passed", "breaker", None)
            assert not (await control.endpoint())["switch"]["tripped"]
            await one.worker.close()

    asyncio.run(scenario())


def test_another_configuration_calls_a_drill_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            write(tmp_path, document(tmp_path, **{**SHADOW, "timeout": "300ms"}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            report = await one.ended(begun)
            assert (report["state"], report["reason"]) == ("failed", "the configuration was changed")
            await one.worker.until(lambda: one.rain.drill is None)
            assert not control.control.switchboard.judges["rain"].aside
            await one.worker.close()

    asyncio.run(scenario())


def test_a_worker_that_does_not_obey_fails_the_drill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            deaf = await FakeWorker(1, "deaf").connect(control.link)
            deaf.applies = False
            await one.answer_badly()
            report = await one.ended(begun)
            assert (report["state"], report["tripped"], report["confirmed_at"]) == ("failed", True, None)
            assert "not every worker confirmed" in report["reason"]
            assert not (await control.endpoint())["switch"]["tripped"], (
                "its own kills are cleared all the same"
            )
            await one.worker.close()
            await deaf.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("tripped", [False, True])
def test_a_process_that_ends_in_the_middle_has_failed_the_drill_and_counts_nothing_of_it(
    tmp_path: Path, *, tripped: bool
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)
            await one.feed(0.5, 50)
            begun = await one.begin()
            drilled = one.worker.snapshot.generation
            if tripped:
                await one.answer_badly()
            await one.worker.close()
        async with here(tmp_path) as control:
            two = await rehearsing(control, "t")
            await two.feed(0.9, 60, generation=drilled)
            report = await two.ended(begun)
            assert (report["state"], report["passed"]) == ("failed", False)
            assert report["reason"] == "the control process ended in the middle of it"
            await two.worker.until(lambda: not two.rain.tripped)
            assert two.rain.drill is None
            view = await control.endpoint()
            assert (view["pairs"]["judged"], view["pairs"]["flips"]) == (50, 0)
            await two.feed(0.5, 10)
            assert (await control.endpoint())["pairs"]["judged"] == 60
            again = await control.client.post(DRILLS, json={"endpoint": "rain"})
            assert again.status_code == 201, again.text
            await two.worker.close()

    asyncio.run(scenario())


def test_a_release_is_not_rolled_back_by_a_drill(tmp_path: Path) -> None:
    async def scenario() -> None:
        ruled: dict[str, Any] = {
            "flag": None,
            "watch": "1h",
            "plan": [{"mode": "shadow", "pairs": 1_000_000}],
        }
        async with here(tmp_path, **ruled) as control:
            one = await rehearsing(control)
            await control.until(lambda: "rain" in control.control.releases.latest)
            found = control.control.releases.latest["rain"]
            begun = await one.begin()
            await one.answer_badly()
            assert (await one.ended(begun))["state"] == "passed"
            await control.control.releases.look()
            after = control.control.releases.latest["rain"]
            assert (after.id, after.phase, after.steps) == (found.id, found.phase, found.steps)
            await one.worker.close()

    asyncio.run(scenario())


def test_a_drill_that_serves_gives_the_candidate_clients_and_takes_them_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = document(tmp_path, drills={"served": True, "weight": "30%"}, **SHADOW)
        settings["environment"] = "staging"
        async with here(tmp_path, settings=load(write(tmp_path, settings))) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            assert (one.rain.mode, one.rain.weight, one.rain.drill.served) == (Mode.CANARY, 3000, True)
            await one.answer_badly()
            report = await one.ended(begun)
            assert (report["state"], "no client got a spoilt answer" in report["reason"]) == ("failed", True)
            await one.worker.until(lambda: not one.rain.tripped)
            assert (one.rain.mode, one.rain.weight) == (Mode.SHADOW, 0)
            await one.worker.close()

    asyncio.run(scenario())


def test_a_drill_that_is_seen_by_mirrors_first_passes_where_clients_were_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = document(tmp_path, drills={"served": True}, **SHADOW)
        settings["environment"] = "staging"
        async with here(tmp_path, settings=load(write(tmp_path, settings))) as control:
            one = await rehearsing(control)
            begun = await one.begin()
            buckets = [3] + [0] * len(LATENCY_BOUNDS)
            served = RequestCounts("rain", "rain-2", Arm.CANDIDATE.value, 200, 3, buckets, 0.0)
            await one.feed(0.5, 1, requests=[served])
            await one.answer_badly()
            report = await one.ended(begun)
            assert (report["state"], report["spoilt_served"]) == ("passed", 0), report
            await one.worker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("endpoint", "asked", "why"),
    [
        ({"candidate": None}, {}, "has no candidate"),
        ({"drills": {"environment": "staging"}}, {}, "this gateway's is 'production'"),
        ({"drills": {"served": True}}, {}, "in production clients never get a spoilt answer"),
        ({"guards": {"errors": {"excess": "1%"}}}, {"fault": "flip"}, "no guard could see the fault flip"),
        ({}, {"fault": "latency"}, "configure guards.latency"),
        (
            {"guards": {"flips": {"rate": "1%"}, "breaker": {"consecutive_errors": 0}}},
            {"fault": "error"},
            "guards.errors or guards.breaker",
        ),
    ],
)
def test_what_would_prove_nothing_or_hurt_somebody_is_refused(
    tmp_path: Path, endpoint: dict[str, Any], asked: dict[str, Any], why: str
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**SHADOW, **endpoint}) as control:
            refused = await control.client.post(DRILLS, json={"endpoint": "rain", **asked})
            assert refused.status_code == 409, refused.text
            assert why in refused.json()["detail"]
            assert (await control.client.get(DRILLS)).json()["drills"] == []

    asyncio.run(scenario())


def test_a_canary_in_production_is_not_rehearsed(tmp_path: Path) -> None:
    async def scenario() -> None:
        plan = [{"mode": "canary", "weight": "10%", "pairs": 1_000_000}]
        async with here(tmp_path, flag=None, plan=plan) as control:
            refused = await control.client.post(DRILLS, json={"endpoint": "rain"})
            assert (refused.status_code, "touches mirrors only" in refused.json()["detail"]) == (409, True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "a file that can be read (No such file or directory)"),
        ("\n\n", "this one has none"),
        ('{"a":1}\nnot json\n', "line 2"),
    ],
)
def test_requests_that_cannot_be_sent_are_refused_by_their_key(
    tmp_path: Path, content: str | None, why: str
) -> None:
    async def scenario() -> None:
        path = tmp_path / "requests.jsonl"
        if content is not None:
            path.write_text(content)
        async with here(tmp_path, drills={"requests": str(path)}, **SHADOW) as control:
            refused = await control.client.post(DRILLS, json={"endpoint": "rain"})
            assert refused.status_code == 422, refused.text
            (error,) = refused.json()["errors"]
            assert error["field"] == "endpoints.rain.drills.requests"
            assert why in error["detail"]
            assert not control.control.switchboard.judges["rain"].aside

    asyncio.run(scenario())


def test_unknown_endpoints_drills_and_faults_are_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **SHADOW) as control:
            nobody = await control.client.post(DRILLS, json={"endpoint": "snow"})
            assert (nobody.status_code, "rain" in nobody.json()["detail"]) == (404, True)
            fault = await control.client.post(DRILLS, json={"endpoint": "rain", "fault": "flood"})
            assert (fault.status_code, "flip" in fault.json()["detail"]) == (422, True)
            missing = await control.client.get(f"{DRILLS}/none")
            assert (missing.status_code, "GET /api/v1/drills" in missing.json()["detail"]) == (404, True)

    asyncio.run(scenario())


def test_a_drill_that_cannot_be_recorded_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        from domain.errors import StateUnavailable

        async with here(tmp_path, **SHADOW) as control:
            one = await rehearsing(control)

            async def full(*_: object, **__: object) -> None:
                raise StateUnavailable("the disk is full")

            monkeypatch.setattr(control.control.recorder, "together", full)
            refused = await control.client.post(DRILLS, json={"endpoint": "rain"})
            assert (refused.status_code, "the disk is full" in refused.json()["detail"]) == (503, True)
            assert one.rain.drill is None
            assert "rain" not in control.control.switchboard.rehearsals
            monkeypatch.undo()
            await one.begin()
            await one.worker.close()

    asyncio.run(scenario())


def test_a_scheduled_drill_runs_when_it_is_due_and_is_told_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, drills={"every": "* * * * *"}, **SHADOW) as control:
            one = await rehearsing(control)
            desk = control.control.drills
            told: list[dict[str, Any]] = []
            control.control.events.react("drill", lambda event: told.append(dict(event.data)))
            desk._looked = time.time() - 120
            await one.worker.until(lambda: one.rain.drill is not None)
            await one.answer_badly()
            await control.until(lambda: bool(told))
            assert (told[0]["endpoint"], told[0]["state"]) == ("rain", "passed")
            (report, *_) = (await control.client.get(f"{DRILLS}?endpoint=rain")).json()["drills"]
            assert (report["by"], told[0]["id"]) == ("schedule", report["id"])
            await one.worker.close()

    asyncio.run(scenario())


def test_a_drill_that_was_due_and_not_run_is_overdue_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, drills={"every": "0 3 * * *"}, **SHADOW) as control:
            desk = control.control.drills
            told: list[dict[str, Any]] = []
            control.control.events.react("drill", lambda event: told.append(dict(event.data)))
            desk.since = time.time() - 3 * 86_400
            await control.until(lambda: bool(told))
            assert told[0]["state"] == "overdue"
            text = (await control.client.get("/metrics")).text
            assert 'pointsman_drill_overdue{endpoint="rain"} 1.0' in text
            await desk._look()
            assert len(told) == 1

    asyncio.run(scenario())
