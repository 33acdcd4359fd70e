"""The way to the store: one thread, in order, whatever it is that somebody does with the database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from control.keeper import Keeper
from domain.errors import StateUnavailable
from domain.kill import Kill
from killswitch.stores.database import DatabaseStore
from shadow.tasks import Tasks
from storage.database import Database
from storage.tables import KILLS


class Opening:
    """Opens the store, as often as it is asked to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened = 0

    def __call__(self) -> DatabaseStore:
        self.opened += 1
        return DatabaseStore.open(self.url)


@asynccontextmanager
async def keeping(opening: Opening) -> AsyncIterator[Keeper]:
    failures: list[BaseException] = []
    tasks = Tasks(lambda name, error: failures.append(error))
    keeper = Keeper(opening, tasks, retry=0.01)
    yield keeper
    await tasks.cancel()
    await keeper.close()
    assert not failures


def kills(database: Database) -> int:
    return database.read(lambda on: on.execute(select(func.count()).select_from(KILLS)).scalar_one())


def test_work_runs_in_the_store_s_thread_and_sees_what_was_kept(database_url: str) -> None:
    async def scenario() -> None:
        opening = Opening(database_url)
        async with keeping(opening) as keeper:
            made = [Kill(f"kill-{n}", "rain", "ada", "drill", 1.0, "v") for n in range(5)]
            kept = [keeper.keep_kill(kill, patience=60) for kill in made]
            assert await asyncio.gather(*kept) == [True] * 5
            found, thread = await asyncio.gather(
                keeper.run(kills), keeper.run(lambda _: threading.current_thread().name)
            )
            assert found == 5
            assert thread.startswith("store")
            assert opening.opened == 1

    asyncio.run(scenario())


def test_a_kill_that_was_cancelled_in_the_queue_is_kept_by_the_last_attempt(database_url: str) -> None:
    async def scenario() -> None:
        opening, busy = Opening(database_url), threading.Event()
        tasks = Tasks(lambda name, error: None)
        keeper = Keeper(opening, tasks)
        loop = asyncio.get_running_loop()
        working = loop.create_task(keeper.run(lambda _: busy.wait(60)))
        await asyncio.sleep(0.05)
        assert not await keeper.keep_kill(Kill("k", "rain", "ada", "drill", 1.0, "v"), patience=0.05)
        await tasks.cancel()
        busy.set()
        await working
        await keeper.last_attempt()
        assert keeper.unkept == 0
        assert await keeper.run(kills) == 1
        await keeper.close()

    asyncio.run(scenario())


def test_an_error_of_the_work_comes_through_and_is_no_failure_of_the_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        opening = Opening(f"sqlite:///{tmp_path / 'state.db'}")

        def fail(database: Database) -> None:
            raise LookupError("the caller's own business")

        async with keeping(opening) as keeper:
            with pytest.raises(LookupError, match="own business"):
                await keeper.run(fail)
            assert (keeper.failure, keeper.failures) == (None, 0)
            assert await keeper.run(kills) == 0
            assert opening.opened == 1

    asyncio.run(scenario())


def test_a_failure_of_the_database_is_shown_and_the_store_is_opened_afresh(tmp_path: Path) -> None:
    async def scenario() -> None:
        opening = Opening(f"sqlite:///{tmp_path / 'state.db'}")

        def fail(database: Database) -> None:
            database.read(lambda on: on.exec_driver_sql("SELECT * FROM nothing"))

        async with keeping(opening) as keeper:
            with pytest.raises(StateUnavailable, match="nothing"):
                await keeper.run(fail)
            assert keeper.failure is not None
            assert keeper.failures == 1
            assert await keeper.run(kills) == 0
            assert (keeper.failure, opening.opened) == (None, 2)

    asyncio.run(scenario())
