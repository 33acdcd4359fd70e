"""Memory pressure: what is given up first, so that clients are given up last.

Resident memory is looked at on the worker's tick. Towards its limit a worker sheds, in this order, mirrors,
kept-alive connections, new requests (503) and new connections (which wait in the kernel's queue). A stage is
left only when memory is clearly below where it was entered, so that the worker does not flap between two.
The order is that of Envoy's overload manager, with mirrors before everything that a client would notice.
"""

from __future__ import annotations

import enum


class Stage(enum.IntEnum):
    """What is shed; each stage sheds what those before it do."""

    NOTHING = 0
    MIRRORS = 1
    KEEP_ALIVE = 2
    REQUESTS = 3
    CONNECTIONS = 4


SHARES = (0.0, 0.80, 0.90, 0.95, 0.98)
"""Share of the limit at which each stage is entered."""
SLACK = 0.04
"""Share of the limit that memory must be below a stage's entry for the stage to be left."""


class Pressure:
    """`limit` in bytes.

    >>> pressure = Pressure(1000)
    >>> pressure.look(960).name, pressure.look(920).name, pressure.look(500).name
    ('REQUESTS', 'REQUESTS', 'NOTHING')
    """

    __slots__ = ("_limit", "stage")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.stage = Stage.NOTHING

    def look(self, resident: int) -> Stage:
        """The stage with so many bytes in memory."""
        share = resident / self._limit
        entered = max(stage for stage in Stage if share >= SHARES[stage])
        kept = max(stage for stage in Stage if share + SLACK >= SHARES[stage])
        self.stage = max(entered, min(self.stage, kept))
        return self.stage
