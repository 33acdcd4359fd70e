"""Kill and re-arm: what is true first, what is durable when, and who wins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, select

from control.sharing import Alone
from domain.errors import StateUnavailable
from domain.kill import Kill
from killswitch.replication import News
from killswitch.stores.database import DatabaseStore
from storage.database import Database
from storage.tables import CLEARANCES
from tests.support.control import FakeWorker, here, pair

KILL = "/api/v1/endpoints/rain/kill"
REARM = "/api/v1/endpoints/rain/rearm"

T = TypeVar("T")


class Disk:
    """Opens stores whose writes can be made to fail or to wait."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'pointsman.db'}"
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()
        self.written: list[str] = []

    def open(self) -> DatabaseStore:
        if self.broken:
            raise StateUnavailable("the disk is gone")
        return _Store(self)


class _Database(Database):
    """What goes into the kill store and the audit chain together is written here."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._opened = Database.open(disk.url)

    def read(self, work: Callable[[Connection], T]) -> T:
        return self._opened.read(work)

    def write(self, work: Callable[[Connection], T]) -> T:
        self._disk.gate.wait(20)
        if self._disk.broken:
            raise StateUnavailable("the disk is gone")
        answer = self._opened.write(work)
        if self.read(lambda on: on.execute(select(CLEARANCES)).first()) is not None:
            self._disk.written.append("clearance")
        return answer

    def close(self) -> None:
        self._opened.close()


class _Store(DatabaseStore):
    def __init__(self, disk: Disk) -> None:
        super().__init__(_Database(disk))
        self._disk = disk

    def add_kill(self, kill: Kill) -> None:
        self._written(kill.id, lambda: super(_Store, self).add_kill(kill))

    def _written(self, what: str, write: Callable[[], None]) -> None:
        self._disk.gate.wait(20)
        if self._disk.broken:
            raise StateUnavailable("the disk is gone")
        write()
        self._disk.written.append(what)


def test_a_kill_reaches_the_workers_before_it_is_durable_and_is_answered_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        async with here(tmp_path, opener=disk.open) as control:
            worker = await FakeWorker().connect(control.link)
            disk.gate.clear()
            answering = asyncio.get_running_loop().create_task(
                control.client.post(KILL, json={"reason": "drill"})
            )
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            assert disk.written == []
            assert not answering.done()
            disk.gate.set()
            answer = (await answering).json()
            assert disk.written == [answer["kill"]]
            assert answer["durable"] is True
            assert answer["workers"] == 1
            assert answer["confirmed_ms"] >= 0
            assert answer["generation"] == worker.snapshot.generation
            await worker.close()

    asyncio.run(scenario())


def test_a_candidate_is_taken_out_before_a_snapshot_says_so_and_never_by_an_older_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            for _ in range(3):
                assert (await control.client.post(KILL, json={"reason": "drill"})).status_code == 200
            assert (await control.client.post(REARM, json={"reason": "fine"})).status_code == 200
            await worker.until(lambda: not worker.snapshot.endpoint("rain").tripped)
            by_generation = {one.generation: one for one in worker.snapshots}
            assert len(worker.taken_out) == 3
            for endpoint, generation, served in worker.taken_out:
                assert served < generation
                assert by_generation[generation].endpoint(endpoint).tripped
            await worker.close()

    asyncio.run(scenario())


def test_a_kill_with_a_dead_disk_is_applied_said_not_durable_and_kept_when_the_disk_is_back(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        async with here(tmp_path, opener=disk.open) as control:
            worker = await FakeWorker().connect(control.link)
            assert (await control.client.get("/readyz")).json()["ready"] is True
            disk.broken = True
            answer = (await control.client.post(KILL, json={"reason": "drill"})).json()
            assert answer["durable"] is False
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            ready = await control.client.get("/readyz")
            assert ready.status_code == 503
            assert "the disk is gone" in ready.json()["detail"]
            refused = await control.client.post(REARM, json={"reason": "fine"})
            assert refused.status_code == 503
            assert worker.snapshot.endpoint("rain").tripped
            disk.broken = False
            await control.until(lambda: disk.written == [answer["kill"]])
            await control.until(lambda: control.control.keeper.failure is None)
            await control.until(lambda: control.control.recorder.failure is None)
            assert (await control.client.get("/readyz")).status_code == 200
            await worker.close()

    asyncio.run(scenario())


def test_a_kill_that_cannot_be_told_to_the_others_is_in_the_snapshot_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ring(self: Alone, endpoint: str, news: News) -> None:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            assert not worker.snapshot.endpoint("rain").tripped
            monkeypatch.setattr(Alone, "ring", ring)
            assert (await control.client.post(KILL, json={"reason": "bad"})).status_code == 500
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            await worker.close()

    asyncio.run(scenario())


def test_a_worker_that_does_not_confirm_is_waited_for_in_bounds(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            deaf = await FakeWorker(applies=False).connect(control.link)
            answer = (await control.client.post(KILL, json={"reason": "drill"})).json()
            assert answer["confirmed_ms"] is None
            assert answer["durable"] is True
            assert (await control.client.get("/readyz")).status_code == 503
            await deaf.close()

    asyncio.run(scenario())


def test_a_worker_that_leaves_no_longer_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            deaf = await FakeWorker(0, "a", applies=False).connect(control.link)
            well = await FakeWorker(1, "b").connect(control.link)
            answering = asyncio.get_running_loop().create_task(
                control.client.post(KILL, json={"reason": "drill"})
            )
            await deaf.until(lambda: deaf.snapshot.endpoint("rain").tripped)
            await deaf.close()
            answer = (await answering).json()
            assert answer["confirmed_ms"] is not None
            assert answer["workers"] == 1
            await well.close()

    asyncio.run(scenario())


def test_a_rearm_is_durable_before_a_worker_hears_of_it_and_starts_from_shadow(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        plan = [
            {"mode": "canary", "weight": "50%", "pairs": 1},
            {"mode": "canary", "weight": "60%", "pairs": 1},
        ]
        async with here(tmp_path, opener=disk.open, plan=plan) as control:
            worker = await FakeWorker().connect(control.link)
            assert worker.snapshot.endpoint("rain").weight == 5000
            kill = (await control.client.post(KILL, json={"reason": "drill"})).json()["kill"]
            # A kill is answered after a second, whether or not the worker has read its snapshot by then.
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            durable: list[bool] = []
            worker.on_publish = lambda snapshot: durable.append("clearance" in disk.written)
            answer = await control.client.post(REARM, json={"reason": "fixed", "kills": [kill]})
            assert answer.json()["cleared"] == [kill]
            await worker.until(lambda: not worker.snapshot.endpoint("rain").tripped)
            assert durable == [True]
            rain = worker.snapshot.endpoint("rain")
            assert (rain.mode, rain.weight) == ("shadow", 0)
            shown = await control.endpoint()
            assert shown["release"]["stage"] == -1
            assert shown["pairs"]["judged"] == 0
            await worker.close()

    asyncio.run(scenario())


def test_a_rearm_clears_exactly_what_was_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            first = (await control.client.post(KILL, json={"reason": "one"})).json()["kill"]
            second = (await control.client.post(KILL, json={"reason": "two"})).json()["kill"]
            stale = await control.client.post(REARM, json={"reason": "fixed", "kills": [first]})
            assert stale.status_code == 409
            assert second in stale.json()["detail"]
            both = await control.client.post(REARM, json={"reason": "fixed"})
            assert both.json()["cleared"] == sorted([first, second])
            nothing = await control.client.post(REARM, json={"reason": "again"})
            assert nothing.status_code == 409

    asyncio.run(scenario())


def test_a_kill_during_a_rearm_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        async with here(tmp_path, opener=disk.open) as control:
            worker = await FakeWorker().connect(control.link)
            loop = asyncio.get_running_loop()
            await control.client.post(KILL, json={"reason": "one"})
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            tripped = len(worker.snapshots)
            disk.gate.clear()
            rearming = loop.create_task(control.client.post(REARM, json={"reason": "fixed"}))
            await control.until(control.control.switchboard.changing.locked)
            killing = loop.create_task(control.client.post(KILL, json={"reason": "two"}))
            await worker.until(lambda: len(worker.snapshots) > tripped)
            disk.gate.set()
            second = (await killing).json()["kill"]
            assert (await rearming).status_code == 409
            assert all(snapshot.endpoint("rain").tripped for snapshot in worker.snapshots[tripped - 1 :])
            shown = await control.endpoint()
            assert [kill["id"] for kill in shown["switch"]["kills"]] == [second]
            await worker.close()

    asyncio.run(scenario())


def test_pairs_from_before_a_rearm_say_nothing_about_the_candidate_after_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            before = worker.snapshot.generation
            await control.client.post(KILL, json={"reason": "bad"})
            await control.client.post(REARM, json={"reason": "fixed"})
            await worker.send([pair(n, 0.9, generation=before) for n in range(500)], 1)
            shown = await control.endpoint()
            assert not shown["switch"]["tripped"]
            assert shown["pairs"] == {"judged": 0, "flips": 0, "faults": 0, "stale": 500, "shed": 0}
            await worker.close()

    asyncio.run(scenario())


def test_unreadable_state_takes_every_candidate_out_and_no_incumbent(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk(tmp_path)
        disk.broken = True
        async with here(tmp_path, opener=disk.open) as control:
            worker = await FakeWorker().connect(control.link)
            rain = worker.snapshot.endpoint("rain")
            assert rain.tripped
            assert rain.incumbent.name == "rain-1"
            shown = await control.endpoint()
            assert shown["switch"]["tripped"]
            assert shown["switch"]["unreadable"] == "the disk is gone"
            assert (await control.client.post(REARM, json={"reason": "x"})).status_code == 503
            disk.broken = False
            await worker.until(lambda: not worker.snapshot.endpoint("rain").tripped)
            assert (await control.client.get("/readyz")).status_code == 200
            await worker.close()

    asyncio.run(scenario())


def test_a_breach_whose_kill_was_lost_trips_again_after_a_restart(tmp_path: Path) -> None:
    class NoKills(_Store):
        def add_kill(self, kill: Kill) -> None:
            raise StateUnavailable("no kills today")

    async def scenario() -> None:
        disk = Disk(tmp_path)
        async with here(tmp_path, opener=lambda: NoKills(disk)) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            await worker.send([pair(n, 0.9, generation=generation) for n in range(64)], 1)
            assert worker.snapshot.endpoint("rain").tripped
            await worker.close()
        async with here(tmp_path) as control:
            switch = (await control.endpoint())["switch"]
            assert switch["tripped"]
            assert switch["kills"][0]["actor"] == "guard:flips"

    asyncio.run(scenario())
