"""What the switchboard asks of the way to the other replicas; and the gateway that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.kill import Clearance
from killswitch.replication import News


class Sharing(Protocol):
    """Several gateways that act as one. `alone` says that there are no others."""

    @property
    def alone(self) -> bool:
        """Whether nothing is shared."""
        ...

    def ring(self, endpoint: str, news: News) -> None:
        """Tell the others, now and without waiting, as far as that is possible. Follow with `tell`."""
        ...

    async def tell(self, endpoint: str, news: News) -> bool | None:
        """Tell the others, within a second; whether the shared state has it, None where nothing is shared.

        What could not be told is told later.
        """
        ...

    def kept(self, name: str) -> bytes:
        """What has to survive a restart of sharing the evidence of the endpoint `name`."""
        ...

    async def learn(self, endpoints: Sequence[str]) -> None:
        """Hear now what the others know of these endpoints, as far as they can be asked; raises nothing."""
        ...

    async def rearm(self, clearance: Clearance) -> None:
        """Decide a re-arm for all: raises StaleRearm when other kills are in force, and StateUnavailable."""
        ...


class Alone:
    """A gateway that shares nothing: it decides for itself, and leads."""

    alone = True

    def ring(self, endpoint: str, news: News) -> None:
        """Nobody is there."""

    async def tell(self, endpoint: str, news: News) -> bool | None:
        """Nobody is there."""
        return None

    def kept(self, name: str) -> bytes:
        """Nothing."""
        return b""

    async def learn(self, endpoints: Sequence[str]) -> None:
        """Nobody is there."""

    async def rearm(self, clearance: Clearance) -> None:
        """Nobody else has a say."""

    def held(self) -> int | None:
        """See `domain.ports.Lease`."""
        return 1
