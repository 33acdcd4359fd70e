"""How fast a pool connects: a ramp while it goes well, one attempt at a time and pauses when it does not.

A server that starts again is met by every worker of every machine at once. The ramp is TCP's slow start
(RFC 5681 section 3.1): each connection made allows one more attempt at the same time, which doubles them each
round trip. A failure takes it back to one, and no attempt begins before a pause is over that doubles with
every failed round and is jittered, so that workers do not come in step (AWS Architecture Blog, "Exponential
Backoff And Jitter", 2015). A refused request so costs no connect: whoever asks meanwhile is told at once.
"""

from __future__ import annotations

FIRST_AT_ONCE = 16
"""Attempts under way at the same time to a server that has not failed."""
FIRST_PAUSE = 0.025
LONGEST_PAUSE = 1.0
"""Seconds until the next attempt after a failure: doubled each round, times 0.5 to 1 at random.

The longest is short, for it prolongs every outage: a dead server costs each worker one connect a second.
"""


class Pace:
    """`at_once` attempts may be under way; `until` (loop time) none may begin."""

    __slots__ = ("at_once", "failures", "until")

    def __init__(self) -> None:
        self.at_once = FIRST_AT_ONCE
        self.failures = 0
        self.until = 0.0

    def connected(self) -> None:
        """An attempt succeeded."""
        self.failures = 0
        self.at_once += 1

    def failed(self, now: float, draw: float) -> None:
        """An attempt failed; `draw` is random in [0, 1). Those that fail within a pause are one round."""
        self.at_once = 1
        if now < self.until:
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(self.failures, 30), LONGEST_PAUSE)
        self.failures += 1
        self.until = now + pause * (0.5 + draw / 2)

    def emptied(self) -> None:
        """The last connection was lost: whatever the ramp had reached was reached with another process."""
        self.at_once = min(self.at_once, FIRST_AT_ONCE)
