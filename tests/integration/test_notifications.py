"""Receivers are told what happens: by a real control process, at a real HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from control import notifying
from control.notifying import Notifying
from notify.outbox import Entry
from notify.retry import Pace
from tests.support.control import ROOT, ControlProcess, FakeWorker, Here, document, here, pair, write
from tests.support.ports import free_port
from tests.support.receiver import Received, Reply, receiving

KEY = b"0123456789abcdef0123456789abcdef"
ROUTING = "R" * 32
SCHEMA = json.loads((ROOT / "docs" / "notification.schema.json").read_text())
QUICK = Pace(first=0.02, longest=0.05)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_KEY", f"whsec_{base64.b64encode(KEY).decode()}")
    monkeypatch.setenv("ROUTING_KEY", ROUTING)
    monkeypatch.setenv("TRAINING_TOKEN", "a-token-of-training")


def hook(url: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "hook",
        "kind": "webhook",
        "url": url,
        "secret_env": "HOOK_KEY",
        "allow_private": True,
        **more,
    }


@asynccontextmanager
async def telling(
    folder: Path, receivers: list[dict[str, Any]], pace: Pace = QUICK, **endpoint: Any
) -> AsyncIterator[Here]:
    """The control process's parts, with these receivers."""
    write(folder, {**document(folder, **endpoint), "notifications": receivers})
    async with here(folder) as control:
        control.control.notifying.pace = pace
        await control.until(lambda: control.control.switchboard.unreadable is None)
        yield control


async def kill(control: Here, reason: str = "looks wrong") -> str:
    answer = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": reason})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["kill"])


async def rearm(control: Here) -> None:
    answer = await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "fixed"})
    assert answer.status_code == 200, answer.text


async def settled(control: Here) -> None:
    """Until nothing waits."""
    await control.until(lambda: not control.control.notifying.waiting)


def demand_signed(received: Received) -> None:
    headers = received.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert received.document["id"] == headers["webhook-id"]


def test_a_trip_and_its_rearm_are_told_to_each_kind_as_it_wants_and_only_after_they_are_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with receiving() as web, receiving() as slack, receiving() as pager:
            monkeypatch.setenv("SLACK_URL", f"http://127.0.0.1:{slack.port}/services/T0/B0/secret")
            receivers = [
                hook(web.url),
                {"name": "people", "kind": "slack", "url_env": "SLACK_URL", "allow_private": True},
                {"name": "duty", "kind": "pagerduty", "url": pager.url, "secret_env": "ROUTING_KEY",
                 "allow_private": True, "on": ["trip"]},
            ]  # fmt: skip
            async with telling(tmp_path, receivers) as control:
                killed = await kill(control, "wrong & <!channel>\x1b[2J")
                await rearm(control)
                trip, again = (await web.count(2))[:2]
                for one in (trip, again):
                    demand_signed(one)
                    jsonschema.validate(one.document, SCHEMA)
                assert (trip.document["type"], trip.document["data"]["kill"]) == ("pointsman.trip", killed)
                assert "\x1b" not in trip.document["summary"]
                assert again.document["type"] == "pointsman.rearm"
                opened, closed = [one.document for one in await pager.count(2)]
                assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
                assert opened["dedup_key"] == closed["dedup_key"] == f"pointsman/rain/kill/{killed}"
                assert (opened["routing_key"], opened["payload"]["severity"]) == (ROUTING, "critical")
                said = (await slack.count(2))[0]
                assert said.path == "/services/T0/B0/secret"
                assert "wrong &amp; &lt;!channel&gt;" in said.document["text"]
                await settled(control)
                shown = (await control.client.get("/api/v1/notifications")).json()["receivers"]
                assert [one["outcomes"]["delivered"] for one in shown] == [2, 2, 2]

    asyncio.run(scenario())


def test_what_fails_is_repeated_with_the_same_id_and_a_new_signature_until_it_is_taken(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            elsewhere = {"Location": f"{web.url}/other"}
            web.replies.extend([
                Reply(500), Reply(429, {"Retry-After": "0"}), Reply(302, elsewhere), Reply(cut=True),
                Reply(404), Reply(503, {"Set-Cookie": "session=secret"}),
                Reply(503, {"Retry-After": "Thu, 01 Jan 99999999999 00:00:00 GMT"}), Reply(204, body=b""),
            ])  # fmt: skip
            async with telling(tmp_path, [hook(web.url)]) as control:
                await kill(control)
                await settled(control)
                assert len(web.received) == 8
                assert not any("cookie" in one.headers for one in web.received)
                assert {one.headers["webhook-id"] for one in web.received} == {web.received[0].document["id"]}
                assert {one.path for one in web.received} == {"/hook"}, "redirects are not followed"
                for one in web.received:
                    demand_signed(one)
                (shown,) = (await control.client.get("/api/v1/notifications")).json()["receivers"]
                assert (shown["outcomes"]["delivered"], shown["failed_attempts"]) == (1, 7)
                metrics = (await control.client.get("/metrics")).text
                assert 'pointsman_notifications_total{outcome="delivered",receiver="hook"} 1.0' in metrics
                assert 'pointsman_notification_failures_total{receiver="hook"} 7.0' in metrics
                assert 'pointsman_notifications_total{outcome="dropped",receiver="hook"} 0.0' in metrics
                assert 'pointsman_notifications_waiting{receiver="hook"} 0.0' in metrics

    asyncio.run(scenario())


def test_what_is_refused_for_good_or_for_too_long_is_given_up_and_the_next_one_is_told(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            web.replies.append(Reply(410))
            async with telling(tmp_path, [hook(web.url)]) as control:
                await kill(control)
                await settled(control)
                web.usual = Reply(500)
                control.control.notifying.pace = Pace(first=0.01, longest=0.01, patience=0.05)
                await rearm(control)
                await settled(control)
                web.usual = Reply()
                await kill(control)
                await settled(control)
                outcomes = control.control.notifying.outcomes
                assert dict(outcomes) == {
                    ("hook", "refused"): 1, ("hook", "given_up"): 1, ("hook", "delivered"): 1,
                }  # fmt: skip

    asyncio.run(scenario())


def test_a_receiver_that_hangs_or_is_down_delays_no_trip_and_no_other_receiver(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as web, receiving() as other:
            web.usual = Reply(hangs=True)
            nobody = f"http://127.0.0.1:{free_port()}/"
            receivers = [hook(web.url), hook(other.url, name="other"), hook(nobody, name="down")]
            async with telling(tmp_path, receivers) as control:
                worker = await FakeWorker().connect(control.link)
                await kill(control)
                await other.count(1)
                assert worker.snapshot.endpoint("rain").tripped
                waiting = control.control.notifying.waiting
                await control.until(
                    lambda: {entry.receiver for entry in waiting.values()} == {"hook", "down"}
                )
                for _ in range(3):
                    await rearm(control)
                    await kill(control)
                await other.count(7)
                await worker.close()

    asyncio.run(scenario())


def test_each_receiver_is_told_in_the_order_in_which_it_happened(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            web.replies.extend([Reply(500), Reply(200), Reply(503), Reply(503)])
            async with telling(tmp_path, [hook(web.url)]) as control:
                for _ in range(3):
                    await kill(control)
                    await rearm(control)
                await settled(control)
                taken = list(dict.fromkeys(one.headers["webhook-id"] for one in web.received))
                first = {one.headers["webhook-id"]: one.document["type"] for one in web.received}
                assert [first[one] for one in taken] == ["pointsman.trip", "pointsman.rearm"] * 3

    asyncio.run(scenario())


def test_a_receiver_hears_only_of_what_and_of_whom_it_wants_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            receivers = [
                hook(web.url, on=["rearm"]),
                hook(web.url, name="snow", endpoints=["snow"]),
            ]
            path = write(tmp_path, {**document(tmp_path), "notifications": receivers})
            configuration = json.loads(path.read_text())
            snow = {**configuration["endpoints"]["rain"], "path": "/snow"}
            configuration["endpoints"]["snow"] = snow
            path.write_text(json.dumps(configuration))
            async with here(tmp_path) as control:
                await kill(control)
                await rearm(control)
                (told,) = await web.count(1)
                await settled(control)
                assert [one.document["type"] for one in web.received] == [told.document["type"]]
                assert told.document["type"] == "pointsman.rearm"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "allowed", "reason"),
    [
        ("http://127.0.0.1:{port}/", False, "private"),
        ("http://localhost:{port}/", False, "private"),
        ("http://2130706433:{port}/", False, "private"),
        ("http://169.254.169.254/latest/meta-data", True, "nothing is ever sent"),
        ("http://0.0.0.0:{port}/", True, "nothing is ever sent"),
    ],
)
def test_nothing_is_sent_to_an_address_that_is_not_permitted(
    tmp_path: Path, url: str, allowed: bool, reason: str
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            receiver = hook(url.format(port=web.port), allow_private=allowed)
            async with telling(tmp_path, [receiver]) as control:
                answer = await control.client.post("/api/v1/notifications/test", json={"receiver": "hook"})
                assert (answer.status_code, answer.json()["delivered"]) == (200, False)
                assert reason in answer.json()["detail"]
                assert web.received == []

    asyncio.run(scenario())


def test_a_test_is_sent_once_and_its_outcome_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            async with telling(tmp_path, [hook(web.url)]) as control:
                url = "/api/v1/notifications/test"
                good = (await control.client.post(url, json={"receiver": "hook"})).json()
                assert good == {"receiver": "hook", "delivered": True, "status": 200, "detail": ""}
                web.usual = Reply(500)
                bad = (await control.client.post(url, json={"receiver": "hook"})).json()
                assert (bad["delivered"], bad["status"], bad["detail"]) == (False, 500, "HTTP 500")
                assert len(web.received) == 2
                jsonschema.validate(web.received[0].document, SCHEMA)
                unknown = await control.client.post(url, json={"receiver": "nobody"})
                assert (unknown.status_code, "configured: hook" in unknown.text) == (404, True)

    asyncio.run(scenario())


def test_no_secret_is_shown_logged_or_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> str:
        async with receiving() as web:
            web.usual = Reply(500)
            monkeypatch.setenv("SLACK_URL", f"http://127.0.0.1:{web.port}/services/T0/B0/hush-hush")
            receivers = [
                {"name": "people", "kind": "slack", "url_env": "SLACK_URL", "allow_private": True},
                {"name": "down", "kind": "slack", "url_env": "DOWN_URL", "allow_private": True},
                hook(web.url),
            ]
            monkeypatch.setenv("DOWN_URL", f"http://127.0.0.1:{free_port()}/services/T0/B0/hush-hush")
            async with telling(tmp_path, receivers) as control:
                await kill(control)
                await web.count(6)
                shown = [
                    (await control.client.get(path)).text
                    for path in ("/api/v1/config", "/api/v1/notifications", "/metrics", "/readyz")
                ]
                shown += [
                    (await control.client.post("/api/v1/notifications/test", json={"receiver": name})).text
                    for name in ("people", "down", "hook")
                ]
                exported = (await control.client.get("/api/v1/audit/export")).text
                return "".join(shown) + exported

    shown = asyncio.run(scenario()) + caplog.text + "".join(str(vars(one)) for one in caplog.records)
    kept = b"".join(one.read_bytes() for one in tmp_path.glob("pointsman.db*"))
    for secret in ("hush-hush", base64.b64encode(KEY).decode(), KEY.decode()):
        assert secret not in shown
        assert secret.encode() not in kept


def test_while_the_database_is_out_of_reach_receivers_are_told_all_the_same(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            async with telling(tmp_path, [hook(web.url)]) as control:
                await control.until(lambda: control.control.notifying._resumed)
                blocker = sqlite3.connect(tmp_path / "pointsman.db", isolation_level=None)
                blocker.execute("BEGIN IMMEDIATE")  # no write succeeds from now on
                killed = control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "looks wrong"})
                waiting = asyncio.get_running_loop().create_task(killed)
                (told,) = await web.count(1)
                assert told.document["type"] == "pointsman.trip"
                blocker.execute("ROLLBACK")
                blocker.close()
                assert (await waiting).status_code == 200
                await control.until(lambda: _outcomes(tmp_path) == [("trip", "delivered")])
            assert len(web.received) == 1

    asyncio.run(scenario())


def test_while_the_disk_hangs_a_trip_is_told_and_no_work_piles_up_before_the_next_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "LOOK", 0.05)
    monkeypatch.setattr(notifying, "PATIENCE", 0.05)
    monkeypatch.setattr(notifying, "RETRY", 0.01)

    async def scenario() -> None:
        async with receiving() as web:
            async with telling(tmp_path, [hook(web.url)]) as control:
                told, keeper = control.control.notifying, control.control.keeper
                await control.until(lambda: told._resumed)
                hangs = threading.Event()
                stuck = asyncio.get_running_loop().create_task(keeper.run(lambda _: hangs.wait(60)))
                try:
                    # A look is under way by now, and waits for the disk.
                    await control.until(lambda: told._tending is not None and not told._tending.done())
                    killing = asyncio.get_running_loop().create_task(kill(control))
                    (trip,) = await web.count(1)
                    assert trip.document["type"] == "pointsman.trip"
                    for _ in range(20):
                        await told.flush()
                    names = Counter(task.get_name() for task in asyncio.all_tasks())
                    assert (names["keep notifications"], names["tend notifications"]) == (1, 1)
                finally:
                    hangs.set()
                assert await killing == trip.document["data"]["kill"]
                assert await stuck
                await control.until(lambda: _outcomes(tmp_path) == [("trip", "delivered")])
            assert len(web.received) == 1

    asyncio.run(scenario())


def test_a_mistake_of_ours_with_one_notification_silences_none_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, tries = Notifying._message, []

    def mistaken(self: Notifying, entry: Entry) -> Any:
        if entry.notice.topic == "trip":
            tries.append(entry)
            raise TypeError("a mistake")
        return made(self, entry)

    monkeypatch.setattr(Notifying, "_message", mistaken)

    async def scenario() -> None:
        async with receiving() as web:
            async with telling(tmp_path, [hook(web.url)], pace=Pace(0.01, 0.01, patience=0.05)) as control:
                await kill(control)
                await rearm(control)
                (again,) = await web.count(1)
                assert again.document["type"] == "pointsman.rearm"
                await settled(control)
                assert control.control.notifying.outcomes["hook", "given_up"] == 1

    asyncio.run(scenario())
    assert len(tries) > 1
    assert "notification not made" in caplog.text


def _outcomes(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "pointsman.db") as found:
        rows = found.execute("SELECT document, outcome FROM notices WHERE settled IS NOT NULL").fetchall()
    found.close()
    return [(json.loads(document)["topic"], outcome) for document, outcome in rows]


def test_a_receiver_that_is_removed_is_told_nothing_more_and_one_that_changes_is_told_there(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving() as web, receiving() as other:
            web.usual = Reply(500)
            gone = hook(web.url, name="gone")
            async with telling(tmp_path, [hook(web.url), gone]) as control:
                await kill(control)
                await web.count(2)
                changed = {**document(tmp_path), "notifications": [hook(other.url)]}
                write(tmp_path, changed)
                assert (await control.client.post("/api/v1/config/reload")).status_code == 200
                await other.count(1)
                await settled(control)
                assert control.control.notifying.outcomes["gone", "removed"] == 1
                missing = {**changed, "notifications": [hook(other.url, secret_env="NO_SUCH_KEY")]}
                write(tmp_path, missing)
                refused = await control.client.post("/api/v1/config/reload")
                assert (refused.status_code, "NO_SUCH_KEY" in refused.text) == (422, True)

    asyncio.run(scenario())


def test_where_there_is_no_room_the_oldest_that_is_no_trip_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "MOST_WAITING", 3)

    async def scenario() -> None:
        async with receiving() as web:
            web.usual = Reply(500)
            slow = Pace(first=30.0, longest=30.0)
            async with telling(tmp_path, [hook(web.url)], slow) as control:
                events = control.control.events
                await kill(control)
                for number in range(5):
                    events.tell("drill", {"endpoint": "rain", "id": f"d{number}", "state": "failed"})
                told = control.control.notifying
                assert [one.notice.topic for one in told.waiting.values()] == ["trip", "drill", "drill"]
                assert [one.notice.facts["id"] for one in list(told.waiting.values())[1:]] == ["d3", "d4"]
                assert told.outcomes["hook", "dropped"] == 3

    asyncio.run(scenario())


# Lives of a process.


@pytest.fixture
def processes() -> Iterator[list[ControlProcess]]:
    """Control processes that a failed test leaves are killed."""
    started: list[ControlProcess] = []
    yield started
    for control in started:
        control.kill()


def test_what_was_not_delivered_when_the_process_was_killed_is_delivered_in_its_next_life(
    tmp_path: Path, processes: list[ControlProcess]
) -> None:
    port = free_port()
    write(tmp_path, {**document(tmp_path), "notifications": [hook(f"http://127.0.0.1:{port}/hook")]})

    async def first() -> str:
        async with httpx.AsyncClient(base_url=processes[0].admin, timeout=20) as client:
            answer = await client.post("/api/v1/endpoints/rain/kill", json={"reason": "looks wrong"})
            assert answer.status_code == 200, answer.text
            return str(answer.json()["kill"])

    processes.append(ControlProcess(tmp_path))
    killed = asyncio.run(first())
    processes.pop().kill()

    async def second() -> None:
        async with receiving(port) as web:
            processes.append(await asyncio.to_thread(ControlProcess, tmp_path))
            (told,) = await web.count(1)
            assert told.document["data"]["kill"] == killed
            demand_signed(told)

    asyncio.run(second())


def test_a_trip_that_was_not_even_kept_as_told_is_told_in_the_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            with monkeypatch.context() as patched:
                # The process ends between the kill on disk and anything that follows from it.
                patched.setattr(notifying.Notifying, "_tell", lambda *_, **__: None)
                async with telling(tmp_path, [hook(web.url)]) as control:
                    killed = await kill(control)
            assert web.received == []
            for _ in range(2):
                async with here(tmp_path) as control:
                    await control.until(lambda: control.control.notifying._resumed)
                    await web.count(1)
                    await settled(control)
            (told,) = web.received
            assert told.document["data"]["kill"] == killed

    asyncio.run(scenario())


# Training again.


def _pairs(sequence: int, generation: int, y: float) -> list[Any]:
    return [pair(sequence * 100 + n, y, generation=generation) for n in range(40)]


RETRAIN = {"kind": "airflow", "dag": "train_rain", "token_env": "TRAINING_TOKEN", "allow_private": True}
WATCHED = {"guards": {"flips": {"rate": "1%"}, "drift": {"shift": "10%"}, "accuracy": {"drop": "5%"}}}


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, "/api/v2/dags/train_rain/dagRuns"),
        ({"kind": "github", "repository": "acme/rain", "dag": None}, "/repos/acme/rain/dispatches"),
        (
            {"kind": "github", "repository": "acme/rain", "workflow": "train.yml", "dag": None},
            "/repos/acme/rain/actions/workflows/train.yml/dispatches",
        ),
        ({"kind": "webhook", "secret_env": "HOOK_KEY", "token_env": None, "dag": None}, "/"),
    ],
)
def test_drift_and_lost_accuracy_ask_for_a_training_once_in_a_period(
    tmp_path: Path, more: dict[str, Any], path: str
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            base = f"http://127.0.0.1:{web.port}"
            retrain = {**RETRAIN, "url": base if path != "/" else f"{base}/", **more}
            async with telling(tmp_path, [], retrain=retrain, **WATCHED) as control:
                told = {"endpoint": "rain", "version": "rain-2", "reason": "features differ"}
                for _ in range(3):
                    control.control.events.tell("drift", told)
                (asked,) = await web.count(1)
                assert asked.path == path
                said = json.dumps(asked.document)
                assert all(word in said for word in ("rain-2", "drift", "features differ"))
                if path == "/":
                    demand_signed(asked)
                else:
                    assert asked.headers["authorization"] == "Bearer a-token-of-training"
                control.control.events.tell("trip", {**told, "kill": "k", "cause": "guard:accuracy"})
                await web.count(2)
                control.control.events.tell("drift", told)
                await settled(control)
            async with here(tmp_path) as control:
                control.control.events.tell("drift", told)
                control.control.events.tell("drift", {**told, "version": "rain-3"})
                await web.count(3)
                await settled(control)
            asked_for = [one.headers.get("webhook-id") or json.dumps(one.document) for one in web.received]
            assert len(set(asked_for)) == len(asked_for) == 3, "once for each version and cause"

    asyncio.run(scenario())


def test_with_a_user_airflow_is_asked_for_a_token_first_and_a_run_that_is_there_is_no_failure(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with receiving() as web:
            web.replies.extend([
                Reply(401), Reply(201, body=b"no json"), Reply(201, body=b'{"access_token": "fresh"}'),
                Reply(409),
            ])  # fmt: skip
            retrain = {**RETRAIN, "user": "ada", "url": f"http://127.0.0.1:{web.port}"}
            async with telling(tmp_path, [], retrain=retrain, **WATCHED) as control:
                control.control.events.tell("drift", {"endpoint": "rain", "version": "rain-2", "reason": "r"})
                received = await web.count(4)
                await settled(control)
                assert [one.path for one in received] == ["/auth/token"] * 3 + [
                    "/api/v2/dags/train_rain/dagRuns"
                ]
                assert received[0].document == {"username": "ada", "password": "a-token-of-training"}
                run = received[3]
                assert run.headers["authorization"] == "Bearer fresh"
                assert run.document["logical_date"] is None
                assert run.document["conf"]["version"] == "rain-2"
                assert control.control.notifying.outcomes["retrain:rain", "delivered"] == 1

    asyncio.run(scenario())


def test_a_name_that_nobody_knows_is_a_failed_attempt_and_no_error_of_ours(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = hook("http://does-not-exist.invalid/")
        async with telling(tmp_path, [receiver]) as control:
            answer = await control.client.post("/api/v1/notifications/test", json={"receiver": "hook"})
            assert "the name has no address" in answer.json()["detail"]

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 70}.example/"])
def test_what_is_no_name_is_a_failed_attempt_that_quotes_no_url(tmp_path: Path, url: str) -> None:
    async def scenario() -> None:
        async with telling(tmp_path, [hook(url)]) as control:
            answer = await control.client.post("/api/v1/notifications/test", json={"receiver": "hook"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["detail"] == "the URL cannot be used: UnicodeError"

    asyncio.run(scenario())
