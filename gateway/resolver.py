"""The addresses of a server's host: looked up beside the requests, and kept when the look-up fails.

Static stability: a name server that is slow, dead or says that the name is gone takes away nothing that
worked; the last good addresses stay until other ones are known. Look-ups block a thread of the loop's pool,
so a server has one under way at most, however long it hangs. Connects go to the addresses in turn, those
that failed lately last.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from shadow.tasks import Tasks

LOOK_UP_TIMEOUT = 2.0
"""Seconds that anybody waits for a look-up."""
AGAIN_AFTER = 5.0
"""Seconds, at most, until a failed look-up is tried again."""
DOUBTED_FOR = 10.0
"""Seconds that an address which could not be connected to comes last."""


class ResolveError(OSError):
    """The host has no known address."""


class Addresses:
    """Of `host`: an address that is written out is never looked up. `every`: seconds between look-ups."""

    def __init__(
        self,
        host: str,
        port: int,
        every: float,
        loop: asyncio.AbstractEventLoop,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._host = host
        self._port = port
        self._loop = loop
        self._tasks = tasks
        self._clock = clock
        self._every = every
        self._literal = _is_address(host)
        self._under_way: asyncio.Task[None] | None = None
        self._reason = ""
        self._doubted: dict[str, float] = {}
        self._turn = 0
        self._next = 0.0
        self.known: tuple[str, ...] = (host,) if self._literal else ()
        self.failures = 0
        """Look-ups that failed or hung."""

    def due(self, now: float) -> bool:
        """Whether it is time to look the addresses up again."""
        return not self._literal and bool(self.known) and now >= self._next

    async def in_turn(self) -> tuple[str, ...]:
        """All addresses, the one to try first in front. Raises ResolveError when none is known."""
        known = self.known or await self.look_up()
        if len(known) == 1:
            return known
        self._turn = turn = (self._turn + 1) % len(known)
        now = self._clock()
        return tuple(sorted(known[turn:] + known[:turn], key=lambda one: self._doubted.get(one, 0.0) > now))

    def doubt(self, address: str) -> None:
        """A connect to `address` failed."""
        self._doubted[address] = self._clock() + DOUBTED_FOR

    async def look_up(self) -> tuple[str, ...]:
        """Ask the resolver; the addresses that hold from now on. Raises ResolveError when none is known."""
        self._next = self._clock() + min(self._every, AGAIN_AFTER)
        if self._under_way is None:
            self._under_way = self._tasks.spawn(self._ask(), f"look up {self._host}")
        done, _ = await asyncio.wait((self._under_way,), timeout=LOOK_UP_TIMEOUT)
        if not done:
            self._failed(f"no answer in {LOOK_UP_TIMEOUT:g} seconds")
        if not self.known:
            raise ResolveError(f"{self._host} has no known address: {self._reason}")
        return self.known

    async def _ask(self) -> None:
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # a name that is no IDNA name is a UnicodeError
            self._failed(str(error))
        else:
            self._found(tuple(dict.fromkeys(str(address[0]) for *_, address in found)))
        finally:
            self._under_way = None

    def _failed(self, reason: str) -> None:
        self.failures += 1
        self._reason = reason

    def _found(self, known: tuple[str, ...]) -> None:
        self.known = known
        self._next = self._clock() + self._every
        self._doubted = {one: until for one, until in self._doubted.items() if one in known}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
