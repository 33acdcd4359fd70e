"""The audit chain of a control process: what is recorded, when, and what was live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from audit import heads
from audit.chain import BrokenChain
from audit.event import read_line
from audit.times import iso, parse
from console.auditing import verify_database, verify_lines
from domain.errors import StateUnavailable
from killswitch.stores.database import DatabaseStore
from tests.support.control import Here, document, here, write

KILL = "/api/v1/endpoints/rain/kill"
REARM = "/api/v1/endpoints/rain/rearm"


async def events(control: Here) -> list[dict[str, Any]]:
    answer = await control.client.get("/api/v1/audit?limit=1000")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


async def live(control: Here, at: str | None = None) -> dict[str, Any]:
    answer = await control.client.get("/api/v1/live", params={} if at is None else {"at": at})
    assert answer.status_code == 200, answer.text
    (endpoint,) = answer.json()["endpoints"]
    assert isinstance(endpoint, dict)
    return endpoint


async def export(control: Here) -> list[bytes]:
    return (await control.client.get("/api/v1/audit/export")).content.splitlines(keepends=True)


def test_what_was_live_is_told_for_every_instant_with_the_records_that_made_it_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            began = (await live(control))["since"]
            kill = (await control.client.post(KILL, json={"reason": "looks wrong"})).json()["kill"]
            killed = (await control.client.get("/api/v1/live")).json()
            await control.client.post(REARM, json={"reason": "looked again"})
            assert (await live(control))["switch"]["tripped"] is False
            then = await live(control, killed["at"])
            assert then["switch"]["tripped"] is True
            assert [(one["id"], one["reason"]) for one in then["switch"]["kills"]] == [(kill, "looks wrong")]
            assert [one["action"] for one in killed["events"]][-1] == "switch.tripped"
            assert (await live(control, began))["switch"]["tripped"] is False
            digest = then["configuration"]
            assert killed["configurations"][digest]["endpoints"]["rain"]["incumbent"]["version"] == "rain-1"
            assert then["incumbent"] == {"version": "rain-1", "lineage": None}

    asyncio.run(scenario())


def test_a_changed_configuration_and_changed_flags_are_recorded_with_who_and_what(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            before = (await live(control))["configuration"]
            write(tmp_path, document(tmp_path, timeout="3s"))
            assert (await control.client.post("/api/v1/config/reload")).json()["changed"] is True
            found = await events(control)
            (loaded,) = [one for one in found if one["action"] == "configuration.loaded"]
            after = (await live(control))["configuration"]
            assert loaded["after"]["configuration"] == after != before
            assert loaded["actor"] == "operator"
            configured = [one for one in found if one["action"] == "endpoint.configured"]
            assert [one["after"]["configuration"] for one in configured] == [after]

    asyncio.run(scenario())


def test_the_export_verifies_and_each_spoilt_copy_of_it_does_not(tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        async with here(tmp_path) as control:
            await control.client.post(KILL, json={"reason": "one"})
            await control.client.post(REARM, json={"reason": "two"})
            state = (await control.client.get("/api/v1/audit/verify")).json()
            assert state["intact"] is True
            lines = await export(control)
            assert state["size"] == len(lines)
            proof = (await control.client.get("/api/v1/audit/2/proof")).json()
            assert proof["root"] == state["root"]
            return lines

    lines = asyncio.run(scenario())
    known = heads.read((tmp_path / "pointsman-audit-heads.jsonl").read_bytes().splitlines())
    whole = verify_database(f"sqlite:///{tmp_path / 'pointsman.db'}", known)  # one more record: the stop
    assert (whole.size, whole.heads) == (len(lines) + 1, 1)
    assert verify_lines(lines, (), "export").size == len(lines)
    for at in range(len(lines)):
        with pytest.raises(BrokenChain):
            verify_lines([*lines[:at], *lines[at + 1 :]], known, "export")
        content, _ = read_line(lines[at])
        assert content is not None
        spoilt = lines[at].replace(b'"late":false', b'"late":true ')
        with pytest.raises(BrokenChain, match=f"record {at + 1}:"):
            verify_lines([*lines[:at], spoilt, *lines[at + 1 :]], known, "export")


def test_a_restart_goes_on_with_the_chain_and_ends_what_was_live(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            first = await events(control)
        async with here(tmp_path) as control:
            found = await events(control)
            actions = [one["action"] for one in found]
            assert actions[: len(first)] == [one["action"] for one in first]
            stopped = actions.index("gateway.stopped")
            answer = await control.client.get("/api/v1/live", params={"at": found[stopped]["at"]})
            assert answer.json()["endpoints"] == []
            assert (await live(control))["incumbent"]["version"] == "rain-1"
            assert control.control.heads.problem is None

    asyncio.run(scenario())


class Disk:
    """Opens the database of `folder` unless it is broken."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'pointsman.db'}"
        self.broken = False
        self.store: DatabaseStore | None = None

    def open(self) -> DatabaseStore:
        if self.broken:
            raise StateUnavailable("the disk is gone")
        self.store = DatabaseStore.open(self.url)
        return self.store

    def fail(self) -> None:
        self.broken = True
        assert self.store is not None
        self.store.close()


def test_while_nothing_can_be_recorded_a_kill_is_applied_and_nothing_is_let_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        async with here(tmp_path, opener=disk.open) as control:
            await events(control)
            disk.fail()
            killing = asyncio.get_running_loop().create_task(
                control.client.post(KILL, json={"reason": "bad"})
            )
            await control.until(lambda: control.control.switchboard.tripped("rain"))
            assert (await killing).json()["durable"] is False
            assert (await control.client.post(REARM, json={"reason": "no"})).status_code == 503
            write(tmp_path, document(tmp_path, timeout="3s"))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 503
            assert control.control.switchboard.settings.endpoint("rain").timeout == 0.2
            assert control.control.switchboard.judges["rain"].may_move() is False
            assert (await control.client.get("/readyz")).status_code == 503
            disk.broken = False
            await control.until(lambda: control.control.recorder.waiting == 0)
            found = await events(control)
            (tripped,) = [one for one in found if one["action"] == "switch.tripped"]
            assert tripped["late"] is True
            assert (await live(control, tripped["at"]))["switch"]["tripped"] is True
            assert (await control.client.post(REARM, json={"reason": "yes"})).status_code == 200

    asyncio.run(scenario())


def test_while_the_chain_cannot_be_written_what_was_live_is_told_until_then_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            whole = (await control.client.get("/api/v1/live")).json()["at"]
            await asyncio.to_thread(_damage, tmp_path)
            await control.client.post(KILL, json={"reason": "bad"})
            assert control.control.switchboard.tripped("rain")
            answer = await control.client.get("/api/v1/live")
            assert answer.status_code == 503
            assert "is not recorded yet: record 2: the head of the chain is damaged" in answer.text
            since = control.control.recorder.lacking_since
            assert since is not None
            answer = await control.client.get("/api/v1/live", params={"at": iso(since)})
            assert answer.status_code == 503
            assert (await live(control, whole))["switch"]["tripped"] is False

    asyncio.run(scenario())


def _damage(folder: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(folder / "pointsman.db")
    with connection:
        connection.execute("UPDATE audit_head SET subtrees = x'00'")
    connection.close()


def test_a_kill_that_was_kept_and_not_recorded_before_a_crash_is_recorded_at_the_next_start(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            kill = (await control.client.post(KILL, json={"reason": "one"})).json()["kill"]
            await control.control.recorder.settled()
        chain = ("records", "intervals", "kills", "places")
        await asyncio.to_thread(_forget, tmp_path, chain)
        async with here(tmp_path) as control:
            await control.until(lambda: control.control.recorder.late > 0)
            first = (await events(control))[0]
            assert (first["action"], first["after"]["kill"]) == ("switch.tripped", kill)
            assert (first["late"], first["result"]) == (True, "recovered")
            await control.until(lambda: control.control.heads.problem is not None)

    asyncio.run(scenario())


def _forget(folder: Path, tables: tuple[str, ...]) -> None:
    import sqlite3

    connection = sqlite3.connect(folder / "pointsman.db")
    with connection:
        for name in tables:
            connection.execute(f"DELETE FROM audit_{name}")
        connection.execute("UPDATE audit_head SET size = 0, hash = zeroblob(32), subtrees = x''")
    connection.close()


@pytest.mark.parametrize(
    ("at", "complaint"),
    [
        ("2026-03-01T14:30:00", "with its offset"),
        ("yesterday", "ISO 8601"),
        ("1999-01-01T00:00:00Z", "does not reach back so far: it begins at"),
        ("2999-01-01T00:00:00Z", "nobody knows yet"),
    ],
)
def test_a_time_that_cannot_be_answered_is_refused_with_the_way_out(
    tmp_path: Path, at: str, complaint: str
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            answer = await control.client.get("/api/v1/live", params={"at": at})
            assert answer.status_code == 422
            assert complaint in answer.json()["detail"]
            assert answer.json()["errors"][0]["field"] == "at"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/live?endpoint=snow", 404),
        ("/api/v1/audit/999/proof", 404),
        ("/api/v1/audit/2/proof?size=1", 404),
        ("/api/v1/audit/0/proof", 422),
        ("/api/v1/audit?limit=0", 422),
        ("/api/v1/audit/versions/rain-9/mlbom", 404),
    ],
)
def test_what_the_chain_does_not_have_is_said(tmp_path: Path, path: str, status: int) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            answer = await control.client.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"

    asyncio.run(scenario())


def test_the_lineage_of_a_version_is_shown_where_it_was_live(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            lineage = {
                "source": "mlflow",
                "version": "7",
                "datasets": [{"name": "rain", "digest": "sha256:00"}],
            }
            control.control.recorder.lineage("rain-1", None, lineage)
            assert (await live(control))["incumbent"]["lineage"] == lineage
            bill = (await control.client.get("/api/v1/audit/versions/rain-1/mlbom")).json()
            assert bill["metadata"]["component"]["version"] == "7"

    asyncio.run(scenario())


def test_a_record_tells_its_time_as_the_chain_keeps_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            for line, shown in zip(await export(control), await events(control), strict=True):
                record = json.loads(line)["record"]
                assert shown["at"] == iso(record["at"])
                assert parse(shown["at"]) == record["at"]

    asyncio.run(scenario())
