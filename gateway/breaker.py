"""The local breaker: this worker stops asking a candidate that keeps failing hard, without asking anybody.

It reads classified observations beside the request, never touches one, and latches: only the control
process, by taking the candidate out for good (and an operator re-arming it), or another candidate closes it.
"""

from __future__ import annotations

from domain.members import ANSWERED
from domain.observation import Observation


class Breaker:
    """Opens after `limit` consecutive failures of the candidate `version`; 0 never opens."""

    __slots__ = ("failures", "limit", "opened", "version")

    def __init__(self, version: str, limit: int) -> None:
        self.version = version
        self.limit = limit
        self.failures = 0
        self.opened = False

    def record(self, observation: Observation) -> bool:
        """Whether this observation opened the breaker. A 4xx answer is no hard failure: the server works."""
        if observation.version != self.version or self.opened:
            return False
        if observation.outcome is ANSWERED and observation.status < 500:
            self.failures = 0
            return False
        if observation.outcome.blames_the_arm or observation.status >= 500:
            self.failures += 1
        elif observation.status:
            self.failures = 0
        if self.limit and self.failures >= self.limit:
            self.opened = True
        return self.opened
