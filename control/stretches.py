"""Requests and errors of each arm, where no request reaches both: gathered until there are enough to judge.

A stretch ends when both arms have had `FEWEST` requests, so its end depends on how many there were and never
on how they went. What the gateway itself answers says nothing about an arm: a client that left, was too slow,
or sent too much. A candidate that gave no answer counts as failed, though the incumbent answered for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from domain.routing import Arm
from killswitch.counts import ArmCounts
from shadow.wire import RequestCounts

FEWEST = 10

_OURS = frozenset({408, 413, 431, 499})


class Stretches:
    """Counts of one endpoint."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._counts: dict[str, tuple[int, int]] = {}

    def clear(self) -> None:
        """Forget what was gathered."""
        self._began = None
        self._counts.clear()

    def add(self, counts: Iterable[RequestCounts], versions: dict[str, str], now: float) -> None:
        """Take `counts` of the right version of each arm into account, at the wall time `now`."""
        for one in counts:
            if versions.get(one.arm) != one.version or one.status in _OURS or one.requests <= 0:
                continue
            requests, errors = self._counts.get(one.arm, (0, 0))
            failed = 0 if 200 <= one.status < 300 else one.requests
            self._counts[one.arm] = requests + one.requests, errors + failed
            if self._began is None:
                self._began = now

    def take(self) -> tuple[ArmCounts, ArmCounts, float] | None:
        """The incumbent's and the candidate's counts and when they began, if there are enough of them."""
        incumbent, candidate = (ArmCounts(*self._counts.get(arm.value, (0, 0))) for arm in Arm)
        if self._began is None or min(incumbent.requests, candidate.requests) < FEWEST:
            return None
        began = self._began
        self.clear()
        return incumbent, candidate, began
