"""What happened, told to whoever listens: trips, re-arms, stages, configuration, flags.

Listeners are bounded in number and in backlog. One that reads too slowly is let go, never waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from domain.errors import PointsmanError

MOST_LISTENERS = 64
LONGEST_BACKLOG = 256


class Crowded(PointsmanError):  # noqa: N818 - a state, not a mistake
    """As many listeners as we serve are connected."""


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: trip, rearm, stage, config, flags, flag_off, lineage, drill; `data`: JSON; `number`: 1, 2, …"""

    number: int
    kind: str
    data: Mapping[str, object]


class Listener:
    """One reader's backlog."""

    def __init__(self) -> None:
        self._backlog: deque[Event] = deque()
        self._woken = asyncio.Event()
        self._ended = False

    def put(self, event: Event) -> bool:
        """Keep `event` for the reader; False when the reader is too far behind and is let go."""
        if len(self._backlog) >= LONGEST_BACKLOG:
            self.end()
            return False
        self._backlog.append(event)
        self._woken.set()
        return True

    def end(self) -> None:
        """No more events come."""
        self._ended = True
        self._woken.set()

    @property
    def ended(self) -> bool:
        """Whether everything was read and nothing will follow."""
        return self._ended and not self._backlog

    async def next(self, within: float) -> Event | None:
        """The next event; None when none came `within` seconds, or ever (see `ended`)."""
        if not self._backlog and not self._ended:
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), within)
            except TimeoutError:
                return None
        return self._backlog.popleft() if self._backlog else None


class Events:
    """Hands each event to every listener."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._reactions: dict[str, list[Callable[[Event], None]]] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def tell(self, kind: str, data: Mapping[str, object]) -> None:
        """Give the event to every listener that can still take it."""
        self._number += 1
        event = Event(self._number, kind, data)
        self._listeners = {listener for listener in self._listeners if listener.put(event)}
        for reaction in self._reactions.get(kind, ()):
            reaction(event)

    def react(self, kind: str, reaction: Callable[[Event], None]) -> None:
        """Call `reaction`, which must not raise or block, with every event of `kind` from now on."""
        self._reactions.setdefault(kind, []).append(reaction)

    def listen(self) -> Listener:
        """A new listener. Raises Crowded at the limit."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise Crowded(f"{MOST_LISTENERS} listeners are connected, which is the most we serve")
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """The reader of `listener` is gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every listener after what it has not read yet."""
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()
