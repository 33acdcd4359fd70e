"""Outlier ejection: a server whose answers keep failing is left out for a while, though it can be reached.

Consecutive failures are counted, as Envoy's `consecutive_5xx` does: the count resets with every good answer,
so that it needs no window and no volume. Each ejection in a row lasts one `pause` longer; a pause served
without another ejection takes one back. How many servers may be out at once is their version's matter
(`gateway.servers`); connects that fail are the pace's (`gateway.pace`).
"""

from __future__ import annotations

from domain.routing import Ejection


class Outlier:
    """One server's record. `until` is loop time; 0 when it is not ejected."""

    __slots__ = ("_limits", "_since", "errors", "times", "until")

    def __init__(self, limits: Ejection) -> None:
        self._limits = limits
        self._since = 0.0
        self.errors = 0
        self.times = 0
        self.until = 0.0

    @property
    def ejected(self) -> bool:
        return self.until > 0.0

    @property
    def due(self) -> bool:
        """Whether its errors are enough to eject it, and it is not ejected yet."""
        limit = self._limits.consecutive_errors
        return 0 < limit <= self.errors and not self.ejected

    def eject(self, now: float) -> None:
        """Leave it out from now on."""
        self.times += 1
        self.errors = 0
        self.until = now + min(self._limits.pause * self.times, self._limits.longest)

    def returned(self, now: float) -> bool:
        """Whether its ejection is over just now; also forgives one ejection for every good pause."""
        if self.ejected:
            if now < self.until:
                return False
            self.until = 0.0
            self._since = now
            return True
        if self.times and now - self._since >= self._limits.pause:
            self.times -= 1
            self._since = now
        return False
