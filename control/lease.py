"""Who leads: one of the replicas, for as long as it says so again in time.

The leader alone moves releases. It holds a lease in the shared state for `TERM` seconds, renews it at a
third of that, and counts from the moment before it asked, on its own monotonic clock: so it stops leading
before anybody else can begin, however long the answer took, and a process that was asleep does not lead when
it wakes up. Should two lead all the same (a store that was rolled back), the fencing token decides: it rises
with each leader, the shared state takes no step from a token lower than the highest it has seen.

Source: Kleppmann, "How to do distributed locking", 2016 (fencing tokens); Gray & Cheriton, "Leases", SOSP
1989.
"""

from __future__ import annotations

from typing import Protocol

from control.clock import Clock

TERM = 3.0
"""Seconds that a lease lasts."""

MARGIN = 0.2
"""So much of the term, at its end, is nobody's: clocks may run at different speeds."""


class LeaseStore(Protocol):
    """Where the lease is."""

    async def take_lease(self, seconds: float) -> int:
        """The token if this process leads for so long from now on, else 0. Raises StateUnavailable."""
        ...

    async def give_lease(self) -> None:
        """Lead no longer. Raises StateUnavailable."""
        ...


class SharedLease:
    """A `domain.ports.Lease` in a shared store."""

    def __init__(self, store: LeaseStore, clock: Clock, term: float = TERM) -> None:
        self.term = term
        self._store = store
        self._clock = clock
        self._token = 0
        self._until = 0.0

    def held(self) -> int | None:
        """See `domain.ports.Lease`."""
        return self._token if self._token and self._clock.monotonic() < self._until else None

    async def renew(self) -> None:
        """Take the lease, or go on holding it. Raises StateUnavailable; what is held runs out by itself."""
        asked = self._clock.monotonic()
        self._token = await self._store.take_lease(self.term)
        self._until = asked + self.term * (1 - MARGIN)

    async def give(self) -> None:
        """Let another one lead at once. Raises StateUnavailable."""
        held, self._token = self.held(), 0
        if held is not None:
            await self._store.give_lease()
