"""Labels that come when nobody remembers the request any more: joined from the log, and heard once."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from control import labelling
from control.labelling import LabelDesk
from domain.errors import StateUnavailable
from domain.observation import Divergence
from domain.routing import Arm
from killswitch.columns import JudgedPair
from monitoring.labels import kept
from monitoring.labels.store import NAME, LabelStore
from monitoring.log.record import Mirrored, PredictionRecord
from tests.support.control import Here, pair
from tests.support.decisions import Hand, configured, deciding, logged, reconfigured
from tests.support.records import record

NOON = 1_772_000_000.0
GUARDED: dict[str, Any] = {
    "compare": {"kind": "classification", "labels": ["dry", "rain"]}, "guards": {"accuracy": {"drop": "1%"}},
    "cohorts": ["header:x-country"],
}  # fmt: skip
REQUESTS = 300


def answered(number: int, generation: int, **more: Any) -> PredictionRecord:
    """A request that the incumbent answered right, and the candidate wrong, unseen."""
    mirrored = Mirrored("rain-2", 200, 0.1, ("dry",), 0.9)
    return record(
        number, at=NOON + number / 100, generation=generation, arm=Arm.INCUMBENT, predictions=("rain",),
        confidence=0.8, cohorts=("NZ",), mirrored=mirrored, unit=number + 1, **more,
    )  # fmt: skip


async def send(control: Here, labels: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await control.client.post("/api/v1/labels", json=labels)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def accuracy(control: Here, **query: str) -> dict[str, Any]:
    answer = await control.client.get("/api/v1/endpoints/rain/accuracy", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def heard(control: Here) -> dict[str, Any]:
    """What labels have said to the guards."""
    shown: Any = (await control.endpoint())["accuracy"]
    return {one["cohort"]: one["labels"] for one in shown}


def test_labels_trip_long_after_the_pair_was_forgotten_and_each_is_heard_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(REQUESTS)])
            hand.at = NOON + 20 * 86_400
            few = [{"request_id": f"id-{number}", "label": "rain"} for number in range(5)]
            answer = await send(control, few)
            assert (answer["joined"], len(answer["unknown"]), answer["kept"]) == (0, 5, True)
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            await control.control.labels.round()
            assert (await heard(control))[""] == 5
            assert not (await control.endpoint())["switch"]["tripped"]
            told = (await accuracy(control, by="version,cohort", since="2026-02-20T00:00:00Z"))["groups"]
            figures = {(one["version"], one["cohort"]): one["accuracy"] for one in told}
            assert figures["rain-1", ""] == figures["rain-1", "header:x-country=NZ"] == 1.0
            assert figures["rain-2", ""] == 0.0
            await control.control.hearing.checkpoint()
        async with deciding(tmp_path, hand, configured(tmp_path, **GUARDED)) as control:
            # The same labels again, after a restart: no evidence a second time.
            assert (await send(control, few))["kept"]
            await control.control.labels.round()
            judge = control.control.switchboard.judge("rain")
            (guard,) = [one for one in judge.reports() if one.guard == "accuracy"]
            assert guard.count == 5
            rest = [{"request_id": f"id-{number}", "label": 1} for number in range(5, REQUESTS)]
            await send(control, rest)
            await control.until(lambda: control.control.switchboard.tripped("rain"))
            kill = (await control.endpoint())["switch"]["kills"][0]
            assert kill["actor"] == "guard:accuracy"

    asyncio.run(asyncio.wait_for(scenario(), 100))


def test_what_was_found_and_not_yet_kept_with_the_evidence_is_heard_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(5)])
        # As a crash leaves it: joined and written down, and nobody has heard it.
        async with deciding(tmp_path, hand, configured(tmp_path, **GUARDED)) as control:
            desk = control.control.labels
            heard_all = desk._hear_all
            desk._hear_all = _nothing  # type: ignore[method-assign]
            await send(control, [{"request_id": f"id-{number}", "label": "rain"} for number in range(5)])
            await control.until(lambda: desk.counts.get("rain") is not None)
            assert await heard(control) == {}
            del heard_all
        async with deciding(tmp_path, hand, configured(tmp_path, **GUARDED)) as control:
            await control.control.labels.round()
            assert (await heard(control))[""] == 5

    asyncio.run(asyncio.wait_for(scenario(), 100))


async def _nothing() -> None:
    return


def test_what_is_of_another_trial_or_of_a_drill_is_counted_and_is_no_evidence(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(
                tmp_path,
                [answered(0, generation), answered(1, 0), answered(2, generation, drill="d"),
                 answered(3, generation, version="rain-0")],
            )  # fmt: skip
            await send(control, [{"request_id": f"id-{number}", "label": "rain"} for number in range(4)])
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            await control.control.labels.round()
            assert (await heard(control))[""] == 1
            groups = (await accuracy(control))["groups"]
            assert {one["version"]: one["labels"] for one in groups} == {
                "rain-0": 1, "rain-1": 3, "rain-2": 4,
            }  # fmt: skip

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_status_and_metrics_tell_what_became_of_labels(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **{**GUARDED, "guards": {"errors": {"excess": "5%"}}}) as control:
            logged(tmp_path, [answered(number, 1) for number in range(3)])
            await send(
                control,
                [{"request_id": "id-0", "label": "rain"}, {"request_id": "id-1", "label": "fog"},
                 {"request_id": "never", "label": "rain"}],
            )  # fmt: skip
            corrected = await send(
                control, [{"request_id": "id-0", "label": "dry"}, {"request_id": "never", "label": "dry"}]
            )
            assert len(corrected["conflicts"]) == 2, "two labels of one moment, by the clock in hand"
            hand.at = NOON + 3600
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            await control.control.labels.round()
            status = (await control.client.get("/api/v1/labels")).json()
            assert (status["behind"], status["waiting"], status["failure"]) == (0, 1, None)
            assert status["unknown"] == {"count": 1, "newest": ["never"]}
            (one,) = status["unfit"]
            assert one["request_id"] == "id-1"
            assert "'fog' is none of its classes; use dry, rain, or an index" in one["detail"]
            assert (status["endpoints"][0]["joined"], status["endpoints"][0]["unfit"]) == (1, 1)
            await control.control.accuracy.refresh()
            text = (await control.client.get("/metrics")).text
            assert 'pointsman_labels{endpoint="rain",outcome="unfit"} 1.0' in text
            assert 'pointsman_accuracy{cohort="all",endpoint="rain",version="rain-2"} 1.0' in text
            assert "pointsman_labels_waiting 1.0" in text

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_wrong_question_or_label_is_refused_with_its_field_and_the_way_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON), **GUARDED) as control:
            for query, said in (
                ({"by": "version,mood"}, "use some of version, cohort, time"),
                ({"since": "yesterday"}, "ISO 8601"),
                ({"since": "2026-03-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}, "before `until`"),
            ):
                answer = await control.client.get("/api/v1/endpoints/rain/accuracy", params=query)
                assert (answer.status_code, said in answer.text) == (422, True), answer.text
            assert (await control.client.get("/api/v1/endpoints/wind/accuracy")).status_code == 404
            for label, said in (
                ({"a": 1}, "give a class by its name or its index"), (None, "is no label"), ([], "list of 0"),
                ([1, {}], "is no label"), ("x" * 1001, "give 1000 at most"),
            ):  # fmt: skip
                body = [{"request_id": "r", "label": label}]
                answer = await control.client.post("/api/v1/labels", json=body)
                assert (answer.status_code, said in answer.text) == (422, True), answer.text
            late = [{"request_id": "r", "label": 1, "at": "2099-01-01T00:00:00Z"}]
            (refused,) = (await send(control, late))["refused"]
            assert "has not come yet" in refused["detail"]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_store_that_fails_is_told_and_labels_are_joined_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "AGAIN", 0.05)

    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(3)])
            desk: LabelDesk = control.control.labels
            with monkeypatch.context() as broken:
                broken.setattr(LabelStore, "take", _full)
                await send(control, [{"request_id": "id-0", "label": "rain"}])
                await control.until(lambda: desk.failure is not None)
                ready = (await control.client.get("/readyz")).text
                assert "labels are not joined" in ready
            await control.until(lambda: desk.failure is None)
            await control.until(lambda: desk.counts.get("rain") is not None)
            assert (await accuracy(control))["groups"][0]["labels"] == 1
            # Where the log is moved to there is a store of its own, which begins with all labels there are.
            moved = {**GUARDED}
            await reconfigured(control, tmp_path, **moved)
            assert (tmp_path / "predictions" / NAME).exists()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _full(self: LabelStore, entries: object) -> None:
    raise StateUnavailable("the disk is full")


@pytest.mark.parametrize("label", ['"\\ud800"', "1" + "0" * 400, '["rain", "\\udfff"]'])
def test_what_json_can_write_and_nothing_can_keep_is_refused_and_stops_no_other_label(
    tmp_path: Path, label: str
) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(3)])
            answer = await control.client.post(
                "/api/v1/labels",
                content=f'[{{"request_id": "id-0", "label": {label}}}]'.encode(),
                headers={"content-type": "application/json"},
            )
            assert (answer.status_code, "is no" in answer.text) == (422, True), answer.text
            # As an earlier release kept it.
            old = kept.KeptLabel("id-0", kept.ANY, json.loads(label), NOON)
            await control.control.keeper.run(
                lambda database: database.write(lambda on: kept.keep(on, [old], NOON))
            )
            await send(control, [{"request_id": "id-1", "label": "rain"}])
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            counts = control.control.labels.counts["rain"]
            assert (counts.joined, counts.unfit) == (1, 1)
            assert "cannot be read" in (await control.client.get("/api/v1/labels")).text
            (odd,) = (await send(control, [{"request_id": "id-2", "label": 1, "at": LAST}]))["refused"]
            assert "has not come yet" in odd["detail"]

    asyncio.run(asyncio.wait_for(scenario(), 60))


LAST = "9999-12-31T23:59:59-23:00"


def test_a_mistake_of_ours_does_not_end_the_joining_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "AGAIN", 0.05)

    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON), **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(3)])
            desk: LabelDesk = control.control.labels
            with monkeypatch.context() as broken:
                broken.setattr(LabelStore, "take", _mistaken)
                await send(control, [{"request_id": "id-0", "label": "rain"}])
                await control.until(lambda: desk.failure == "KeyError: 'a mistake'")
            await control.until(lambda: desk.failure is None and desk.counts.get("rain") is not None)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _mistaken(self: LabelStore, entries: object) -> None:
    raise KeyError("a mistake")


def test_a_label_that_was_heard_and_could_not_be_written_down_is_no_evidence_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "AGAIN", 0.05)

    async def scenario() -> None:
        hand = Hand(NOON)
        judged = JudgedPair(
            pair(0)._replace(request_id="id-0", at=NOON),
            Divergence(1.0, True, "r", incumbent_label="rain", candidate_label="dry"),
            None,
        )
        async with deciding(tmp_path, hand, **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(3)])
            memory = control.control.switchboard.judge("rain").memory
            assert memory is not None
            memory.put(judged, ())
            with monkeypatch.context() as broken:
                broken.setattr(LabelStore, "testify", _full)
                assert (await send(control, [{"request_id": "id-0", "label": "rain"}]))["joined"] == 1
            assert votes(control) == 1
            if again := memory._pairs.pop("id-0", None):  # forgotten, as when many others came
                assert not again.rows
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            await control.control.labels.round()
            assert votes(control) == 1, "the same process"
            await control.control.hearing.checkpoint()
        async with deciding(tmp_path, hand, configured(tmp_path, **GUARDED)) as control:
            await send(control, [{"request_id": "id-1", "label": "rain"}])
            await control.until(lambda: joined(control) == 2)
            await control.control.labels.round()
            assert votes(control) == 2, "the restarted one"

    asyncio.run(asyncio.wait_for(scenario(), 60))


def joined(control: Here) -> int:
    counts = control.control.labels.counts.get("rain")
    return 0 if counts is None else counts.joined


def votes(control: Here) -> int:
    reports = control.control.switchboard.judge("rain").reports()
    (guard,) = [one for one in reports if one.guard == "accuracy"]
    return guard.count


def test_numbers_that_begin_anew_are_followed_from_there(tmp_path: Path) -> None:
    """A database that went to an older release and back, or a backup, or another one."""

    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON), **GUARDED) as control:
            generation = control.control.switchboard.snapshot.generation
            logged(tmp_path, [answered(number, generation) for number in range(5)])
            await send(control, [{"request_id": f"id-{number}", "label": "rain"} for number in range(3)])
            await control.until(lambda: control.control.labels.counts.get("rain") is not None)
            database = control.control.keeper
            await database.run(
                lambda on: on.write(lambda on: on.exec_driver_sql("DELETE FROM label_entries"))
            )
            await database.run(
                lambda on: on.write(lambda on: on.exec_driver_sql("DELETE FROM sqlite_sequence"))
            )
            await send(control, [{"request_id": f"id-{number}", "label": "rain"} for number in (0, 4)])
            await control.until(lambda: joined(control) == 4)
            assert await heard(control) != {}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_the_store_is_not_closed_under_work_that_a_cancelled_caller_left_behind(tmp_path: Path) -> None:
    began, may_end = threading.Event(), threading.Event()
    read: list[int] = []

    def work(store: LabelStore) -> None:
        began.set()
        may_end.wait(30)
        read.append(store.count_waiting())

    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            desk = control.control.labels
            asking = asyncio.get_running_loop().create_task(desk._with_store(work))
            await asyncio.to_thread(began.wait, 30)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            closing = asyncio.get_running_loop().create_task(desk.close())
            await asyncio.sleep(0)
            may_end.set()
            await closing
            assert read == [0]

    asyncio.run(scenario())
