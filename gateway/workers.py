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
from gateway.children import Child, Heir, Rhythm, Signal, end, start
from gateway.log import log
from settings.schema import Address, UnixAddress
from shadow.tasks import Tasks

READY = 30.0
"""Seconds a successor has to serve; else its predecessor stays."""
GRACE = 5.0
"""Seconds that a worker has beyond `drain`."""


class Slot:
    """A worker's place; `child` is None while its process is being started again."""

    def __init__(self, index: int, listening: socket.socket) -> None:
        self.index = index
        self.socket = listening
        self.child: Child | None = None

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
            old = slot.child
            if self._stopping.is_set() or not await self._succeed(slot):
                return
            if old is not None:
                self._retire(old)

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
                child = slot.child = await self._started(slot, None)
            code = await child.wait()
            if slot.child is child:
                slot.child = None
                if not self._stopping.is_set():
                    await rhythm.rest(f"worker-{slot.index}", code)

    async def _succeed(self, slot: Slot) -> bool:
        """Put a new worker into `slot` once it serves; whether it did. What was there goes on otherwise."""
        ready = Signal()
        child = await self._started(slot, ready)
        if not await ready.given(READY):
            log("error", "a worker's successor did not come to serve: it stays as it is", slot=slot.index)
            await end([child], GRACE)
            return False
        slot.child = child
        return True

    async def _started(self, slot: Slot, ready: Signal | None) -> Child:
        """A new worker at `slot`'s socket; with `ready` it is a successor."""
        descriptor = slot.socket.fileno()
        boot = msgspec.structs.replace(
            self._boot(),
            index=self._free_number(slot),
            socket_fd=descriptor,
            ready_fd=None if ready is None else ready.writing,
            waits=ready is not None,
        )
        pass_fds = (descriptor,) if ready is None else (descriptor, ready.writing)
        child = start(["-m", "gateway.process"], number=boot.index, pass_fds=pass_fds)
        await child.tell(boot.frame())
        return child

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
