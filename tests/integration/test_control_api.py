"""The admin API: who may use it, what it answers, and how it says no."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from control.link import Link
from tests.support.control import FLAGS, FakeWorker, batch, document, here, pair, write

KILL = "/api/v1/endpoints/rain/kill"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/api/v1/endpoints/snow", None, 404),
        ("GET", "/api/v1/endpoints/snow/pairs", None, 404),
        ("POST", "/api/v1/endpoints/snow/kill", {"reason": "x"}, 404),
        ("POST", "/api/v1/endpoints/snow/rearm", {"reason": "x"}, 404),
        ("DELETE", "/api/v1/endpoints", {}, 405),
        ("GET", KILL, None, 405),
        ("POST", "/metrics", {}, 405),
        ("POST", KILL, {}, 422),
        ("POST", KILL, {"reason": "   "}, 422),
        ("POST", KILL, {"reason": 7}, 422),
        ("POST", KILL, {"reason": "x", "force": True}, 422),
        ("POST", KILL, {"reason": "x" * 3000}, 422),
        ("POST", KILL, [], 422),
        ("POST", "/api/v1/endpoints/rain/rearm", {"reason": "x", "kills": "all"}, 422),
        ("POST", "/api/v1/endpoints/rain/rearm", {"reason": "x", "kills": []}, 409),
        ("GET", "/api/v1/endpoints/rain/pairs?worst=0", None, 422),
        ("GET", "/api/v1/endpoints/rain/pairs?worst=many", None, 422),
        ("PUT", "/api/v1/flags", {"features": 1}, 422),
        ("PUT", "/api/v1/flags", [], 422),
        ("GET", "/readyz", None, 503),
    ],
)
def test_every_error_is_a_problem_document(
    tmp_path: Path, method: str, path: str, body: object, status: int
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            content = None if body is None else orjson.dumps(body)
            headers = {} if body is None else {"content-type": "application/json"}
            found = problem(
                await control.client.request(method, path, content=content, headers=headers), status
            )
            if status == 422:
                assert found["errors"][0]["field"]
                assert found["errors"][0]["detail"]

    asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            headers = {"content-type": "application/json"}
            refused = await control.client.post(KILL, content=content, headers=headers)
            problem(refused, 400 if refused.status_code == 400 else 422)
            problem(await control.client.put("/api/v1/flags", content=content, headers=headers), 422)
            assert not (await control.endpoint())["switch"]["tripped"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "evil.example#@127.0.0.1"}, 421),
        ({"host": ""}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"host": "localhost:8081"}, 200),
        ({"host": "[::1]:8081", "origin": "http://[::1]:8081"}, 200),
        ({"origin": "http://127.0.0.1:8081", "sec-fetch-site": "same-origin"}, 200),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_only_this_machine_and_its_own_pages_change_anything(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            sent = {"content-type": "application/json", **headers}
            answer = await control.client.post(KILL, content=b'{"reason":"x"}', headers=sent)
            assert (await control.endpoint())["switch"]["tripped"] is (status == 200)
            if status == 200:
                assert answer.status_code == 200
            else:
                problem(answer, status)

    asyncio.run(scenario())


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.168.1.7", "::ffff:10.0.0.1", "2001:db8::1", "somewhere"])
def test_another_machine_is_served_nothing(tmp_path: Path, peer: str) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            transport = httpx.ASGITransport(control.control.app, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
                for path in ("/healthz", "/metrics", "/api/v1/endpoints", "/openapi.json", "/nothing"):
                    problem(await client.get(path), 403)

    asyncio.run(scenario())


def test_a_body_without_end_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:

            async def endless() -> Any:
                for _ in range(100):
                    yield b" " * 65536

            headers = {"content-type": "application/json"}
            problem(await control.client.post(KILL, content=endless(), headers=headers), 413)

    asyncio.run(scenario())


def test_pairs_are_shown_worst_first_with_both_predictions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            scores = [pair(n, 0.5 + n / 100, generation=generation) for n in range(5)]
            await worker.send([*scores, pair(5, generation=generation)], 1)
            found = (await control.client.get("/api/v1/endpoints/rain/pairs?worst=3")).json()["pairs"]
            assert [one["request_id"] for one in found] == ["r4", "r3", "r2"]
            assert found[0]["incumbent"]["prediction"] != found[0]["candidate"]["prediction"]
            assert found[0]["candidate"]["version"] == "rain-2"
            assert found[0]["at"].endswith("+00:00")
            found = (await control.client.get("/api/v1/endpoints/rain/pairs?latest=2")).json()["pairs"]
            assert [one["request_id"] for one in found] == ["r5", "r4"]
            await worker.close()

    asyncio.run(scenario())


def test_answers_that_cannot_be_read_are_shown_and_counted_by_whose_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            one = pair(1, generation=worker.snapshot.generation)
            broken = one.incumbent.__class__("x", one.incumbent.outcome, 200, 0.001, b"\xff<html>")
            mine = pair(2, generation=worker.snapshot.generation, candidate=_named(broken, "rain-2"))
            theirs = pair(3, generation=worker.snapshot.generation, incumbent=_named(broken, "rain-1"))
            await worker.send([mine, theirs], 1)
            shown = await control.endpoint()
            assert shown["pairs"] == {"judged": 2, "flips": 1, "faults": 1, "stale": 0, "shed": 0}
            metrics = (await control.client.get("/metrics")).text
            assert 'pointsman_unreadable_answers_total{arm="candidate",endpoint="rain"} 1.0' in metrics
            assert 'pointsman_unreadable_answers_total{arm="incumbent",endpoint="rain"} 1.0' in metrics
            assert (
                len((await control.client.get("/api/v1/endpoints/rain/pairs?latest=9")).json()["pairs"]) == 2
            )
            await worker.close()

    asyncio.run(scenario())


def _named(observation: Any, version: str) -> Any:
    return observation.__class__(
        version, observation.outcome, observation.status, observation.latency, observation.body
    )


def test_flags_are_replaced_through_the_api_and_served_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            off = {"version": 1, "features": [{**FLAGS["features"][0], "enabled": False}]}  # type: ignore[index,dict-item]  # a literal
            answer = await control.client.put("/api/v1/flags", json=off)
            assert answer.json()["features"] == 1
            await worker.until(lambda: worker.snapshot.generation == answer.json()["generation"])
            assert json.loads(worker.snapshot.flags)["features"][0]["enabled"] is False
            assert json.loads((tmp_path / "flags.json").read_text())["features"][0]["enabled"] is False
            assert (await control.client.get("/api/v1/flags")).json()["features"][0]["enabled"] is False
            await worker.close()

    asyncio.run(scenario())


def test_a_bad_flag_file_leaves_the_last_good_one_in_force_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            good = worker.snapshot.flags
            (tmp_path / "flags.json").write_text('{"version": 1, "feat')
            await control.until(lambda: control.control.flags.stale is not None)
            ready = await control.client.get("/readyz")
            assert ready.status_code == 200
            assert ready.json()["flags"].startswith("stale: ")
            assert worker.snapshot.flags == good
            problem(await control.client.post("/api/v1/flags/refresh"), 422)
            (tmp_path / "flags.json").write_text(json.dumps(FLAGS))
            await control.until(lambda: control.control.flags.stale is None)
            assert (await control.client.post("/api/v1/flags/refresh")).status_code == 200
            await worker.close()

    asyncio.run(scenario())


def test_the_last_good_flags_survive_a_restart_with_a_bad_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            good = control.control.switchboard.flags
            assert b"canary" in good
        (tmp_path / "flags.json").write_text("no longer JSON")
        async with here(tmp_path) as control:
            assert control.control.switchboard.flags == good
            assert control.control.flags.stale is not None

    asyncio.run(scenario())


def test_a_new_candidate_is_a_new_release_and_an_old_kill_stays_in_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write(tmp_path)
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            await worker.send([pair(n, generation=worker.snapshot.generation) for n in range(600)], 1)
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == 2500)
            candidate = {"version": "rain-3", "urls": ["http://127.0.0.1:9003"]}
            path.write_text(json.dumps(document(tmp_path, candidate=candidate)))
            answer = await control.client.post("/api/v1/config/reload")
            assert answer.json()["changed"] is True
            await worker.until(lambda: worker.snapshot.generation >= answer.json()["generation"])
            assert worker.snapshot.endpoint("rain").weight == 0
            shown = await control.endpoint()
            assert shown["candidate"]["version"] == "rain-3"
            assert shown["release"]["stage"] == 0
            assert shown["pairs"]["judged"] == 0
            killed = (await control.client.post(KILL, json={"reason": "x"})).json()["kill"]
            path.write_text(json.dumps(document(tmp_path)))
            assert (await control.client.post("/api/v1/config/reload", json={})).status_code == 200
            switch = (await control.endpoint())["switch"]
            assert switch["tripped"]
            assert [(kill["id"], kill["version"]) for kill in switch["kills"]] == [(killed, "rain-3")]
            await worker.close()

    asyncio.run(scenario())


def test_other_settings_of_the_same_release_keep_its_evidence_and_stage(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write(tmp_path)
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            await worker.send([pair(n, generation=worker.snapshot.generation) for n in range(600)], 1)
            before = await control.endpoint()
            path.write_text(json.dumps(document(tmp_path, timeout="5s")))
            await control.client.post("/api/v1/config/reload")
            after = await control.endpoint()
            for key in ("release", "guards", "pairs"):
                assert after[key] == before[key]
            path.write_text(json.dumps(document(tmp_path, guards={"flips": {"rate": "2%"}})))
            await control.client.post("/api/v1/config/reload")
            after = await control.endpoint()
            assert after["release"]["stage"] == before["release"]["stage"]
            assert after["guards"][0]["count"] == 0
            await worker.close()

    asyncio.run(scenario())


def test_a_configuration_that_is_bad_or_needs_a_restart_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write(tmp_path)
        async with here(tmp_path) as control:
            before = (await control.client.get("/api/v1/config")).json()
            path.write_text(json.dumps(document(tmp_path, protocol="morse")))
            found = problem(await control.client.post("/api/v1/config/reload"), 422)
            assert found["errors"][0]["field"] == "endpoints.rain.protocol"
            path.write_text(json.dumps({**document(tmp_path), "workers": 7}))
            found = problem(await control.client.post("/api/v1/config/reload"), 409)
            assert found["errors"][0]["field"] == "workers"
            assert "restart" in found["detail"]
            path.unlink()
            problem(await control.client.post("/api/v1/config/reload"), 422)
            assert (await control.client.get("/api/v1/config")).json() == before

    asyncio.run(scenario())


def test_events_are_told_as_they_happen(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            listener = control.control.events.listen()
            await control.client.post(KILL, json={"reason": "x"})
            await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "y"})
            kinds = [(await listener.next(5)).kind for _ in range(2)]  # type: ignore[union-attr]  # both come
            assert kinds == ["trip", "rearm"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x93\x93",
        b"\x00\x00\x10\x00" + b"\x91" * 4096,
    ],
)
def test_a_link_that_speaks_nonsense_is_cut_and_counted_and_others_stay(
    tmp_path: Path, hostile: bytes
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            well = await FakeWorker(0, "a").connect(control.link)
            _, writer = await asyncio.open_unix_connection(control.link)
            writer.write(hostile)
            await control.until(lambda: control.control.link.faults == 1)
            writer.close()
            sick = await FakeWorker(1, "b").connect(control.link)
            sick.raw(hostile)
            await sick.until(lambda: sick.gone)
            assert control.control.link.faults == 2
            await well.send([], 1)
            assert isinstance(control.control.link, Link)
            await well.close()
            await sick.close()

    asyncio.run(scenario())


def test_whoever_does_not_say_hello_first_is_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            from shadow.wire import frame

            _, writer = await asyncio.open_unix_connection(control.link)
            writer.write(frame(batch(1, [])))
            await control.until(lambda: control.control.link.faults == 1)
            writer.close()

    asyncio.run(scenario())
