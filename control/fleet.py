"""The way to the other replicas: what is told at once, and the round that makes sure of it.

A kill is told by a message, which reaches the others in milliseconds if all is well. Nothing relies on that.
Every second each replica compares what it knows with what the shared state names, and both take what they
lack (`killswitch.replication`): after a partition, a restart or a loss of data everybody is the same again
after one round. While the shared state is out of reach traffic flows, trips happen and are kept, and are
handed over by the first round that succeeds; only re-arms are refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from control.clock import Clock
from control.lease import LeaseStore, SharedLease
from control.log import note
from control.shared_evidence import SharedEvidence
from control.switchboard import Switchboard
from domain.errors import StaleRearm, StateUnavailable
from domain.kill import Clearance
from killswitch.replication import Inventory, News
from killswitch.stores.redis import Presence, said

ROUND = 1.0
"""Seconds between two rounds, at most; also between two attempts to reach a shared state that is out of
reach: nobody knows what kills the others hold that could not be handed over."""

DEAF = 3.0
"""Seconds after which a subscription on which not even the own word comes is made anew."""

ATTEMPTS = 3
"""How often the shared state is asked what became of a re-arm whose answer was lost."""

BETWEEN_ATTEMPTS = 0.2
"""Seconds, and as much more for each that failed."""

NOT_NOW = "a re-arm is decided for all replicas together, which is not possible now"

log = logging.getLogger("pointsman.fleet")


class Line(Protocol):
    """The shortest way to the other replicas."""

    def ring(self, endpoint: str, news: News) -> None:
        """Tell all of them, now; whether they hear it is found out by the rounds."""
        ...

    async def wait(self, within: float) -> None:
        """Return after so many seconds. Raises StateUnavailable as soon as nothing is heard any more."""
        ...


class SharedStore(LeaseStore, Protocol):
    """What the replicas share; everything raises StateUnavailable when it is out of reach."""

    async def inventories(self, endpoints: Sequence[str]) -> dict[str, Inventory]:
        """What it names, by endpoint."""
        ...

    async def fetched(self, endpoint: str, wanted: Inventory) -> News:
        """What it holds of `wanted`."""
        ...

    async def push(self, endpoint: str, news: News) -> None:
        """Hand `news` over, and tell everybody."""
        ...

    async def rearm(self, clearance: Clearance) -> None:
        """Clear exactly the kills that it names. Raises StaleRearm for others."""
        ...

    async def beat(self, presence: Presence) -> tuple[Presence, ...]:
        """Say that this replica is there, so that all hear it; answers who is."""
        ...

    async def leave(self) -> None:
        """This replica ends."""
        ...

    def line(self, hear: Callable[[bytes], None]) -> AbstractAsyncContextManager[Line]:
        """Call `hear` with everything that is told from now on."""
        ...


class Fleet:
    """This gateway as one of several.

    Attributes:
        failure: why the shared state is out of reach, None when it is not.
        deafness: why the others are heard by the rounds only, None when they are heard at once.
        failures: calls of it that failed.
        garbage: messages that were none of ours.
        replicas: who was there at the last round, this one included.
        lease: who leads.
        evidence: the evidence of all replicas, once it is wired.
    """

    alone = False

    def __init__(
        self,
        store: SharedStore,
        board: Switchboard,
        clock: Clock,
        *,
        presence: Callable[[bool], Presence],
        draw: Callable[[], float],
    ) -> None:
        """`presence` is what this replica says of itself, given whether it leads; `draw` is in [0, 1)."""
        self.failure: str | None = "not reached yet"
        self.deafness: str | None = None
        self.failures = 0
        self.garbage = 0
        self.replicas: tuple[Presence, ...] = ()
        self.lease = SharedLease(store, clock)
        self._store = store
        self._board = board
        self._clock = clock
        self._presence = presence
        self._draw = draw
        self.evidence: SharedEvidence | None = None
        self._heard_at = clock.monotonic()
        self._line: Line | None = None
        self._wanted = asyncio.Event()
        self._ending = False

    # For the switchboard.

    def ring(self, endpoint: str, news: News) -> None:
        """See `Sharing`."""
        if self._line is not None:
            self._line.ring(endpoint, news)

    async def tell(self, endpoint: str, news: News) -> bool | None:
        """See `Sharing`."""
        try:
            await self._store.push(endpoint, news)
        except StateUnavailable as error:
            self._lost(error)
            return False
        return True

    def kept(self, name: str) -> bytes:
        """See `Sharing`."""
        return b"" if self.evidence is None else self.evidence.kept(name)

    async def learn(self, endpoints: Sequence[str]) -> None:
        """See `Sharing`."""
        try:
            await self._compare(endpoints)
        except StateUnavailable as error:
            self._lost(error)

    async def rearm(self, clearance: Clearance) -> None:
        """See `Sharing`. The shared state first learns what this replica knows, and the other way round."""
        try:
            await self._compare((clearance.endpoint,))
        except StateUnavailable as error:
            self._lost(error)
            raise StateUnavailable(f"{NOT_NOW}: {error}; nothing was changed") from error
        try:
            await self._store.rearm(clearance)
        except StaleRearm:
            # A connection that broke before the answer came is replaced, and the script run once more.
            if not await self._decided(clearance):
                raise
        except StateUnavailable as error:
            self._lost(error)
            if not await self._decided(clearance):
                raise StateUnavailable(
                    f"{NOT_NOW}: {error}; look at the endpoint again before you repeat it"
                ) from error

    async def _decided(self, clearance: Clearance) -> bool:
        """Whether the shared state holds `clearance`, whose answer was lost; False when nobody can say."""
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(attempt * BETWEEN_ATTEMPTS)
            try:
                held = await self._store.fetched(clearance.endpoint, Inventory(cleared=clearance.ids))
            except StateUnavailable as error:
                self._lost(error)
                continue
            return clearance in held.clearances
        return False

    # What goes on all the time.

    async def round(self) -> None:
        """Compare everything once, and say that this replica is there. Raises StateUnavailable."""
        await self._compare(self._board.killable)
        self.replicas = await self._store.beat(self._presence(self.lease.held() is not None))
        if self.failure is not None:
            note(log, logging.INFO, "shared state reached", replicas=len(self.replicas))
            self.failure = None

    async def go_round(self) -> None:
        """Rounds, for ever; one more when somebody asks for it."""
        while not self._ending:
            try:
                await self.round()
            except StateUnavailable as error:
                self._lost(error)
            try:
                async with asyncio.timeout(ROUND * (1 - 0.3 * self._draw())):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()

    async def lead(self) -> None:
        """Take the lease whenever it is free, and keep it, for ever."""
        while not self._ending:
            try:
                await self.lease.renew()
            except StateUnavailable as error:
                self._lost(error)
            await asyncio.sleep(self.lease.term / 3 * (1 - 0.2 * self._draw()))

    async def listen(self) -> None:
        """Hear what is told, for ever; after every new subscription a round finds what was missed."""
        while True:
            try:
                async with self._store.line(self.hear) as self._line:
                    self._heard_at = self._clock.monotonic()
                    self._deaf(None)
                    self._wanted.set()
                    while self._clock.monotonic() - self._heard_at < DEAF:
                        await self._line.wait(ROUND)
            except StateUnavailable as error:
                self._deaf(str(error))
            finally:
                self._line = None
            await asyncio.sleep(ROUND * (0.1 + 0.4 * self._draw()))

    async def end(self) -> None:
        """Give the lease back and go."""
        self._ending = True
        try:
            await self.lease.give()
            await self._store.leave()
        except StateUnavailable as error:
            self._lost(error)  # the others notice by themselves, within seconds

    def hear(self, message: bytes) -> None:
        """One message, from anybody; what is none of ours is counted and otherwise ignored."""
        words = said(message)
        if words is None:
            self.garbage += 1
            return
        self._heard_at = self._clock.monotonic()
        if words.news and words.endpoint in self._board.killable:
            self._board.news.hear(words.endpoint, words.news)

    async def _compare(self, endpoints: Sequence[str]) -> None:
        board = self._board
        for name, shared in (await self._store.inventories(endpoints)).items():
            wanted = board.copy(name).wanting(shared)
            if wanted:
                board.news.hear(name, await self._store.fetched(name, wanted))
            lacking = board.copy(name).lacking(shared)
            if lacking:
                await self._store.push(name, lacking)

    def _lost(self, error: StateUnavailable) -> None:
        self.failures += 1
        if self.failure != str(error):
            note(log, logging.ERROR, "shared state out of reach", reason=str(error))
        self.failure = str(error)

    def _deaf(self, reason: str | None) -> None:
        """What the rounds find out is another matter: a server may answer them and refuse the line."""
        self.failures += reason is not None
        if reason is not None and reason != self.deafness:
            note(log, logging.WARNING, "kills of others are heard by the rounds only", reason=reason)
        elif reason is None and self.deafness is not None:
            note(log, logging.INFO, "kills of others are heard at once")
        self.deafness = reason

    @property
    def strangers(self) -> tuple[Presence, ...]:
        """Replicas with another configuration than this one."""
        digest = self._presence(False).digest
        return tuple(one for one in self.replicas if one.digest != digest)
