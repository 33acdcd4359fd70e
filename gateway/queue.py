"""Who waits for a connection to one server: in the order of arrival, within bounds, gone when they leave.

Bodies that clients are still sending hold a connection for as long as the client likes: a few hundred slow
clients would hold every connection to a server, and nobody else would be served. So uploads have a share of
the connections, and wait apart when it is used up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.upstream import Recipient


class Waiting(NamedTuple):
    """`deadline` is loop time; `timeout` seconds, for each silence of a stream."""

    recipient: Recipient
    deadline: float
    timeout: float


class Queue:
    """At most `limit` wait. `places` is the same object for ever: its truth is asked for at every answer."""

    __slots__ = ("_limit", "places")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.places: OrderedDict[Recipient, Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Recipient]:
        return iter(self.places)

    def join(self, waiting: Waiting) -> bool:
        """Wait as the last; False when there is no room."""
        if len(self.places) >= self._limit:
            self._forget_abandoned()
            if len(self.places) >= self._limit:
                return False
        self.places[waiting.recipient] = waiting
        return True

    def put_back(self, waiting: Waiting) -> None:
        """Wait as the first again."""
        self.places[waiting.recipient] = waiting
        self.places.move_to_end(waiting.recipient, last=False)

    def leave(self, recipient: Recipient) -> None:
        """`recipient` does not wait any more, if it did."""
        self.places.pop(recipient, None)

    def next(self) -> Waiting | None:
        """Who waits longest and still wants to; it waits no more."""
        while self.places:
            _, waiting = self.places.popitem(last=False)
            if not waiting.recipient.abandoned:
                return waiting
        return None

    def late(self, now: float) -> list[Waiting]:
        """Those whose deadline is over; they wait no more. The abandoned are forgotten too."""
        self._forget_abandoned()
        late = [waiting for waiting in self.places.values() if waiting.deadline < now]
        for waiting in late:
            del self.places[waiting.recipient]
        return late

    def drain(self) -> Iterator[Waiting]:
        """Everybody, in order; none waits any more. Who joins meanwhile stays."""
        waiting = tuple(self.places.values())
        self.places.clear()
        return (one for one in waiting if not one.recipient.abandoned)

    def clear(self) -> None:
        self.places.clear()

    def _forget_abandoned(self) -> None:
        for recipient in [one for one in self.places if one.abandoned]:
            del self.places[recipient]


class Uploads:
    """Requests whose bodies are on their way: at most `limit` have a connection or wait for one.

    Those that ended tell nobody; `settle` finds out.
    """

    __slots__ = ("_limit", "_under_way", "held")

    def __init__(self, limit: int, pending: int) -> None:
        self._limit = limit
        self._under_way: set[Recipient] = set()
        self.held = Queue(pending)

    def __len__(self) -> int:
        return len(self._under_way)

    def admit(self, recipient: Recipient, asking: Iterable[Recipient]) -> bool:
        """Whether `recipient` may ask for a connection now. `asking`: all that have one or wait for one."""
        if len(self._under_way) >= self._limit:
            self.settle(asking)
            if len(self._under_way) >= self._limit:
                return False
        self._under_way.add(recipient)
        return True

    def settle(self, asking: Iterable[Recipient]) -> None:
        """Forget those whose body is whole, or that are not among `asking` any more."""
        self._under_way.intersection_update([one for one in asking if one.streams_upload])
