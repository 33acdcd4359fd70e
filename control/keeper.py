"""The only way to the durable store: one thread, so no loop waits for a disk, and writes keep their order.

A kill is never lost to a bad disk: it is applied before it is kept, and tried again until it is. Everything
else is refused while the store is out of reach. After a failure the store is opened afresh: after a failed
fsync nobody knows what the old handle holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from control.log import note
from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from domain.ports import StateStore
from shadow.tasks import Tasks
from storage.database import Database

RETRY = 0.5
"""Seconds between two attempts to keep what could not be kept."""

PATIENCE = 2.0
"""Seconds that whoever killed waits for the disk."""

log = logging.getLogger("pointsman.store")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """All that an earlier life left in the store."""

    kills: tuple[Kill, ...]
    clearances: tuple[Clearance, ...]
    states: Mapping[str, bytes]
    sequences: Mapping[str, int]


class DurableStore(StateStore, Protocol):
    """A store in a database that keeps more than kill state."""

    @property
    def database(self) -> Database:
        """The database that the store is in."""
        ...


class Keeper:
    """Calls the store that `opener` opens. `failure` says why it cannot be used now, None when it can."""

    def __init__(self, opener: Callable[[], DurableStore], tasks: Tasks, retry: float = RETRY) -> None:
        self.failure: str | None = None
        self.failures = 0
        self._opener = opener
        self._tasks = tasks
        self._retry = retry
        self._store: DurableStore | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._unkept: dict[str, Kill] = {}

    @property
    def unkept(self) -> int:
        """Kills that are applied and not durable yet."""
        return len(self._unkept)

    async def restore(self) -> Kept:
        """Read everything. Raises StateUnavailable."""
        return await self._call(
            lambda store: Kept(store.kills(), store.clearances(), store.states(), store.sequences())
        )

    async def reserve(self, count: int) -> int:
        """The first of `count` generation numbers that were never handed out. Raises StateUnavailable."""
        return await self._call(lambda store: store.reserve_generations(count))

    async def keep_kill(self, kill: Kill, patience: float = PATIENCE) -> bool:
        """Keep `kill`, and go on trying when that fails or takes long; whether it is durable by now."""
        self._unkept[kill.id] = kill
        keeping = self._tasks.spawn(self._keep(kill), f"keep kill {kill.id}")
        done, _ = await asyncio.wait({keeping}, timeout=patience)
        return bool(done) and kill.id not in self._unkept

    async def keep_clearance(self, clearance: Clearance) -> None:
        """Keep `clearance`, after every kill that was to be kept before. Raises StateUnavailable."""
        await self._call(lambda store: store.add_clearance(clearance))

    async def checkpoint(self, states: Mapping[str, bytes], sequences: Mapping[str, int]) -> None:
        """Keep both in one transaction. Raises StateUnavailable."""
        await self._call(lambda store: store.checkpoint(states, sequences))

    async def run(self, work: Callable[[Database], T]) -> T:
        """What `work` does with the database, in the store's thread, after what was asked for before.

        Raises StateUnavailable, and whatever else `work` raises; nothing is tried again.
        """
        return await self._call(lambda store: work(store.database))

    async def try_again(self) -> None:
        """For ever: keep what is not kept yet, and see whether a failed store is back."""
        while True:
            await asyncio.sleep(self._retry)
            if self._unkept or self.failure is not None:
                await self._recover()

    async def last_attempt(self) -> None:
        """Once more, what is not kept; what stays unkept is logged by its ids."""
        await self._recover()
        if self._unkept:
            note(log, logging.ERROR, "ended with kills that are not kept", kills=sorted(self._unkept))

    async def close(self) -> None:
        """Close the store after what is under way."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    async def _recover(self) -> None:
        try:
            for kill in tuple(self._unkept.values()):
                await self._call(_adding(kill))
                self._unkept.pop(kill.id, None)
            if self.failure is not None:
                await self._call(lambda store: store.checkpoint({}, {}))
        except StateUnavailable:
            return  # counted and logged by _call; the next round tries again

    async def _keep(self, kill: Kill) -> None:
        try:
            await self._call(_adding(kill))
        except StateUnavailable:
            return  # counted and logged by _call; try_again goes on
        self._unkept.pop(kill.id, None)

    async def _call(self, work: Callable[[DurableStore], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._thread, self._with_store, work)
        except StateUnavailable as error:
            self.failures += 1
            if self.failure != str(error):
                note(log, logging.ERROR, "store out of reach", reason=str(error))
            self.failure = str(error)
            raise
        if self.failure is not None:
            note(log, logging.INFO, "store back", unkept=self.unkept)
            self.failure = None
        return answer

    # In the store's thread.

    def _with_store(self, work: Callable[[DurableStore], T]) -> T:
        if self._store is None:
            self._store = self._opener()
        try:
            return work(self._store)
        except StateUnavailable:
            self._drop()
            raise

    def _drop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _adding(kill: Kill) -> Callable[[DurableStore], None]:
    return lambda store: store.add_kill(kill)
