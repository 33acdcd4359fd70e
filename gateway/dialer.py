"""One new connection to a server: addresses in turn, TLS, all within the connect timeout."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar, cast

from domain.routing import Upstream
from gateway.plain import Plain
from gateway.resolver import Addresses, ResolveError
from gateway.trust import Contexts
from shadow.tasks import Tasks

P = TypeVar("P")
"""An asyncio.Protocol by its methods; to inherit from one would keep a class from being compiled whole."""

MOST_ADDRESSES = 3
"""Addresses that one connect tries; they share its time."""


class Dialer:
    """`failures` counts what connects failed of: refused, timeout, tls, resolve or unreachable."""

    def __init__(
        self, upstream: Upstream, loop: asyncio.AbstractEventLoop, tasks: Tasks, clock: Callable[[], float],
        plain: Plain | None = None,
    ) -> None:  # fmt: skip
        policy = upstream.policy
        self._upstream = upstream
        self._loop = loop
        self._plain = plain or Plain(loop, accelerated=False)
        self._clock = clock
        self._contexts = Contexts(policy.trust, loop) if upstream.tls else None
        self._name = (policy.trust.server_name or upstream.host) if upstream.tls else None
        self.addresses = Addresses(upstream.host, upstream.port, policy.resolve, loop, tasks, clock)
        self.failures: dict[str, int] = {}

    def take(self) -> dict[str, int]:
        """What failed since the last call."""
        failures, self.failures = self.failures, {}
        return failures

    async def dial(self, protocol: Callable[[], P]) -> P:
        """A connection, as the protocol made for it. Raises OSError, TLS failures included."""
        try:
            return await self._dial(protocol)
        except OSError as error:
            kind = self._kind(error)
            self.failures[kind] = self.failures.get(kind, 0) + 1
            raise

    async def _dial(self, protocol: Callable[[], P]) -> P:
        addresses = (await self.addresses.in_turn())[:MOST_ADDRESSES]
        context = None if self._contexts is None else await self._contexts.current()
        end = self._clock() + self._upstream.policy.connections.connect_timeout
        failed: OSError = OSError("no address was left to try")
        for index, address in enumerate(addresses):
            try:
                async with asyncio.timeout((end - self._clock()) / (len(addresses) - index)):
                    if context is None:
                        return await self._plain.connect(protocol, address, self._upstream.port)
                    _, made = await self._loop.create_connection(
                        cast("Callable[[], asyncio.Protocol]", protocol),
                        address,
                        self._upstream.port,
                        ssl=context,
                        server_hostname=self._name,
                    )
            except OSError as error:
                self.addresses.doubt(address)
                failed = error
            else:
                return cast("P", made)
        raise failed

    def _kind(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return "timeout"
        if isinstance(error, ResolveError):
            return "resolve"
        if isinstance(error, ConnectionRefusedError):
            return "refused"
        if isinstance(error, ssl.SSLError) or (self._contexts and isinstance(error, ConnectionError)):
            return "tls"
        return "unreachable"
