"""The recorder and the heads: order, lateness, time, and what happens while the database is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.event import listen as listens
from sqlalchemy.event import remove

from audit import pages, store
from audit.event import Event, decode
from audit.heads import read
from control.audit_heads import HeadKeeper, last_head
from control.audit_recorder import MOST_AT_ONCE, Recorder
from control.clock import Clock
from control.keeper import Keeper
from domain.errors import ConfigError, StateUnavailable
from killswitch.stores.database import DatabaseStore
from settings.schema import AuditSettings
from shadow.tasks import Tasks


class Parts:
    """A recorder over a real database that can be made to fail, with a clock in hand."""

    def __init__(self, folder: Path) -> None:
        self.wall = 1000.0
        self.broken = False
        self.clock = Clock(wall=lambda: self.wall, monotonic=lambda: 7.0)
        self.tasks = Tasks(self.fail)
        self._store: DatabaseStore | None = None
        self._url = f"sqlite:///{folder / 'audit.db'}"
        self.keeper = Keeper(self.open, self.tasks)
        self.recorder = Recorder(
            self.keeper, self.clock, self.tasks, replica="a", version="1", shown=lambda settings: {}
        )
        self.settings = AuditSettings(str(folder / "audit.key"), str(folder / "heads.jsonl"), 3600.0)

    def fail(self, task: str, error: BaseException) -> None:
        raise AssertionError(task) from error

    def open(self) -> DatabaseStore:
        if self.broken:
            raise StateUnavailable("the disk is gone")
        self._store = DatabaseStore.open(self._url)
        return self._store

    def lose(self) -> None:
        self.broken = True
        if self._store is not None:
            self._store.close()

    def event(self, action: str = "stage.moved") -> Event:
        return self.recorder.event(action, "note", "rain")

    async def kept(self) -> list[Event]:
        found = await self.keeper.run(lambda database: database.read(lambda on: pages.rows(on, 0, 10_000)))
        await self.keeper.run(store.verify)
        return [decode(content)[1] for _, content, _ in found if content is not None]

    async def until_kept(self) -> None:
        async with asyncio.timeout(20):
            while self.recorder.waiting:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)


@asynccontextmanager
async def parts(folder: Path) -> AsyncIterator[Parts]:
    made = Parts(folder)
    try:
        yield made
    finally:
        await made.tasks.cancel()
        await made.keeper.close()


def lines(path: str) -> list[bytes]:
    return Path(path).read_bytes().splitlines()


def last_sizes_of_every_cut(path: Path) -> set[int | None]:
    """What the last head of the file is, wherever its second line is cut; it stays cut."""
    whole, found = path.read_bytes(), set()
    for cut in range(len(whole.splitlines()[0]) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        head = last_head(path)
        found.add(None if head is None else head.size)
    return found


def test_what_is_told_is_kept_in_its_order_however_much_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            made.tasks.spawn(made.recorder.run(), "audit")
            count = MOST_AT_ONCE + 7
            for number in range(count):
                made.recorder.tell(made.event(f"number.{number}"))
            assert await made.recorder.settled(20)
            kept = await made.kept()
            assert [one.action for one in kept] == [f"number.{number}" for number in range(count)]
            assert not any(one.late for one in kept)
            assert made.recorder.recorded == count

    asyncio.run(scenario())


def test_what_happened_while_the_database_was_gone_is_recorded_on_its_return_in_order_and_flagged(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            made.tasks.spawn(made.recorder.run(), "audit")
            made.recorder.tell(made.event("before"))
            assert await made.recorder.settled(20)
            made.lose()
            for action in ("one", "two"):
                made.wall += 1
                made.recorder.tell(made.event(action))
            assert not await made.recorder.settled(0.05)
            with pytest.raises(StateUnavailable, match="the disk is gone"):
                await made.recorder.together(lambda on: None, made.event("refused"))
            assert made.recorder.failure is not None
            made.broken = False
            await made.until_kept()
            await made.recorder.together(lambda on: None, made.event("after"))
            kept = await made.kept()
            assert [one.action for one in kept] == ["before", "one", "two", "after"]
            assert [one.late for one in kept] == [False, True, True, False]
            assert [one.at for one in kept[:3]] == [1_000_000_000, 1_001_000_000, 1_002_000_000]
            assert (made.recorder.failure, made.recorder.late) == (None, 2)

    asyncio.run(scenario())


def test_what_goes_together_comes_after_all_that_was_told_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            made.recorder.tell(made.event("told"))
            answer = await made.recorder.together(lambda on: "done", made.event("together"), text=b"{}")
            assert (answer, made.recorder.waiting) == ("done", 0)
            assert [one.action for one in await made.kept()] == ["told", "together"]

    asyncio.run(scenario())


def test_whoever_writes_the_chain_holds_it_before_anything_else(tmp_path: Path) -> None:
    asked: list[str] = []

    def listen(*told: object) -> None:
        asked.append(str(told[2]))

    async def scenario() -> None:
        async with parts(tmp_path) as made:
            await made.kept()
            listens(Engine, "before_cursor_execute", listen)
            try:
                made.recorder.tell(made.event("told"), b"a text")
                await made.recorder.flush()
                flushed = tuple(asked)
                asked.clear()
                await made.recorder.together(
                    lambda on: on.execute(text("SELECT 'the work'")), made.event("together")
                )
            finally:
                remove(Engine, "before_cursor_execute", listen)
            for statements in (flushed, tuple(asked)):
                first = next(one for one in statements if not one.startswith("BEGIN"))
                assert first.startswith("SELECT")
                assert "audit_head" in first

    asyncio.run(scenario())


def test_the_chain_lacks_what_waits_from_its_earliest_instant_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            late = made.event()
            made.wall += 1
            lacking = [made.recorder.lacking_since]
            made.recorder.tell(made.event())
            lacking.append(made.recorder.lacking_since)
            made.recorder.tell(late)
            lacking.append(made.recorder.lacking_since)
            await made.recorder.flush()
            lacking.append(made.recorder.lacking_since)
            assert lacking == [None, 1_001_000_000, 1_000_000_000, None]

    asyncio.run(scenario())


def test_work_that_fails_leaves_no_record_and_loses_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            made.recorder.tell(made.event("told"))
            with pytest.raises(ZeroDivisionError):
                await made.recorder.together(lambda on: 1 // 0, made.event("never"))
            assert made.recorder.waiting == 1
            await made.recorder.flush()
            assert [one.action for one in await made.kept()] == ["told"]

    asyncio.run(scenario())


def test_time_never_runs_back_whatever_is_done_to_the_clock(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            made.recorder.tell(made.event())
            made.wall -= 3600
            made.recorder.tell(made.event())
            await made.recorder.flush()
            kept = await made.kept()
            assert [one.at for one in kept] == [1_000_000_000] * 2
            assert [one.wall for one in kept] == [1_000_000_000, -2_600_000_000]
        async with parts(tmp_path) as made:  # and not over a restart
            made.wall = 500.0
            made.tasks.spawn(made.recorder.run(), "audit")
            async with asyncio.timeout(20):
                while made.recorder.now() < 1_000_000_000:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_head_is_taken_when_the_chain_has_grown_and_never_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            heads = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            await heads.open()
            await heads.take()
            assert heads.last is None
            made.recorder.tell(made.event())
            await made.recorder.flush()
            await heads.take()
            await heads.take()
            assert heads.taken == 1
            (head,) = read(lines(made.settings.heads), [heads.key or b""])
            assert head == heads.last
            await made.keeper.run(lambda database: store.verify(database, [head]))

    asyncio.run(scenario())


def test_a_last_line_that_a_crash_cut_is_passed_over_and_the_next_head_stands_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            heads = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            await heads.open()
            for _ in range(2):
                made.recorder.tell(made.event())
                await made.recorder.flush()
                await heads.take()
            assert last_sizes_of_every_cut(Path(made.settings.heads)) == {1}
            again = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            await again.open()
            await again.take()
            assert again.last is not None
            assert lines(made.settings.heads)[-1] == again.last.line()

    asyncio.run(scenario())


def lose_database(folder: Path) -> None:
    for file in folder.glob("*.db*"):
        file.unlink()


def test_a_chain_that_was_cut_short_is_never_signed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            heads = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            await heads.open()
            for _ in range(3):
                made.recorder.tell(made.event())
            await made.recorder.flush()
            await heads.take()
            before = heads.last
        lose_database(tmp_path)
        async with parts(tmp_path) as made:
            again = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            await again.open()
            made.recorder.tell(made.event())
            await made.recorder.flush()
            await again.take()
            assert again.last == before
            assert again.problem is not None
            assert "cut short" in again.problem
            assert len(lines(made.settings.heads)) == 1

    asyncio.run(scenario())


def test_a_disk_that_gives_no_key_refuses_nothing_and_heads_are_taken_when_it_is_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(tmp_path) as made:
            (tmp_path / "away").write_text("a file where a folder should be")
            settings = replace(made.settings, key=str(tmp_path / "away" / "audit.key"))
            heads = HeadKeeper(settings, made.recorder, made.keeper, made.clock)
            await heads.try_open()
            assert heads.problem is not None
            assert "audit.key" in heads.problem
            made.recorder.tell(made.event())
            await made.recorder.flush()
            await heads.take()
            assert heads.taken == 0
            (tmp_path / "away").unlink()
            made.tasks.spawn(heads.run(), "heads")
            async with asyncio.timeout(30):
                while heads.key is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await heads.take()
            assert (heads.taken, heads.problem) == (1, None)

    asyncio.run(scenario())


def test_heads_that_cannot_be_relied_upon_refuse_the_start(tmp_path: Path) -> None:
    (tmp_path / "heads.jsonl").write_text("what is this\n")

    async def scenario() -> None:
        async with parts(tmp_path) as made:
            heads = HeadKeeper(made.settings, made.recorder, made.keeper, made.clock)
            with pytest.raises(ConfigError, match=r"audit\.heads.*move the file away"):
                await heads.open()

    asyncio.run(scenario())
