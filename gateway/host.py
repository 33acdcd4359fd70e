"""What exchanges and mirrors need of the worker they run in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from domain.observation import Observation
from gateway.counters import Counters
from gateway.message import RequestMessage
from gateway.service import ServedEndpoint, ServedVersion
from routing.exposure import FlagContext
from shadow.pairing import PendingPair
from shadow.sampler import Sampler

if TYPE_CHECKING:
    from gateway.mirror import Mirror


class Host(Protocol):
    """A worker, seen from one request."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    counters: Counters
    sampler: Sampler
    unit_hash: hashlib.blake2b
    """Keyed, of 8 bytes; copied for each unit."""
    until_sample: int
    """Requests until the next one whose time in the gateway is measured; counted down by exchanges."""

    def current(self, service: ServedEndpoint) -> ServedEndpoint:
        """`service` as the snapshot in force has it."""

    def later(self, mirror: Mirror) -> None:
        """Send `mirror` once the event loop has written what clients wait for."""

    def observe(
        self, service: ServedEndpoint, version: ServedVersion, observation: Observation,
        pending: PendingPair | None,
    ) -> None:  # fmt: skip
        """The arm that `version` serves as ended its part of an exchange."""

    def repeated(self, observation: Observation, pending: PendingPair) -> None:
        """The incumbent, asked a second time, answered or failed."""

    def context(self, service: ServedEndpoint, message: RequestMessage, peer: str) -> FlagContext:
        """What the flag's constraints may ask about a request."""
