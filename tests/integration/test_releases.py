"""Releases in the control process: gates that execute, steps that are kept, and what workers are told."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from control import releasing
from control.gating import GateDesk
from control.releasing import ReleaseDesk
from domain.routing import Mode
from gates.release import Phase
from tests.support.control import ControlProcess, FakeWorker, Here, document, here, pair, write

NAMES = itertools.count(1)


def verdict(said: str, code: int) -> dict[str, Any]:
    program = f'print(\'{{"verdict": "{said}", "sentence": "as told"}}\'); raise SystemExit({code})'
    return {"custom": [{"name": "own", "command": [sys.executable, "-c", program]}]}


OTHERS = "other versions or gates are configured"
PASSING, FAILING = verdict("pass", 0), verdict("fail", 1)
ENDPOINT: dict[str, Any] = {
    "flag": None,
    "guards": {"flips": {"rate": "10%"}, "certify": False, "vote": {"per": "pair"}},
    "plan": [
        {"mode": "shadow", "pairs": 20},
        {"mode": "canary", "weight": "10%", "pairs": 20},
        {"mode": "canary", "weight": "50%", "pairs": 20},
    ],
    "watch": "1s",
    "gates": PASSING,
}


async def feed(worker: FakeWorker, y: float = 0.5) -> None:
    number = next(NAMES)
    generation = worker.snapshot.generation
    pairs = [pair(number * 100 + n, y, generation=generation) for n in range(10)]
    await worker.send(pairs, number)


async def until(control: Here, phase: Phase, worker: FakeWorker | None = None, y: float = 0.5) -> None:
    async with asyncio.timeout(40):
        while (found := control.control.releases.latest.get("rain")) is None or found.phase is not phase:
            if worker is not None:
                await feed(worker, y)
            await asyncio.sleep(0.02)


async def the_release(control: Here) -> dict[str, Any]:
    (found, *_) = (await control.client.get("/api/v1/releases?endpoint=rain")).json()["releases"]
    whole: dict[str, Any] = (await control.client.get(f"/api/v1/releases/{found['id']}")).json()
    return whole


def test_a_good_candidate_is_gated_shadowed_promoted_and_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            worker = await FakeWorker().connect(control.link)
            weights = [worker.snapshot.endpoint("rain").weight]
            worker.on_publish = lambda snapshot: weights.append(snapshot.endpoint("rain").weight)
            await until(control, Phase.PROMOTED, worker)
            await until(control, Phase.DONE)
            whole = await the_release(control)
            assert [(one["phase"], one["stage"]) for one in whole["history"]] == [
                ("shadow", 0), ("canary", 1), ("canary", 2), ("promoted", 2), ("done", 2),
            ]  # fmt: skip
            assert sorted(set(weights)) == [0, 1000, 5000, 10_000]
            assert weights == sorted(weights), "the weight never goes down"
            refused = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert (refused.status_code, "released already" in refused.text) == (409, True)
            exported = (await control.client.get("/api/v1/audit?action=release.moved")).text
            assert all(f'"{phase}"' in exported for phase in ("gating", "shadow", "promoted", "done"))
            assert '"as told"' in exported, "the evidence of the gates is in the chain"
            await worker.close()

    asyncio.run(scenario())


def test_a_failed_gate_halts_and_nobody_is_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**ENDPOINT, "gates": FAILING}) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.HALTED, worker)
            for _ in range(10):
                await feed(worker)
            assert {one.endpoint("rain").weight for one in worker.snapshots} == {0}
            whole = await the_release(control)
            assert "own: as told" in whole["reason"]
            again = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert again.status_code == 201, again.text
            await until(control, Phase.GATING)
            await until(control, Phase.HALTED)
            assert (await the_release(control))["id"] == again.json()["id"]
            await worker.close()

    asyncio.run(scenario())


def test_after_the_promotion_a_trip_rolls_back_and_a_rearm_begins_with_the_gates(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**ENDPOINT, "watch": "1h"}) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.PROMOTED, worker)
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == 10_000)
            await until(control, Phase.ROLLED_BACK, worker, y=0.9)
            assert worker.snapshot.endpoint("rain").tripped
            refused = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert (refused.status_code, "tripped" in refused.text) == (409, True)
            rearmed = await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "fixed"})
            assert rearmed.status_code == 200, rearmed.text
            await until(control, Phase.SHADOW)
            history = [one["phase"] for one in (await the_release(control))["history"]]
            assert history[-3:] == ["rolled back", "gating", "shadow"]
            await worker.until(lambda: not worker.snapshot.endpoint("rain").tripped)
            assert worker.snapshot.endpoint("rain").mode is Mode.SHADOW
            await worker.close()

    asyncio.run(scenario())


def test_an_abort_takes_the_candidate_out_of_its_stage_and_another_version_ends_a_release(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.CANARY, worker)
            first = await the_release(control)
            url = f"/api/v1/releases/{first['id']}/abort"
            assert (await control.client.post(url, json={"reason": ""})).status_code == 422
            aborted = await control.client.post(url, json={"reason": "wrong model"})
            assert (aborted.json()["phase"], aborted.json()["reason"]) == ("aborted", "aborted: wrong model")
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == 0)
            again = await control.client.post(url, json={"reason": "twice"})
            assert (again.status_code, "has ended" in again.text) == (409, True)
            started = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert started.status_code == 201
            two = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert (two.status_code, started.json()["id"] in two.text) == (409, True)
            candidate = {"version": "rain-3", "urls": ["http://127.0.0.1:9003"]}
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "candidate": candidate}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            await until(control, Phase.SHADOW)
            ended = (await control.client.get(f"/api/v1/releases/{started.json()['id']}")).json()
            assert (ended["phase"], ended["reason"]) == ("aborted", OTHERS)
            assert (await the_release(control))["candidate"] == "rain-3"
            await worker.close()

    asyncio.run(scenario())


def test_the_same_version_at_another_url_is_not_trusted_for_a_moment(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**ENDPOINT, "watch": "1h"}) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.PROMOTED, worker)
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == 10_000)
            moved = {"version": "rain-2", "urls": ["http://127.0.0.1:9004"]}
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "watch": "1h", "candidate": moved}))
            before = len(worker.snapshots)
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            await until(control, Phase.SHADOW)
            weights = [
                snapshot.endpoint("rain").weight
                for snapshot in worker.snapshots[before:]
                if (candidate := snapshot.endpoint("rain").candidate) is not None
                and candidate.upstreams[0].port == 9004
            ]
            assert set(weights) == {0}
            await worker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.PROMOTED])
def test_a_trip_and_a_rearm_between_two_looks_roll_back_too(tmp_path: Path, phase: Phase) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**ENDPOINT, "watch": "1h"}) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, phase, worker)
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight > 0)
            async with control.control.releases._turn:  # nobody looks
                for word in ("kill", "rearm"):
                    told = await control.client.post(
                        f"/api/v1/endpoints/rain/{word}", json={"reason": "for a moment"}
                    )
                    assert told.status_code == 200, told.text
                rearmed = (await control.endpoint())["generation"]
            async with asyncio.timeout(40):
                while [one["phase"] for one in (await the_release(control))["history"]][-3:] != [
                    "rolled back", "gating", "shadow",
                ]:  # fmt: skip
                    await control.control.releases.look()
            await worker.until(lambda: worker.snapshot.generation >= rearmed)
            since = [one.endpoint("rain") for one in worker.snapshots if one.generation >= rearmed]
            assert {(one.tripped, one.weight) for one in since} == {(False, 0)}
            await worker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("before", [PASSING, None])
def test_gates_that_are_tightened_during_a_release_are_executed(
    tmp_path: Path, before: dict[str, Any] | None
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **{**ENDPOINT, "watch": "1h", "gates": before}) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.CANARY, worker)
            first = (await the_release(control))["id"]
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "watch": "1h", "gates": FAILING}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            await until(control, Phase.HALTED, worker)
            ended = (await control.client.get(f"/api/v1/releases/{first}")).json()
            assert (ended["phase"], ended["reason"]) == ("aborted", OTHERS)
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == 0)
            await worker.close()

    asyncio.run(scenario())


def test_a_release_that_is_started_during_a_reload_is_of_the_new_configuration(tmp_path: Path) -> None:
    canary: dict[str, Any] = {
        **ENDPOINT,
        "gates": None,
        "plan": [{"mode": "canary", "weight": "10%", "pairs": 20}],
    }
    new: dict[str, Any] = {
        **canary,
        "gates": FAILING,
        "candidate": {"version": "rain-3", "urls": ["http://127.0.0.1:9003"]},
    }

    async def scenario() -> None:
        async with here(tmp_path, **canary) as control:
            desk = control.control.releases
            await until(control, Phase.CANARY)
            aborted = (await the_release(control))["id"]
            await desk.abort(aborted, "wrong model")
            async with desk._turn:
                starting = control.control._tasks.spawn(desk.start("rain", releasing.BY_ITSELF), "start")
                await asyncio.sleep(0)
                write(tmp_path, document(tmp_path, **new))
                assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            started = await starting
            assert (started.candidate, started.phase) == ("rain-3", Phase.GATING)
            await until(control, Phase.HALTED)

    asyncio.run(scenario())


def test_other_gates_do_not_undo_a_release_that_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, Phase.DONE, worker)
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "gates": FAILING}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            await control.control.releases.look()
            assert (await the_release(control))["phase"] == "done"
            assert worker.snapshot.endpoint("rain").weight == 10_000
            await worker.close()

    asyncio.run(scenario())


def test_a_mistake_with_one_endpoint_leaves_the_others_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look_at = ReleaseDesk._look_at

    async def broken(self: ReleaseDesk, name: str, judge: Any, found: Any) -> None:
        if name == "fog":
            raise LookupError("no such step")
        await look_at(self, name, judge, found)

    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            rain = control.control.switchboard.judges.pop("rain")
            control.control.switchboard.judges.update(fog=rain, rain=rain)
            await until(control, Phase.SHADOW)

    monkeypatch.setattr(ReleaseDesk, "_look_at", broken)
    asyncio.run(scenario())
    assert "release not looked at" in caplog.text
    assert "LookupError: no such step" in caplog.text


def test_a_run_that_is_void_is_not_repeated_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed = []
    execute = GateDesk._execute

    async def counted(self: GateDesk, name: str) -> Any:
        executed.append(name)
        return await execute(self, name)

    async def void(self: GateDesk, name: str, found: Any) -> str:
        return "the data are others now"

    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            desk = control.control.releases
            async with asyncio.timeout(40):
                while not desk._runs:
                    await desk.look()
            for _ in range(10):
                await desk.look()
            assert (len(executed), desk.latest["rain"].phase) == (1, Phase.GATING)
            monkeypatch.setattr(releasing, "RETRY", 0.0)
            await desk.look()
            assert desk._running == {"rain"}

    monkeypatch.setattr(GateDesk, "_execute", counted)
    monkeypatch.setattr(GateDesk, "_void", void)
    asyncio.run(scenario())


def test_gates_that_say_nothing_are_executed_again_after_longer_and_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unsure(self: ReleaseDesk, found: Any) -> None:
        self._running.discard(found.endpoint)

    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            desk = control.control.releases
            await until(control, Phase.SHADOW)
            monkeypatch.setattr(ReleaseDesk, "_run_gates", unsure)
            gating = replace(desk.latest["rain"], since=1.0)
            pauses = []
            for _ in range(6):
                desk._execute(gating)
                pauses.append(desk._pause("rain"))
            assert pauses == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
            desk._execute(replace(gating, since=2.0))
            assert desk._pause("rain") == 60.0, "another phase begins anew"

    asyncio.run(scenario())


def test_what_cannot_be_released_is_refused_in_words(tmp_path: Path) -> None:
    refusals = [
        ({"gates": None, "watch": None, "guards": {}}, "no guard is configured"),
        ({"candidate": None, "gates": None, "watch": None}, "has no candidate"),
        (
            {
                "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9001"]},
                "gates": None,
                "watch": None,
            },
            "held against itself",
        ),
    ]

    async def scenario(number: int, endpoint: dict[str, Any], said: str) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with here(folder, **{**ENDPOINT, **endpoint}) as control:
            answer = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert answer.status_code in (409, 422)
            assert said in answer.json()["detail"]
            assert (await control.client.get("/api/v1/releases")).json() == {"releases": []}
            for unknown in ("/api/v1/releases/none", "/api/v1/gates/snow"):
                assert (await control.client.get(unknown)).status_code == 404
            snow = await control.client.post("/api/v1/releases", json={"endpoint": "snow"})
            assert snow.status_code == 404

    for number, (endpoint, said) in enumerate(refusals):
        asyncio.run(scenario(number, endpoint, said))


def test_results_of_gates_are_kept_and_void_when_the_configuration_is_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        slow = verdict("pass", 0)
        async with here(tmp_path, **{**ENDPOINT, "gates": slow, "watch": None}) as control:
            await until(control, Phase.SHADOW)
            run = await control.client.post("/api/v1/gates/rain/run")
            assert (run.json()["verdict"], run.json()["void"]) == ("pass", None)
            latest = (await control.client.get("/api/v1/gates/rain")).json()
            assert latest["results"] == run.json()["results"]
            assert latest["results"][0]["configuration_digest"] == (await control.endpoint())["config_digest"]
            changed = {**ENDPOINT, "watch": None, "timeout": "300ms", "gates": slow}
            write(tmp_path, document(tmp_path, **changed))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            assert (
                "configuration is another" in (await control.client.get("/api/v1/gates/rain")).json()["void"]
            )

    asyncio.run(scenario())


@pytest.mark.parametrize("taken", [1, 2, 3, 4])
def test_a_process_that_ends_between_a_step_and_its_effect_repeats_the_effect_only(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is in the database; nothing was told to anybody."""
    expected = {1: (Mode.SHADOW, 0), 2: (Mode.CANARY, 1000), 3: (Mode.CANARY, 5000), 4: (Mode.CANARY, 10_000)}
    apply = ReleaseDesk._apply

    def cut(self: ReleaseDesk, name: str, judge: Any, found: Any) -> None:
        if found.steps < taken:
            apply(self, name, judge, found)
        else:
            reached.set()

    async def first() -> None:
        async with here(tmp_path, **{**ENDPOINT, "watch": "1h"}) as control:
            worker = await FakeWorker().connect(control.link)
            while not reached.is_set():
                await feed(worker)
                await asyncio.sleep(0.02)
            await worker.close()

    async def second() -> None:
        async with here(tmp_path) as control:
            assert (await the_release(control))["steps"] == taken
            worker = await FakeWorker(session="t").connect(control.link)
            await worker.until(
                lambda: (
                    (worker.snapshot.endpoint("rain").mode, worker.snapshot.endpoint("rain").weight)
                    == expected[taken]
                )
            )
            if taken < 4:  # a promotion is no stage
                shown = await control.endpoint()
                assert shown["release"]["pairs"] == 0, "pairs of one stage never count for the next"
            await worker.close()

    reached = asyncio.Event()
    monkeypatch.setattr(ReleaseDesk, "_apply", cut)
    asyncio.run(first())
    monkeypatch.setattr(ReleaseDesk, "_apply", apply)
    asyncio.run(second())


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[ControlProcess]]:
    """Control processes that a failed test leaves are killed."""
    started: list[ControlProcess] = []
    yield started
    for control in started:
        control.kill()


def test_a_release_that_is_killed_after_every_step_goes_on_and_takes_each_step_once(
    tmp_path: Path, processes: list[ControlProcess]
) -> None:
    write(tmp_path, document(tmp_path, **ENDPOINT))

    async def life(control: ControlProcess, steps: int) -> dict[str, Any]:
        """Feed pairs until the release has taken one step more."""
        async with httpx.AsyncClient(base_url=control.admin, timeout=20) as client:
            worker = await FakeWorker(session=f"life-{steps}").connect(control.link)
            while True:
                found = (await client.get("/api/v1/releases")).json()["releases"]
                if found and found[0]["steps"] > steps:
                    await worker.close()
                    one: dict[str, Any] = (await client.get(f"/api/v1/releases/{found[0]['id']}")).json()
                    return one
                await feed(worker)
                await asyncio.sleep(0.02)

    whole: dict[str, Any] = {"phase": "", "steps": 0}
    while whole["phase"] != "done":
        processes.append(ControlProcess(tmp_path))
        whole = asyncio.run(asyncio.wait_for(life(processes[-1], whole["steps"]), 50))
        processes[-1].kill()
    assert [(one["phase"], one["stage"]) for one in whole["history"]] == [
        ("shadow", 0), ("canary", 1), ("canary", 2), ("promoted", 2), ("done", 2),
    ]  # fmt: skip
    assert [one["steps"] for one in whole["history"]] == [1, 2, 3, 4, 5]
