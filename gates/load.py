"""Open-loop load: requests leave by a timetable, whatever the answers do.

A closed loop sends less while the server is slow, and so leaves out exactly the latencies that matter
("coordinated omission", Gil Tene, "How NOT to Measure Latency", 2013). Here a latency counts from the moment
the timetable says, waiting for a connection included; a request that fails is infinitely late. Where this
process itself is late with sending, that is measured too: then the server is not to blame.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_IN_FLIGHT = 4096
"""Requests on their way; more of them count as failed without being sent."""

Send = Callable[[int], Coroutine[Any, Any, bool]]
"""Sends the request with this number; whether it was answered as it should."""


@dataclass(slots=True)
class Measured:
    """What was seen of one version: `latencies` in seconds, infinite for a request that failed."""

    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    in_flight: int = 0

    def ordered(self) -> NDArray[np.float64]:
        """The latencies, ascending."""
        return np.sort(np.array(self.latencies, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Load:
    """A finished load: one `Measured` for each sender, and how late the requests left, in seconds."""

    measured: tuple[Measured, ...]
    lateness: tuple[float, ...]

    def late(self, share: float) -> float:
        """The quantile `share` of the lateness; 0 when nothing was sent."""
        return float(np.quantile(self.lateness, share)) if self.lateness else 0.0


async def run(senders: Sequence[Send], rate: float, lasts: float) -> Load:
    """`rate` requests a second to each of `senders`, side by side, for `lasts` seconds.

    The senders are asked alternately within each period, so that neither has the quieter moments. Returns
    when every request has ended; each sender has a bound of its own for that.
    """
    clock = asyncio.get_running_loop().time
    measured = tuple(Measured() for _ in senders)
    lateness: list[float] = []
    count = max(1, round(rate * lasts))

    async def one(send: Send, seen: Measured, number: int, due: float) -> None:
        lateness.append(clock() - due)
        if seen.in_flight >= MOST_IN_FLIGHT:
            fine = False
        else:
            seen.in_flight += 1
            try:
                fine = await send(number)
            finally:
                seen.in_flight -= 1
        seen.failed += not fine
        seen.latencies.append(clock() - due if fine else math.inf)

    async with asyncio.TaskGroup() as group:
        start = clock()
        for number in range(count):
            for place, (send, seen) in enumerate(zip(senders, measured, strict=True)):
                due = start + (number + place / len(senders)) / rate
                delay = due - clock()
                if delay > 0:
                    await asyncio.sleep(delay)
                group.create_task(one(send, seen, number, due))
    return Load(measured, tuple(lateness))
