"""Kills: who took a candidate out, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of one endpoint's candidate. Never changed, never deleted; only cleared by id.

    Attributes:
        id: unique for ever (UUID4 text).
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
