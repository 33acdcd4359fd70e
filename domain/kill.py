"""Kills: who took a candidate out, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REHEARSED: Final = "drill:"
"""What the id of a kill begins with that a drill caused; the drill's own id follows, and a colon."""


def is_rehearsed(kill: str) -> bool:
    """Whether the kill with this id was caused by the fault of a drill."""
    return kill.startswith(REHEARSED)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of one endpoint's candidate. Never changed, never deleted; only cleared by id.

    Attributes:
        id: unique for ever: UUID4 text, or `drill:DRILL:…` where the fault of a drill caused it.
        endpoint: the endpoint whose candidate is out.
        actor: an operator's name, `guard:NAME`, or `breaker:worker-N`.
        reason: why, in words.
        at: wall clock, seconds since the epoch. For people: nothing is decided by it.
        version: the candidate version that was live.
    """

    id: str
    endpoint: str
    actor: str
    reason: str
    at: float
    version: str


@dataclass(frozen=True, slots=True)
class Clearance:
    """A re-arm: which kill ids an operator saw and cleared, and why."""

    endpoint: str
    ids: frozenset[str]
    actor: str
    reason: str
    at: float
