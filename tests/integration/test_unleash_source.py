"""The control process and an Unleash that is away, wrong, or in another mood; and what a trip does there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control import writeback
from control.process import Control, Invocation
from control.writeback import GAVE_UP, OFF, REARMED, REFUSED
from domain.errors import ConfigError
from settings.file import load
from tests.support.control import ControlProcess, FakeWorker, Here, document, here, write
from tests.support.unleash_stub import TOKEN, Asked, Stub, feature, features, status, stub, with_etag, written

ADMIN = "user:not-a-real-admin-secret"
ON, OFF_DOCUMENT = features(feature()), features(feature(enabled=False))
OFF_PATH = "/api/admin/projects/default/features/canary/environments/development/off"
KILL = "/api/v1/endpoints/rain/kill"


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEASH_TOKEN", TOKEN)
    monkeypatch.setenv("UNLEASH_ADMIN", ADMIN)


def unleash(url: str, **more: Any) -> dict[str, Any]:
    where = {"url": url, "token_env": "UNLEASH_TOKEN", "environment": "development", "poll": "100ms", **more}
    return {"source": "unleash", "unleash": where}


@asynccontextmanager
async def world(folder: Path, **more: Any) -> AsyncIterator[tuple[Stub, Here]]:
    """A stub that serves ON, a control process that follows it."""
    async with stub() as server:
        server.serve(ON)
        write(folder, document(folder) | {"flags": unleash(server.url, **more)})
        async with here(folder) as control:
            yield server, control


def served(control: Here) -> bytes:
    return control.control.switchboard.flags


def exposed(flags: bytes) -> dict[str, bool]:
    return {one["name"]: one["enabled"] for one in json.loads(flags)["features"]}


async def ready(control: Here) -> str:
    shown: str = (await control.client.get("/readyz")).json()["flags"]
    return shown


async def metrics(control: Here) -> str:
    return (await control.client.get("/metrics")).text


def test_a_toggle_reaches_the_workers_by_polling(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (server, control):
            worker = await FakeWorker().connect(control.link)
            assert exposed(worker.snapshot.flags) == {"canary": True}
            before = worker.snapshot.generation
            server.serve(OFF_DOCUMENT)
            await worker.until(lambda: exposed(worker.snapshot.flags) == {"canary": False})
            assert worker.snapshot.generation == before + 1
            assert await ready(control) == "fresh"
            await worker.close()

    asyncio.run(scenario())


def test_a_refresh_fetches_at_once_and_answers_with_the_generation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, poll="1h") as (server, control):
            worker = await FakeWorker().connect(control.link)
            server.serve(OFF_DOCUMENT)
            answer = await control.client.post("/api/v1/flags/refresh")
            generation = answer.json()["generation"]
            await worker.until(lambda: worker.snapshot.generation == generation)
            assert exposed(worker.snapshot.flags) == {"canary": False}
            again = await control.client.post("/api/v1/flags/refresh")
            assert again.json()["generation"] == generation
            await worker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "code", "condition"),
    [
        (status(500), 503, "HTTP 500"),
        (status(401), 503, "does not know the token in UNLEASH_TOKEN"),
        (with_etag(b"<html>"), 422, "not JSON"),
        (with_etag(features(feature(rollout="half"))), 422, "'half'"),
    ],
)
def test_what_is_refused_is_told_in_log_api_and_metric_and_the_last_good_one_serves(
    tmp_path: Path, answer: Any, code: int, condition: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, poll="1h") as (server, control):
            before = served(control)
            server.answer = answer
            for _ in range(2):
                refused = await control.client.post("/api/v1/flags/refresh")
                assert refused.status_code == code
                assert condition in refused.json()["detail"]
            assert served(control) == before
            assert (await ready(control)).startswith("stale: ")
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert condition in shown["problem"]
            assert "pointsman_flags_stale 1.0" in await metrics(control)
            told = [one for one in caplog.records if one.getMessage() == "flags stale"]
            assert len(told) == 1
            server.serve(ON)
            assert (await control.client.post("/api/v1/flags/refresh")).status_code == 200
            assert await ready(control) == "fresh"
            assert "pointsman_flags_stale 0.0" in await metrics(control)

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert TOKEN not in "".join(str(vars(one)) for one in caplog.records)


def test_with_unleash_away_at_the_very_first_start_nobody_is_exposed(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, document(tmp_path) | {"flags": unleash("http://127.0.0.1:1/api")})
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            assert exposed(worker.snapshot.flags) == {}
            assert (await control.client.get("/readyz")).status_code == 200
            assert (await ready(control)).startswith("waiting: Unleash at http://127.0.0.1:1/api cannot be")
            await worker.close()

    asyncio.run(scenario())


def test_with_unleash_away_a_start_goes_on_from_the_last_good_flags_of_this_environment_and_project(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with stub() as server:
            server.serve(ON)

            async def begins(**where: Any) -> dict[str, bool]:
                write(tmp_path, document(tmp_path) | {"flags": unleash(server.url, **where)})
                async with here(tmp_path) as control:
                    board = control.control.switchboard
                    await control.until(lambda: board.unreadable is None)
                    worker = await FakeWorker().connect(control.link)
                    await worker.close()
                    return exposed(worker.snapshot.flags)

            assert await begins() == {"canary": True}
            server.answer = status(503)
            assert await begins(project="another") == {}
            assert await begins() == {"canary": True}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("where", "path", "said"),
    [
        ({"token_env": "NOT_THERE"}, "flags.unleash.token_env", "no such variable"),
        ({"admin_token_env": "NOT_THERE"}, "flags.unleash.admin_token_env", "no such variable"),
        ({"token_env": "WITH_BLANKS"}, "flags.unleash.token_env", "holds no token"),
        ({"environment": "production"}, "flags.unleash.environment", "is for environment 'development'"),
    ],
)
def test_a_token_that_cannot_work_ends_the_start_by_its_key_and_without_its_text(
    tmp_path: Path, where: dict[str, Any], path: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WITH_BLANKS", "a secret\nX-Evil: 1")
    written_to = write(tmp_path, document(tmp_path) | {"flags": unleash("http://127.0.0.1:1/api", **where)})

    async def scenario() -> None:
        Control(load(written_to), Invocation(written_to, str(tmp_path / "link.sock")))

    with pytest.raises(ConfigError, match=said) as refused:
        asyncio.run(scenario())
    assert refused.value.path == path
    assert "secret" not in str(refused.value)


def test_flags_of_unleash_are_not_written_through_the_api(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (_, control):
            answer = await control.client.put("/api/v1/flags", json=json.loads(OFF_DOCUMENT))
            assert answer.status_code == 422
            assert "change flags in Unleash" in answer.json()["detail"]
            assert exposed(served(control)) == {"canary": True}

    asyncio.run(scenario())


def test_the_source_is_changed_while_it_runs_and_flags_do_not_leak_from_one_to_another(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (server, control):

            async def reload(flags: dict[str, Any], **endpoint: Any) -> int:
                write(tmp_path, document(tmp_path, **endpoint) | {"flags": flags})
                return (await control.client.post("/api/v1/config/reload")).status_code

            async def becomes(expected: dict[str, bool]) -> None:
                await control.until(lambda: exposed(served(control)) == expected)

            (tmp_path / "flags.json").write_bytes(OFF_DOCUMENT)
            assert await reload({"source": "file", "path": str(tmp_path / "flags.json")}) == 200
            await becomes({"canary": False})
            assert await reload(unleash(server.url)) == 200
            await becomes({"canary": True})
            assert await reload(unleash(server.url, token_env="NOT_THERE")) == 422
            server.serve(features(feature(), feature("other")))
            assert await reload(unleash(server.url), flag="other") == 200
            await becomes({"other": True})
            server.answer = status(503)
            assert await reload(unleash(server.url, project="b")) == 200
            await becomes({})

    asyncio.run(scenario())


def test_a_flag_that_unleash_does_not_have_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with world(tmp_path, poll="1h") as (server, control):
            server.serve(features(feature("other")))
            assert (await control.client.post("/api/v1/flags/refresh")).status_code == 200
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert shown["unleash"]["missing"] == ["canary"]
            assert exposed(served(control)) == {}

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert "flag missing: nobody sees its candidates" in [one.getMessage() for one in caplog.records]


def test_the_real_process_follows_unleash_and_its_log_holds_no_secret_and_no_line_for_each_fetch(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with stub() as server:
            server.serve(ON)
            write(tmp_path, document(tmp_path) | {"flags": unleash(server.url)})
            control = await asyncio.to_thread(ControlProcess, tmp_path)
            try:
                worker = await FakeWorker().connect(control.link)
                assert exposed(worker.snapshot.flags) == {"canary": True}
                asked = len(server.asked)
                async with asyncio.timeout(20):
                    while len(server.asked) < asked + 5:  # noqa: ASYNC110 - polls have no event
                        await asyncio.sleep(0.01)
                server.serve(OFF_DOCUMENT)
                await worker.until(lambda: exposed(worker.snapshot.flags) == {"canary": False})
                await worker.close()
                assert await asyncio.to_thread(control.terminate) == 0
            finally:
                control.kill()

    asyncio.run(scenario())
    log = (tmp_path / "control.log").read_text()
    assert TOKEN not in log
    assert "HTTP" not in log
    assert "Traceback" not in log


# Write-back.


def admin(
    answers: Callable[[], Awaitable[int]], document: bytes = ON
) -> Callable[[Asked, Any], Awaitable[None]]:
    """Flags for whoever polls, and `answers` for whoever switches off."""
    flags = with_etag(document)

    async def answer(asked: Asked, writer: Any) -> None:
        if asked.method == "GET":
            await flags(asked, writer)
        else:
            writer.write(written(await answers()))

    return answer


def replies(*codes: int) -> Callable[[], Awaitable[int]]:
    """These codes, the last one for ever."""
    left = list(codes)

    async def next_one() -> int:
        return left.pop(0) if len(left) > 1 else left[0]

    return next_one


@asynccontextmanager
async def killed(
    folder: Path, answers: Callable[[], Awaitable[int]], pauses: tuple[float, ...]
) -> AsyncIterator[tuple[Stub, Here, Any]]:
    async with world(folder, admin_token_env="UNLEASH_ADMIN", poll="50s") as (server, control):
        control.control.write_back._pauses = pauses
        server.answer = admin(answers)
        listener = control.control.events.listen()
        assert (await control.client.post(KILL, json={"reason": "drill"})).status_code == 200
        yield server, control, listener


async def flag_off(listener: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            event = await listener.next(1.0)
            if event is not None and event.kind == "flag_off":
                return dict(event.data)


def switched_off(server: Stub) -> list[Asked]:
    return [asked for asked in server.asked if asked.method == "POST"]


@pytest.mark.parametrize(
    ("codes", "outcome", "attempts", "reason"),
    [
        ((200,), OFF, 1, ""),
        ((503, 429, 500, 200), OFF, 4, ""),
        ((403,), REFUSED, 1, "change request"),
        ((401,), REFUSED, 1, "does not know the token in UNLEASH_ADMIN"),
        ((404,), REFUSED, 1, "has no flag canary in default/development"),
        ((400,), REFUSED, 1, "HTTP 400"),
        ((502,), GAVE_UP, 5, "HTTP 502"),
    ],
)
def test_a_trip_switches_the_flag_off_in_unleash_within_bounds_and_tells_how_it_went(
    tmp_path: Path, codes: tuple[int, ...], outcome: str, attempts: int, reason: str
) -> None:
    async def scenario() -> None:
        async with killed(tmp_path, replies(*codes), (0.01,) * 4) as (server, control, listener):
            told = await flag_off(listener)
            assert (told["outcome"], told["attempts"]) == (outcome, attempts)
            assert reason in told["reason"]
            assert (told["flag"], told["environment"], told["endpoint"]) == ("canary", "development", "rain")
            asked = switched_off(server)
            assert [one.target for one in asked] == [OFF_PATH] * attempts
            assert asked[0].headers["authorization"] == ADMIN
            shown = (await control.client.get("/api/v1/flags/status")).json()
            assert shown["write_backs"] == [told]
            assert f'flag_write_backs_total{{outcome="{outcome}"}} 1.0' in await metrics(control)
            assert ADMIN not in json.dumps([told, shown]) + await metrics(control)

    asyncio.run(scenario())


def test_a_later_on_never_clears_a_trip(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with killed(tmp_path, replies(200), ()) as (server, control, listener):
            worker = await FakeWorker().connect(control.link)
            await flag_off(listener)
            for document_in_force in (OFF_DOCUMENT, ON):
                server.answer = with_etag(document_in_force)
                assert (await control.client.post("/api/v1/flags/refresh")).status_code == 200
                await worker.until(
                    lambda: worker.snapshot.generation == control.control.switchboard.snapshot.generation
                )
                assert worker.snapshot.endpoint("rain").tripped
            assert exposed(worker.snapshot.flags) == {"canary": True}
            assert worker.snapshot.endpoint("rain").weight == 0
            await worker.close()

    asyncio.run(scenario())


def test_a_trip_does_not_wait_for_unleash(tmp_path: Path) -> None:
    async def scenario() -> None:
        asked = asyncio.Event()
        release = asyncio.Event()

        async def slow() -> int:
            asked.set()
            await release.wait()
            return 200

        async with killed(tmp_path, slow, ()) as (server, control, listener):
            await asyncio.wait_for(asked.wait(), 20)
            assert control.control.switchboard.tripped("rain")
            again = await control.client.post(KILL, json={"reason": "again"})
            assert again.json()["durable"] is True
            release.set()
            assert (await flag_off(listener))["outcome"] == OFF
            assert len(switched_off(server)) == 1, "one at a time for a flag"

    asyncio.run(scenario())


def test_a_rearm_ends_the_attempts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with killed(tmp_path, replies(503), (0.2,) * 50) as (_, control, listener):
            rearmed = await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "fixed"})
            assert rearmed.status_code == 200
            assert (await flag_off(listener))["outcome"] == REARMED

    asyncio.run(scenario())


async def written_back(control: Here) -> None:
    """Until it is kept that the flag is off."""
    async with asyncio.timeout(20):
        while "written_back:rain" not in (await control.control.keeper.restore()).states:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_a_write_back_that_was_not_done_goes_on_in_the_next_life_and_is_done_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stub() as server:
            where = {"admin_token_env": "UNLEASH_ADMIN", "poll": "50s"}
            write(tmp_path, document(tmp_path) | {"flags": unleash(server.url, **where)})
            server.answer = admin(replies(503))
            async with here(tmp_path) as control:
                assert (await control.client.post(KILL, json={"reason": "drill"})).json()["durable"]
                await control.until(lambda: bool(switched_off(server)))
            server.answer, server.asked[:] = admin(replies(200)), []
            async with here(tmp_path) as control:
                await control.until(lambda: control.control.write_back.outcomes[OFF] == 1)
                await written_back(control)
            assert [one.target for one in switched_off(server)] == [OFF_PATH]
            server.asked[:] = []
            async with here(tmp_path) as control:
                assert control.control.switchboard.tripped("rain")
                assert control.control.write_back._busy == set()
            assert switched_off(server) == [], "a person may have switched it on again meanwhile"

    asyncio.run(scenario())


def test_a_kill_after_a_restart_is_written_back_although_an_earlier_one_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stub() as server:
            where = {"admin_token_env": "UNLEASH_ADMIN", "poll": "50s"}
            write(tmp_path, document(tmp_path) | {"flags": unleash(server.url, **where)})
            server.answer = admin(replies(200))
            async with here(tmp_path) as control:
                await control.client.post(KILL, json={"reason": "drill"})
                await written_back(control)
            async with here(tmp_path) as control:
                await control.client.post(KILL, json={"reason": "again"})
                await control.until(lambda: control.control.write_back.outcomes[OFF] == 1)
            assert len(switched_off(server)) == 2

    asyncio.run(scenario())


def test_without_an_admin_token_unleash_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, poll="50s") as (server, control):
            assert (await control.client.post(KILL, json={"reason": "drill"})).status_code == 200
            assert control.control.write_back._busy == set()
            assert switched_off(server) == []

    asyncio.run(scenario())


def test_the_attempts_of_a_write_back_end_after_about_two_minutes() -> None:
    assert 120 < sum(writeback.PAUSES) + (len(writeback.PAUSES) + 1) * writeback.DEADLINE < 180
