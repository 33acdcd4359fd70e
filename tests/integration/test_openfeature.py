"""A platform that is asked unit by unit: what workers ask is answered, within bounds, and nobody waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from control import lookupdesk
from domain.exposure import Question
from routing.sources.evaluator import Evaluation
from routing.sources.ofrep import OfrepEvaluator
from shadow.wire import Asked
from tests.support.control import PATIENCE, FakeWorker, Here, document, here, write
from tests.support.flag_platforms import FlagdFile, Ofrep

ANNA, BO = Question("canary", "anna"), Question("canary", "bo")


@pytest.fixture
def ofrep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ofrep]:
    monkeypatch.setenv("OFREP", "sdk-key")
    served = Ofrep()
    served.set({"canary": ["anna"]})
    yield served
    served.close()


def by_ofrep(served: Ofrep, **more: Any) -> dict[str, Any]:
    platform = {"provider": "ofrep", "url": served.url, "token_env": "OFREP", **more}
    return {"source": "openfeature", "openfeature": platform}


@asynccontextmanager
async def asking(folder: Path, flags: dict[str, Any]) -> AsyncIterator[tuple[Here, FakeWorker]]:
    write(folder, document(folder) | {"flags": flags})
    async with here(folder) as control:
        worker = await FakeWorker().connect(control.link)
        try:
            yield control, worker
        finally:
            await worker.close()


async def told(worker: FakeWorker, *questions: Question) -> list[bool]:
    for question in questions:
        worker.answers.pop(question, None)
    async with asyncio.timeout(PATIENCE):
        while missing := [one for one in questions if one not in worker.answers]:
            worker.say(Asked(missing))  # as a worker does: what is not answered is asked again
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await worker.until(lambda: all(one in worker.answers for one in questions))
    return [worker.answers[one] for one in questions]


def test_a_worker_is_told_in_its_snapshot_to_ask_and_within_which_bounds(
    ofrep: Ofrep, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep, age="30s", units=500)) as (_, worker):
            lookup = worker.snapshot.lookup
            assert lookup is not None
            assert (lookup.age, lookup.most) == (30.0, 500)
            assert lookup.source.startswith("ofrep ")

    asyncio.run(scenario())


def test_what_a_worker_asks_is_answered(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            assert await told(worker, ANNA, BO) == [True, False]
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert (shown["source"], shown["condition"]) == ("openfeature", "fresh")
            assert shown["openfeature"]["provider"] == "ofrep"
            assert shown["openfeature"]["held"] == 2
            assert shown["openfeature"]["evaluations"]["exposed"] == 1
            metrics = (await control.client.get("/metrics")).text
            assert 'pointsman_flag_evaluations_total{outcome="withheld"} 1.0' in metrics
            assert "sdk-key" not in json.dumps(shown)

    asyncio.run(scenario())


def test_a_flag_that_no_endpoint_names_is_not_asked_about(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (_, worker):
            worker.say(Asked([Question("another", "anna")]))
            await told(worker, ANNA)
            assert {path for path, _, _ in ofrep.asked} == {"/ofrep/v1/evaluate/flags/canary"}

    asyncio.run(scenario())


def test_a_platform_that_is_away_answers_nothing_says_so_and_holds_nothing_up(
    ofrep: Ofrep, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            ofrep.status = 500
            worker.say(Asked([ANNA]))
            await control.until(lambda: "HTTP 500" in (control.control.flags.stale or ""))
            assert "waiting: OFREP" in (await control.client.get("/readyz")).json()["flags"]
            assert ANNA not in worker.answers
            assert (await control.client.post("/api/v1/flags/refresh")).status_code in (200, 503)
            ofrep.status = 200
            assert await told(worker, ANNA) == [True]
            assert control.control.flags.condition() == "fresh"

    asyncio.run(scenario())


def test_a_flag_that_is_not_there_is_told_by_name(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        ofrep.set({})
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            assert await told(worker, ANNA) == [False]
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert shown["condition"] == "fresh"
            assert "FLAG_NOT_FOUND" in shown["openfeature"]["problems"]["canary"]

    asyncio.run(scenario())


def test_a_refresh_tells_every_worker_what_is_different_now(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            assert await told(worker, ANNA, BO) == [True, False]
            ofrep.set({"canary": ["bo"]})
            assert (await control.client.post("/api/v1/flags/refresh")).status_code == 200
            await worker.until(lambda: worker.answers == {ANNA: False, BO: True})

    asyncio.run(scenario())


def test_a_change_that_the_platform_tells_of_reaches_workers_by_itself(tmp_path: Path) -> None:
    flagd = FlagdFile(tmp_path)
    flagd.set({"canary": ["anna"]})
    flags = {"source": "openfeature", "openfeature": {"provider": "flagd", "path": str(flagd.path)}}

    async def scenario() -> None:
        async with asking(tmp_path, flags) as (_, worker):
            assert await told(worker, ANNA, BO) == [True, False]
            flagd.set({"canary": []})
            await worker.until(lambda: worker.answers == {ANNA: False, BO: False})

    asyncio.run(scenario())


def test_a_provider_that_is_not_ready_at_the_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "PAUSES", (0.05,))
    flagd = FlagdFile(tmp_path)
    flags = {"source": "openfeature", "openfeature": {"provider": "flagd", "path": str(flagd.path)}}

    async def scenario() -> None:
        async with asking(tmp_path, flags) as (control, worker):
            assert "waiting: OpenFeature provider flagd" in control.control.flags.condition()
            worker.say(Asked([ANNA]))
            flagd.set({"canary": ["anna"]})
            await control.until(lambda: control.control.flags.stale is None)
            assert await told(worker, ANNA) == [True]

    asyncio.run(scenario())


def test_a_platform_whose_code_raises_is_asked_again_and_its_words_are_not_told(
    ofrep: Ofrep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "PUMPS", 1)
    evaluate, left = OfrepEvaluator.evaluate, [1]

    async def failing(self: OfrepEvaluator, questions: Sequence[Question]) -> list[Evaluation]:
        if left:
            raise RuntimeError(f"no idea of {questions[0].unit}")
        return await evaluate(self, questions)

    monkeypatch.setattr(OfrepEvaluator, "evaluate", failing)

    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            flags = control.control.flags
            worker.say(Asked([ANNA]))
            await control.until(lambda: flags.stale == "the flag platform's code failed: RuntimeError")
            left.clear()
            assert await told(worker, ANNA) == [True]
            assert flags.stale is None

    asyncio.run(scenario())


def test_a_platform_whose_code_raises_at_the_start_is_tried_again(
    ofrep: Ofrep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "PAUSES", (0.05,))
    start, left = OfrepEvaluator.start, [1, 2]

    async def failing(self: OfrepEvaluator) -> None:
        if left:
            left.pop()
            raise RuntimeError("on fire")
        await start(self)

    monkeypatch.setattr(OfrepEvaluator, "start", failing)

    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (_, worker):
            assert await told(worker, ANNA) == [True]

    asyncio.run(scenario())


def test_a_change_that_could_not_be_followed_is_followed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "PAUSES", (0.05,))
    flagd = FlagdFile(tmp_path)
    flagd.set({"canary": ["anna"]})
    flags = {"source": "openfeature", "openfeature": {"provider": "flagd", "path": str(flagd.path)}}
    failed: list[int] = []
    follow = lookupdesk.LookupDesk._evaluate_held

    async def failing(self: lookupdesk.LookupDesk) -> None:
        if not failed:
            failed.append(1)
            raise RuntimeError("on fire")
        await follow(self)

    monkeypatch.setattr(lookupdesk.LookupDesk, "_evaluate_held", failing)

    async def scenario() -> None:
        async with asking(tmp_path, flags) as (_, worker):
            assert await told(worker, ANNA) == [True]
            flagd.set({"canary": []})
            await worker.until(lambda: worker.answers == {ANNA: False})
            assert failed

    asyncio.run(scenario())


def test_a_withdrawal_that_one_worker_meets_is_told_to_all(
    ofrep: Ofrep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "FRESH", 0.0)

    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, one):
            another = await FakeWorker(1, "another").connect(control.link)
            assert await told(one, ANNA) == [True]
            assert await told(another, ANNA, BO) == [True, False]
            ofrep.set({"canary": []})
            assert await told(another, ANNA) == [False]
            await one.until(lambda: one.answers == {ANNA: False})  # BO, the same as ever, is not its concern
            await another.close()

    asyncio.run(scenario())


def test_questions_beyond_the_bound_are_dropped_and_counted(
    ofrep: Ofrep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookupdesk, "MOST_QUEUED", 10)

    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, worker):
            worker.say(Asked([Question("canary", f"u{number}") for number in range(25)]))
            await worker.until(lambda: len(worker.answers) == 10)
            desk = control.control.flags.lookup
            assert desk is not None
            assert desk.evaluations["dropped"] == 15

    asyncio.run(scenario())


def test_no_more_answers_are_held_than_configured(tmp_path: Path) -> None:
    flagd = FlagdFile(tmp_path)
    flagd.set({"canary": ["anna"]})
    platform = {"provider": "flagd", "path": str(flagd.path), "units": 100}

    async def scenario() -> None:
        flags = {"source": "openfeature", "openfeature": platform}
        async with asking(tmp_path, flags) as (control, worker):
            for start in range(0, 150, 50):
                await told(worker, *(Question("canary", f"u{start + one}") for one in range(50)))
            desk = control.control.flags.lookup
            assert desk is not None
            assert desk.held == 100

    asyncio.run(scenario())


def test_a_document_cannot_be_written_to_such_a_platform(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asking(tmp_path, by_ofrep(ofrep)) as (control, _):
            answer = await control.client.put("/api/v1/flags", json={"version": 1, "features": []})
            assert answer.status_code == 422
            assert "change flags in ofrep" in answer.text

    asyncio.run(scenario())


def test_a_reload_goes_from_a_file_to_a_platform_and_back(ofrep: Ofrep, tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, document(tmp_path))
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            for flags in (by_ofrep(ofrep), by_ofrep(ofrep, age="5s"), document(tmp_path)["flags"]):
                write(tmp_path, document(tmp_path) | {"flags": flags})
                assert (await control.client.post("/api/v1/config/reload")).status_code == 200
                generation = control.control.switchboard.snapshot.generation
                await worker.until(lambda: worker.snapshot.generation >= generation)  # noqa: B023
                looks_up = flags["source"] == "openfeature"
                assert (worker.snapshot.lookup is not None) is looks_up
                if looks_up:
                    assert await told(worker, ANNA) == [True]
            assert json.loads(worker.snapshot.flags)["features"][0]["name"] == "canary"
            await worker.close()

    asyncio.run(scenario())
