"""Whole switchboards that share a state, in one process, where everything between them may go wrong.

Real: `Control` with its switchboard, keeper, audit recorder and SQLite file, and `Fleet`. Not real: the
shared state is the reference `killswitch.replication.Shared` (`test_shared_reference` shows that Redis does
the same), and messages come when a test says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from control.clock import Clock
from control.fleet import Fleet
from control.process import Control, Invocation
from control.sharing import Sharing
from domain.errors import StateUnavailable
from domain.kill import Clearance
from domain.snapshot import Snapshot
from gates.plan import Progress
from killswitch.replication import Inventory, News, Shared
from killswitch.stores.database import DatabaseStore
from killswitch.stores.redis import Presence, Said
from settings.file import load
from settings.schema import Settings
from storage.database import Database
from tests.support.control import document, write

RAIN = "rain"
T = TypeVar("T")


def folder() -> Path:
    """A new folder; in memory where there is such a place, since hundreds of lives are kept in it."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))


class SharedState:
    """What the store between the replicas holds, every message it ever sent, and every re-arm it accepted."""

    def __init__(self) -> None:
        self.held = Shared()
        self.copies = [Shared()]
        self.messages: list[bytes] = []
        self.cleared: frozenset[str] = frozenset()

    def push(self, life: str, news: News) -> None:
        self.held = self.held.pushed(news)
        self._tell(life, news)

    def rearm(self, life: str, clearance: Clearance) -> None:
        self.held = self.held.rearmed(clearance)
        self.cleared |= clearance.ids
        self._tell(life, News(clearances=frozenset((clearance,))))

    def _tell(self, life: str, news: News) -> None:
        self.messages.append(msgspec.json.encode(Said(life, RAIN, list(news.kills), list(news.clearances))))


class Line:
    """One replica's way to the shared state. A `control.fleet.SharedStore`.

    Attributes:
        cut: nothing gets through.
        mute: what is asked for is done, and the answer is lost.
        gate: what re-arms wait for, first on their way there and once more on the way back.
        told: the kills that came from there.
    """

    def __init__(self, state: SharedState, life: str) -> None:
        self.cut = self.mute = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.told: frozenset[str] = frozenset()
        self._state = state
        self._life = life

    def _ask(self, work: Callable[[], T]) -> T:
        if self.cut:
            raise StateUnavailable("the line is cut")
        answer = work()
        if self.mute:
            raise StateUnavailable("no answer came")
        return answer

    async def inventories(self, endpoints: Sequence[str]) -> dict[str, Inventory]:
        return self._ask(lambda: {name: self._state.held.inventory for name in endpoints if name == RAIN})

    async def fetched(self, endpoint: str, wanted: Inventory) -> News:
        news = self._ask(lambda: self._state.held.fetched(wanted))
        self.told |= {kill.id for kill in news.kills}
        return news

    async def push(self, endpoint: str, news: News) -> None:
        self._ask(lambda: self._state.push(self._life, news))

    async def rearm(self, clearance: Clearance) -> None:
        await self.gate.wait()
        self._ask(lambda: self._state.rearm(self._life, clearance))
        self.gate.clear()
        await self.gate.wait()

    async def beat(self, presence: Presence) -> tuple[Presence, ...]:
        return self._ask(lambda: (presence,))

    async def leave(self) -> None:
        self._ask(lambda: None)

    async def take_lease(self, seconds: float) -> int:
        return self._ask(lambda: 1)

    async def give_lease(self) -> None:
        self._ask(lambda: None)

    def line(self, hear: Callable[[bytes], None]) -> AbstractAsyncContextManager[Any]:
        raise AssertionError("messages are delivered by the test")


class Disk:
    """A SQLite file that stays when a process ends. `left`: how many more times it works; None: always."""

    def __init__(self, place: Path) -> None:
        self.url = f"sqlite:///{place / 'pointsman.db'}"
        self.left: int | None = None

    def use(self) -> None:
        """Raises StateUnavailable when it does not work any more."""
        if self.left == 0:
            raise StateUnavailable("the disk is gone")
        if self.left is not None:
            self.left -= 1

    def open(self) -> DatabaseStore:
        return DatabaseStore(Fragile(self))


class Fragile(Database):
    """A `Database` that fails while its disk is broken."""

    def __init__(self, disk: Disk) -> None:
        disk.use()
        self._disk = disk
        self._real = Database.open(disk.url)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def read(self, work: Callable[[Any], T]) -> T:
        self._disk.use()
        return self._real.read(work)

    def write(self, work: Callable[[Any], T]) -> T:
        self._disk.use()
        return self._real.write(work)

    def close(self) -> None:
        self._real.close()


class Member:
    """One replica, over its lives. `told`, `kept` and `advanced` are what a law compares it with.

    Attributes:
        published: every snapshot of this life that has not been looked at.
        told: the kills that this life was told of, or made.
        kept: the kills that any life acknowledged.
        advanced: the kills that were cleared when the release was moved on, None while it was not.
    """

    def __init__(self, state: SharedState, place: Path, number: int) -> None:
        self.disk = Disk(place)
        self.kept: frozenset[str] = frozenset()
        self._state = state
        self._place = place
        self._number = number
        self._lives = 0
        self._begin()

    def _begin(self) -> None:
        self._lives += 1
        self.published: list[Snapshot] = []
        self._told: frozenset[str] = frozenset()
        self.advanced: frozenset[str] | None = None
        invocation = Invocation(self._place / "pointsman.yaml", str(self._place / "link.sock"))
        self.control = Control(_settings(), invocation, self.disk.open)
        self.board = self.control.switchboard
        self.line = Line(self._state, f"{self._number}-{self._lives}")
        self.fleet = Fleet(self.line, self.board, Clock(), presence=self._presence, draw=lambda: 0.5)
        sharing: Sharing = self.fleet
        self.board.sharing = sharing
        self.board.link.publish = self.published.append  # type: ignore[method-assign]
        self._restoring = asyncio.get_running_loop().create_task(self.control._restore())

    def _presence(self, leading: bool) -> Presence:
        return Presence(self.line._life, str(self._number), "digest", "1", "host", leading)

    @property
    def told(self) -> frozenset[str]:
        return self._told | self.line.told

    @property
    def cleared(self) -> frozenset[str]:
        return self.board.kill_state(RAIN).cleared

    async def rest(self) -> None:
        """Until the store's thread has done what was asked of it, and what follows from that."""
        for _ in range(4):
            with suppress(StateUnavailable):
                await self.control.keeper.run(lambda database: None)
            await asyncio.sleep(0)

    async def readable(self) -> None:
        """Until the kept state was read, if the disk is there."""
        if self.disk.left is None:
            await asyncio.wait_for(asyncio.shield(self._restoring), 20)

    async def kill(self, actor: str) -> None:
        fallen = self.board.trip(RAIN, actor, actor, "bad")
        self._told |= {fallen.kill.id}
        settled = await self.board.settle(fallen)
        if settled.durable:
            self.kept |= {fallen.kill.id}

    def hear(self, message: bytes) -> None:
        said = msgspec.json.decode(message, type=Said)
        self._told |= {kill.id for kill in said.kills}
        self.fleet.hear(message)

    def advance(self) -> None:
        """The release goes to its canary stage, as the leader would have it."""
        if not self.board.tripped(RAIN):
            self.board.judges[RAIN].progress = Progress(1, 0, 0.0)
            self.advanced = self.cleared
            self.board.moved(RAIN)

    async def mend(self) -> None:
        """The disk is back, and what could not be kept is."""
        self.disk.left = None
        with suppress(StateUnavailable):
            await self.control.keeper._recover()
        await self.readable()

    async def end(self) -> None:
        """The process ends as by SIGKILL: nothing more is written, the file stays."""
        self._restoring.cancel()
        await asyncio.gather(self._restoring, return_exceptions=True)
        await self.control._tasks.cancel()
        await self.control.keeper.close()

    async def restart(self) -> None:
        await self.end()
        self._begin()


_loaded: list[Settings] = []


def _settings() -> Settings:
    if not _loaded:
        place = folder()
        try:
            _loaded.append(load(write(place, document(place))))
        finally:
            shutil.rmtree(place)
    return _loaded[0]
