"""Following a registry: from an alias that moves to a release, a promotion, and back; by every replica."""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from control import process
from control.following import FollowDesk
from domain.errors import StateUnavailable
from gates.release import Phase
from tests.support.control import FakeWorker, Here, document, here, pair, write
from tests.support.registry_server import Asked, RegistryServer, Reply

GATE = (
    "import os, json; fine = os.environ['POINTSMAN_CANDIDATE'].startswith('rain-'); "
    "print(json.dumps({'verdict': 'pass' if fine else 'fail'})); raise SystemExit(0 if fine else 1)"
)
NUMBERS = itertools.count(1)


class Names:
    """Aliases of one model. `down`: it cannot be asked; `moves`: what it was told."""

    def __init__(self, **aliases: str) -> None:
        self.aliases = aliases
        self.down = False
        self.moves: list[tuple[str, str]] = []

    async def named(self, model: str, alias: str) -> str | None:
        if self.down:
            raise StateUnavailable("MLflow cannot be reached")
        return self.aliases.get(alias)

    async def name(self, model: str, alias: str, version: str) -> None:
        if self.down:
            raise StateUnavailable("MLflow cannot be reached")
        self.moves.append((alias, version))
        self.aliases[alias] = version

    async def close(self) -> None:
        """There is nothing to let go."""


class NeverLeads:
    """The lease of a replica that somebody else leads."""

    def held(self) -> int | None:
        return None


def configuration(folder: Path, url: str, **follow: Any) -> dict[str, Any]:
    endpoint = {
        "flag": None,
        "candidate": None,
        "guards": {"flips": {"rate": "10%"}, "certify": False, "vote": {"per": "pair"}},
        "plan": [{"mode": "shadow", "pairs": 20}],
        "watch": "1s",
        "gates": {"custom": [{"name": "own", "command": [sys.executable, "-c", GATE]}]},
        "follow": {
            "model": "rain", "candidate": "challenger", "incumbent": "champion", "settle": "0s",
            "urls": [f"{url}/{{name}}/{{version}}"], "health": "/ready", "promote": True, **follow,
        },
    }  # fmt: skip
    whole = document(folder, **endpoint)
    return {**whole, "registry": {"mlflow": {"url": "http://127.0.0.1:9"}, "poll": "100ms"}}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names(champion="1", challenger="2")
    monkeypatch.setattr(process, "FollowDesk", partial(FollowDesk, opener=lambda server: found))
    return found


async def until(control: Here, incumbent: str, candidate: str | None) -> None:
    async with asyncio.timeout(60):
        while served(control) != (incumbent, candidate):
            await control.control.following.look()
            await asyncio.sleep(0.02)


async def gates_ended(control: Here) -> None:
    await control.until(lambda: not control.control.releases._running)


async def problem(control: Here, said: str) -> None:
    async with asyncio.timeout(60):
        while said not in control.control.following.problems.get("rain", ""):
            await control.control.following.look()
            await asyncio.sleep(0.02)


def served(control: Here) -> tuple[str, str | None]:
    found = control.control.switchboard.judge("rain").settings
    return found.incumbent.name, None if found.candidate is None else found.candidate.name


async def releases(control: Here) -> list[tuple[str, str, str]]:
    await control.control.releases.look()
    found = (await control.client.get("/api/v1/releases?endpoint=rain")).json()["releases"]
    return [(one["incumbent"], one["candidate"], one["phase"]) for one in reversed(found)]


async def records(control: Here) -> list[dict[str, Any]]:
    found = (await control.client.get("/api/v1/audit?limit=1000")).json()["events"]
    return [one for one in found if one["kind"] in ("follow", "endpoint")]


def test_an_alias_that_moves_starts_a_release_and_what_is_released_becomes_the_incumbent(
    tmp_path: Path, names: Names
) -> None:
    ready = {"/rain/1/ready", "/rain/2/ready"}

    def answer(asked: Asked) -> Reply:
        return Reply({}, 200 if asked.path in ready else 503)

    async def scenario(url: str) -> None:
        write(tmp_path, configuration(tmp_path, url))
        async with here(tmp_path) as control:
            await until(control, "rain-1", "rain-2")
            assert await releases(control) == [("rain-1", "rain-2", "gating")]
            shown = (await control.client.get("/api/v1/config")).json()["followed"]["rain"]
            assert shown == {"model": "rain", "candidate": "2", "incumbent": None, "problem": None}
            names.down = True
            await problem(control, "cannot be reached")
            assert served(control) == ("rain-1", "rain-2"), "what was taken stays"
            names.down = False
            names.aliases["challenger"] = "3"
            await problem(control, "503")
            assert served(control) == ("rain-1", "rain-2"), "nobody is sent to a server that is not there"
            ready.add("/rain/3/ready")
            await until(control, "rain-1", "rain-3")
            assert [one[1:] for one in await releases(control)] == [
                ("rain-2", "aborted"), ("rain-3", "gating"),
            ]  # fmt: skip
            names.aliases["challenger"] = "1"
            await until(control, "rain-1", None)
            assert [phase for _, _, phase in await releases(control)] == ["aborted", "aborted"]
            names.aliases["champion"] = "3"
            await problem(control, "no release here has brought it there")
            assert served(control) == ("rain-1", None)
            names.aliases["champion"] = "1"
            del names.aliases["challenger"]
            await control.control.following.look()
            assert served(control) == ("rain-1", None)
            live = [one["after"]["candidate"] for one in await records(control) if one["kind"] == "endpoint"]
            assert live == [None, "rain-2", "rain-3", None]
            await gates_ended(control)

    server = RegistryServer(answer)
    try:
        asyncio.run(scenario(server.url))
    finally:
        server.stop()


def test_a_released_version_is_promoted_once_and_an_operator_can_go_back(
    tmp_path: Path, names: Names
) -> None:
    async def feed(worker: FakeWorker) -> None:
        number = next(NUMBERS)
        generation = worker.snapshot.generation
        await worker.send([pair(number * 100 + n, generation=generation) for n in range(10)], number)

    async def first(url: str) -> None:
        write(tmp_path, configuration(tmp_path, url))
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            await until(control, "rain-1", "rain-2")
            async with asyncio.timeout(80):
                while names.aliases["champion"] != "2":
                    await feed(worker)
                    await control.control.following.look()
                    found = control.control.releases.latest.get("rain")
                    if found is not None and found.phase is not Phase.DONE:
                        assert names.moves == [], "nothing is promoted before its release is done"
            await until(control, "rain-2", None)
            assert names.moves == [("champion", "2")]
            assert [phase for _, _, phase in await releases(control)] == ["done"]
            await worker.until(lambda: worker.snapshot.endpoint("rain").incumbent.name == "rain-2")
            assert worker.snapshot.endpoint("rain").candidate is None
            await worker.close()

    async def second() -> None:
        names.down = True
        async with here(tmp_path) as control:
            assert served(control) == ("rain-2", None), "from the start on, whatever the registry says"
            names.down = False
            names.aliases["champion"] = "1"
            await until(control, "rain-1", None)
            for _ in range(3):
                await control.control.following.look()
            assert names.moves == [("champion", "2")], "what an operator took back is not promoted again"
            assert served(control) == ("rain-1", None)
            follows = [one for one in await records(control) if one["kind"] == "follow"]
            changed = [one["action"] for one in follows if one["action"] != "follow.refused"]
            assert changed == ["follow.changed", "follow.promoted", "follow.changed", "follow.changed"]

    server = RegistryServer(lambda asked: Reply({}))
    try:
        asyncio.run(first(server.url))
        asyncio.run(second())
    finally:
        server.stop()


def test_every_replica_takes_what_the_leader_took_and_asks_nobody_itself(
    tmp_path: Path, names: Names
) -> None:
    async def scenario(url: str) -> None:
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
            whole = configuration(folder, url)
            write(folder, {**whole, "state": {"database": f"sqlite:///{tmp_path}/shared.db"}})
        async with here(folders[0]) as leader, here(folders[1]) as other:
            for desk in (other.control.following, other.control.releases):
                desk._lease = NeverLeads()  # type: ignore[attr-defined]
            await until(leader, "rain-1", "rain-2")
            async with asyncio.timeout(60):
                while (await releases(leader))[-1:] != [("rain-1", "rain-2", "shadow")]:
                    await leader.control.following.look()
            names.down = True
            await until(other, "rain-1", "rain-2")
            assert other.control.following.problems == {}
            row = (await other.control.following._read())["rain"]
            assert (row.steps, row.standing.candidate) == (1, "2")
            whole = configuration(folders[0], url)
            whole["endpoints"]["rain"]["timeout"] = "300ms"
            write(folders[0], {**whole, "state": {"database": f"sqlite:///{tmp_path}/shared.db"}})
            assert (await leader.client.post("/api/v1/config/reload")).json()["changed"]
            assert served(leader) == ("rain-1", "rain-2"), "another file, the same versions"
            assert leader.control.switchboard.judge("rain").settings.timeout == 0.3

    server = RegistryServer(lambda asked: Reply({}))
    try:
        asyncio.run(scenario(server.url))
    finally:
        server.stop()


def test_nothing_is_made_the_incumbent_while_its_trip_is_not_rolled_back_yet(
    tmp_path: Path, names: Names
) -> None:
    async def scenario(url: str) -> None:
        write(tmp_path, configuration(tmp_path, url))
        async with here(tmp_path) as control:
            await until(control, "rain-1", "rain-2")
            await releases(control)
            await gates_ended(control)
            desk, following = control.control.releases, control.control.following
            async with desk._turn, following._turn:  # nobody looks
                desk.latest["rain"] = replace(desk.latest["rain"], phase=Phase.DONE)
                at = following.known["rain"]
                assert following._released("rain", at) == "2"
                for word in ("kill", "rearm"):
                    told = await control.client.post(
                        f"/api/v1/endpoints/rain/{word}", json={"reason": "for a moment"}
                    )
                    assert told.status_code == 200, told.text
                    assert following._released("rain", at) is None, word

    server = RegistryServer(lambda asked: Reply({}))
    try:
        asyncio.run(scenario(server.url))
    finally:
        server.stop()


def test_an_alias_that_does_not_settle_moves_nothing(tmp_path: Path, names: Names) -> None:
    async def scenario(url: str) -> None:
        write(tmp_path, configuration(tmp_path, url, settle="1h"))
        async with here(tmp_path) as control:
            for number in ("2", "3", "2", "3"):
                names.aliases["challenger"] = number
                control.control.following._due = 0.0
                await control.control.following.look()
            assert served(control) == ("rain-1", None)
            assert await releases(control) == []

    server = RegistryServer(lambda asked: Reply({}))
    try:
        asyncio.run(scenario(server.url))
    finally:
        server.stop()
