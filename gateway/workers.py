"""The gateway's workers as the supervisor sees them: one in each slot, and those that drain.

A slot is a listening socket. Whoever is in it may end or be replaced; the socket stays, so that no connection
is lost between two workers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import msgspec

from gateway import sockets
from gateway.boot import Boot, Order, order_frame
from gateway.children import LEAVING, READY, Child, Heir, News, Rhythm, end, start
from gateway.log import log
from settings.schema import Address, UnixAddress
from shadow.tasks import Tasks

READY_WITHIN = 30.0
"""Seconds a successor has to serve; else its predecessor stays."""
GRACE = 5.0
"""Seconds that a worker has beyond `drain`."""


class Slot:
    """A worker's place; `child` is None while its process is being started again."""

    def __init__(self, index: int, listening: socket.socket) -> None:
        self.index = index
        self.socket = listening
        self.child: Child | None = None
        self.changing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Slot {self.index} {self.child}>"


class Workers:
    """One worker a socket. `boot` gives the orders they all begin with; `stopping` is set at the end."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        boot: Callable[[], Boot],
        tasks: Tasks,
        stopping: asyncio.Event,
    ) -> None:
        self._slots = [Slot(index, one) for index, one in enumerate(listening)]
        self._boot = boot
        self._tasks = tasks
        self._stopping = stopping
        self._retired: set[Child] = set()

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def address(self) -> Address | UnixAddress:
        """Where they listen."""
        return sockets.address_of(self._slots[0].socket)

    def sockets(self) -> list[int]:
        """Their sockets' descriptors."""
        return [slot.socket.fileno() for slot in self._slots]

    def heirs(self) -> list[Heir]:
        """All that live, for the next supervisor."""
        heirs = [child.heir() for child in (*self._serving(), *self._retired)]
        return [heir for heir in heirs if heir is not None]

    def _serving(self) -> list[Child]:
        return [slot.child for slot in self._slots if slot.child is not None]

    async def begin(self, predecessors: Sequence[Child]) -> None:
        """Start them all; a predecessor of an earlier supervisor ends when somebody serves in its place."""
        self._retired.update(predecessors)
        waiting = list(predecessors)
        for slot in self._slots:
            if waiting:
                await self._succeed(slot)
                self._retire(waiting.pop(0))
            self._tasks.spawn(self._keep(slot), f"worker-{slot.index}")
        for child in waiting:
            self._retire(child)

    async def replace(self) -> None:
        """Put a new one into each slot, one after another; stop at the first that does not come to serve."""
        for slot in self._slots:
            if self._stopping.is_set() or not await self._change(slot, slot.child):
                return

    async def tell(self, order: Order) -> None:
        """Give `order` to all that serve."""
        frame = order_frame(order)
        for child in self._serving():
            await child.tell(frame)

    async def end(self) -> None:
        """Let them all drain and end."""
        address = self.address
        for slot in self._slots:
            slot.socket.close()  # the worker's is the last: it empties the queue before it closes
        await end([*self._serving(), *self._retired], self._boot().drain + GRACE)
        sockets.remove(address)

    async def _keep(self, slot: Slot) -> None:
        """Have a worker in `slot`, again and again."""
        rhythm = Rhythm()
        while not self._stopping.is_set():
            child = slot.child
            rhythm.begun()
            if child is None:
                child, news = await self._started(slot, waits=False)
                slot.child = child
                self._tasks.spawn(self._follow(slot, child, news), f"news of {child.pid}")
            code = await child.wait()
            async with slot.changing:
                ended = slot.child is child
                if ended:
                    slot.child = None
            if ended and not self._stopping.is_set():
                await rhythm.rest(f"worker-{slot.index}", code)

    async def _follow(self, slot: Slot, child: Child, news: News) -> None:
        """Somebody else may tell a worker to end: its successor begins then, not when it has ended."""
        while said := await news.next():
            if said == LEAVING and slot.child is child and not self._stopping.is_set():
                await self._change(slot, child)

    async def _change(self, slot: Slot, old: Child | None) -> bool:
        """Put a new worker in `old`'s place; whether there is one. `old` leaves when the new one serves."""
        async with slot.changing:
            if slot.child is not old:
                return True
            if not await self._succeed(slot):
                return False
            if old is not None:
                self._retire(old)
            return True

    async def _succeed(self, slot: Slot) -> bool:
        """Put a new worker into `slot` once it serves; whether it did. What was there goes on otherwise."""
        child, news = await self._started(slot, waits=True)
        try:
            ready = await asyncio.wait_for(news.next(), READY_WITHIN) == READY
        except TimeoutError:
            ready = False
        if not ready:
            log("error", "a worker's successor did not come to serve: it stays as it is", slot=slot.index)
            news.close()
            await end([child], GRACE)
            return False
        slot.child = child
        self._tasks.spawn(self._follow(slot, child, news), f"news of {child.pid}")
        return True

    async def _started(self, slot: Slot, *, waits: bool) -> tuple[Child, News]:
        """A new worker at `slot`'s socket; a successor `waits` for the true state."""
        descriptor = slot.socket.fileno()
        news = News()
        boot = msgspec.structs.replace(
            self._boot(),
            index=self._free_number(slot),
            socket_fd=descriptor,
            news_fd=news.writing,
            waits=waits,
        )
        child = start(["-m", "gateway.process"], number=boot.index, pass_fds=(descriptor, news.writing))
        news.begin()
        await child.tell(boot.frame())
        return child, news

    def _free_number(self, slot: Slot) -> int:
        """The slot's own number, or while somebody of that number still lives the slot's next one."""
        taken = {child.number for child in (*self._retired, *self._serving())}
        number = slot.index
        while number in taken:
            number += len(self._slots)
        return number

    def _retire(self, child: Child) -> None:
        self._retired.add(child)
        self._tasks.spawn(self._retirement(child), f"retire {child.pid}")

    async def _retirement(self, child: Child) -> None:
        await end([child], self._boot().drain + GRACE)
        self._retired.discard(child)
