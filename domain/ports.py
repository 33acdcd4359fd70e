"""Ports: what the inner folders ask of the outside world. `gateway/` and `control/` wire the adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from domain.kill import Clearance, Kill
from domain.lineage import Lineage
from domain.reference import Reference


class StateStore(Protocol):
    """Where kills, clearances, generations and evidence survive a restart.

    Every write is durable when its call returns: a crash of the process or of the machine a moment later
    loses nothing. Every method may be called from any thread, blocks for as long as the disk takes, and
    raises `StateUnavailable` (with the reason) when the state can be neither read nor written. A failed write
    has changed nothing, or, where a server was lost while it answered, was done whole; so every write may be
    done again.
    """

    def kills(self) -> tuple[Kill, ...]:
        """Every kill ever added, in the order they came."""
        ...

    def clearances(self) -> tuple[Clearance, ...]:
        """Every clearance ever added, in the order they came."""
        ...

    def add_kill(self, kill: Kill) -> None:
        """Keep `kill`. A known id changes nothing: the first writing of a kill stands."""
        ...

    def add_clearance(self, clearance: Clearance) -> None:
        """Keep `clearance`. One that is known already changes nothing."""
        ...

    def reserve_generations(self, count: int) -> int:
        """The first of `count` numbers (1 or more each) that were never handed out before.

        Raises ValueError when `count` is below 1.
        """
        ...

    def checkpoint(self, states: Mapping[str, bytes], sequences: Mapping[str, int]) -> None:
        """Replace the named states and sequences, all of them or none; the others stay."""
        ...

    def states(self) -> dict[str, bytes]:
        """The last checkpoint of every state, by name."""
        ...

    def sequences(self) -> dict[str, int]:
        """The last checkpoint of every sequence, by name."""
        ...

    def close(self) -> None:
        """Give the resources back. Twice is harmless; other calls afterwards raise StateUnavailable."""
        ...


class Lease(Protocol):
    """Who of several replicas leads, and may move releases on."""

    def held(self) -> int | None:
        """The fencing token while this process leads, None while it does not. Never waits.

        Tokens rise: whoever takes steps in a shared place shows the token, and one that is lower than the
        highest that was seen there is refused. A process that shares nothing always leads, with token 1.
        """
        ...


class LineageSource(Protocol):
    """A registry that says what versions were made of. One source serves one kind of reference."""

    async def lookup(self, reference: Reference) -> Lineage:
        """The record that `reference` names now, within a few seconds.

        Raises LineageUnknown when the source has no such record, StateUnavailable when it cannot be asked,
        and ConfigError when what is written there is no record.
        """
        ...

    async def close(self) -> None:
        """Give the resources back. Twice is harmless."""
        ...
