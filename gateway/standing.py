"""What a worker knows of one server: can it be reached, do its checks pass, do its answers fail, is it new?

The versions that the server serves (`gateway.servers`) are told of every change; what follows is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

from domain.routing import Policy
from gateway.ejection import Outlier
from gateway.group import Group

FIRST_WEIGHT = 0.1
"""Share of its usual requests that a server gets when it comes back."""


class Standing:
    """One server's.

    Attributes:
        resting: no connection can be made at present, and there is none.
        healthy: what active checks say; None when they have not said anything yet.
        weight: share of its usual requests that it should get: below one while it starts slowly.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self._slow_start = policy.slow_start
        self._now = clock
        self._warm_from: float | None = None
        self.groups: WeakSet[Group] = WeakSet()
        self.outlier = Outlier(policy.ejection)
        self.resting = False
        self.healthy: bool | None = True if policy.health is None else None
        self.weight = 1.0

    def reached(self) -> None:
        """A connection was made."""
        if self.resting:
            self.resting = False
            self._came_back()

    def unreachable(self) -> None:
        """A connect failed, and there is no connection."""
        if not self.resting:
            self.resting = True
            self._changed()

    def checked(self, healthy: bool) -> None:
        """The active checks changed their mind."""
        before, self.healthy = self.healthy, healthy
        if healthy and before is False:
            self._came_back()
        elif healthy is not before:
            self._changed()

    def observed(self, ok: bool) -> None:
        """A request that the server got has ended: `ok` unless it was cut, came late, or was a 5xx.

        Calls with True are needed only while `outlier.errors` is not 0.
        """
        outlier = self.outlier
        if ok:
            outlier.errors = 0
            return
        outlier.errors += 1
        if outlier.due and self.groups and all(group.may_eject() for group in self.groups):
            outlier.eject(self._now())
            self._changed()

    def tick(self, now: float) -> None:
        """End what time ends: an ejection, a slow start."""
        if self.outlier.times and self.outlier.returned(now):
            self._came_back()
        if self._warm_from is not None:
            share = (now - self._warm_from) / self._slow_start
            self.weight = min(1.0, max(FIRST_WEIGHT, share))
            if share >= 1.0:
                self._warm_from = None
                self._changed()

    def _came_back(self) -> None:
        if self._slow_start > 0:
            self._warm_from = self._now()
            self.weight = FIRST_WEIGHT
        self._changed()

    def _changed(self) -> None:
        for group in tuple(self.groups):
            group.update()
