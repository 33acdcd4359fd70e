"""The chain on a disk that fails, and against the gateway that it tells of."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from audit import store
from audit.times import iso, micros
from storage.database import Database
from tests.support.control import FLAGS, Here
from tests.support.decisions import Hand, deciding, reconfigured
from tests.support.histories import some

NOON = 1_772_000_000.0
CUTS = 30
"""Places at which the last records are torn, and as many at which a page of them ends, or nearly does."""
FRAME = 4096 + 24
"""Bytes of a page in SQLite's write-ahead log."""


def test_wherever_the_last_records_are_torn_the_chain_starts_and_only_its_end_is_lost(tmp_path: Path) -> None:
    """A crash leaves the write-ahead log cut anywhere: what was whole stays, nothing in the middle goes."""
    events = some(12)
    live = tmp_path / "live.db"
    database = Database.open(f"sqlite:///{live}")
    sizes = []
    for one in events:
        database.write(partial(store.append, events=[one]))
        sizes.append(live.with_name("live.db-wal").stat().st_size)
    torn = tmp_path / "torn"
    found: list[int] = []
    for cut in _cuts(sizes[-4], sizes[-1]):
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir()
        shutil.copy(live, torn / "pointsman.db")
        log = live.with_name("live.db-wal").read_bytes()[:cut]
        (torn / "pointsman.db-wal").write_bytes(log)
        opened = Database.open(f"sqlite:///{torn / 'pointsman.db'}")
        try:
            size = store.verify(opened).size
            whole = sum(written <= cut for written in sizes)
            assert size == whole, f"cut at {cut}"
            opened.write(partial(store.append, events=[events[0]]))
            assert store.verify(opened).size == whole + 1
        finally:
            opened.close()
        found.append(size)
    database.close()
    assert found == sorted(found)
    assert (found[0], found[-1]) == (len(events) - 3, len(events))


def _cuts(low: int, high: int) -> list[int]:
    chance = random.Random(6)
    anywhere = [chance.randrange(low, high) for _ in range(CUTS)]
    ends = [one + chance.choice((-1, 0, 1)) for one in range(low, high, FRAME)]
    return sorted({low, high, *anywhere, *chance.sample(ends, min(CUTS, len(ends)))} - {low - 1, high + 1})


def test_on_a_full_disk_a_kill_is_applied_and_what_asks_for_leave_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            await control.control.recorder.flush()
            await control.control.keeper.run(partial(_room, pages=0))
            kill = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "x" * 2000})
            assert kill.status_code == 200
            assert control.control.switchboard.tripped("rain")
            deadline = asyncio.get_running_loop().time() + 20
            refused = kill
            while refused.status_code != 503 and asyncio.get_running_loop().time() < deadline:
                refused = await control.client.post(
                    "/api/v1/endpoints/rain/rearm", json={"reason": "y" * 2000}
                )
                if refused.status_code == 200:  # a little room was left
                    await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "x" * 2000})
            assert refused.status_code == 503, refused.text
            assert control.control.switchboard.tripped("rain")
            await control.control.keeper.run(partial(_room, pages=1_000_000))
            await control.until(lambda: control.control.recorder.waiting == 0)
            state = (await control.client.get("/api/v1/audit/verify")).json()
            assert state["intact"] is True

    asyncio.run(scenario())


def _room(database: Database, pages: int) -> None:
    database.write(lambda on: on.execute(text(f"PRAGMA max_page_count = {pages or 1}")).close())


def test_what_was_live_is_what_the_gateway_did_at_that_instant(tmp_path: Path) -> None:
    """A random life: after each change the gateway is looked at, and afterwards the chain is asked."""
    chance = random.Random(20)

    async def scenario() -> None:
        hand = Hand(NOON)
        seen: list[tuple[float, dict[str, Any]]] = []
        async with deciding(tmp_path, hand) as control:
            for _ in range(45):
                hand.at += chance.choice((0.0, 0.25, 60.0, -5.0))
                await _anything(control, tmp_path, chance)
                await control.control.recorder.flush()
                now = control.control.recorder.now() / 1e6
                seen.append((now, _doing(control)))
            hand.at = max(hand.at, seen[-1][0]) + 60
            last = dict(seen)  # of one instant the last counts
            for at, doing in last.items():
                answer = await control.client.get("/api/v1/live", params={"at": iso(micros(at))})
                (endpoint,) = answer.json()["endpoints"]
                assert {
                    "tripped": endpoint["switch"]["tripped"],
                    "kills": sorted(one["id"] for one in endpoint["switch"]["kills"]),
                    "configuration": endpoint["configuration"],
                    "weight": round(endpoint["weight"] * 10_000),
                    "flag": endpoint["flag"]["enabled"],
                } == doing, iso(micros(at))
            assert len({json.dumps(doing, sort_keys=True) for doing in last.values()}) > 10

    asyncio.run(scenario())


async def _anything(control: Here, folder: Path, chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "a kill"})
        case 1:
            await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "a re-arm"})
        case 2:
            await reconfigured(control, folder, timeout=f"{chance.randint(100, 900)}ms")
        case 3:
            flag = {**FLAGS["features"][0], "enabled": chance.random() < 0.5}  # type: ignore[index]
            answer = await control.client.put("/api/v1/flags", json={**FLAGS, "features": [flag]})
            assert answer.status_code == 200, answer.text


def _doing(control: Here) -> dict[str, Any]:
    board = control.control.switchboard
    flags = json.loads(board.flags)["features"]
    return {
        "tripped": board.tripped("rain"),
        "kills": sorted(kill.id for kill in board.kill_state("rain").uncleared),
        "configuration": board.settings.digest,
        "weight": board.judge("rain").stage.weight,
        "flag": next(one["enabled"] for one in flags if one["name"] == "canary"),
    }
