"""The flags of an Unleash server: fetched, checked, told about, and the last good ones kept."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from control.clock import Clock
from control.log import note
from domain.errors import ConfigError
from settings.schema import Settings, UnleashSettings
from settings.surroundings import admin_token, backend_token
from shadow.tasks import Tasks

if TYPE_CHECKING:  # the SDK is an extra
    from routing.sources.unleash import UnleashFlags

FIRST_FETCH = 2.0
"""Seconds that the start waits for Unleash; it goes on with the last good flags."""

log = logging.getLogger("pointsman.flags")


def flag_names(settings: Settings) -> frozenset[str]:
    """The flags that endpoints name."""
    return frozenset(one.flag for one in settings.endpoints if one.flag is not None)


class UnleashDesk:
    """One environment of one Unleash server, for the flags that `settings` name.

    `expose` gets each good document. `stale` says why nothing good came at the last fetch, None when it did.
    """

    def __init__(
        self,
        server: UnleashSettings,
        names: frozenset[str],
        expose: Callable[[bytes], int],
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        """Raises ConfigError when a token or the SDK is missing."""
        secret = backend_token(server, os.environ)
        admin_token(server, os.environ)
        self.server = server
        self.names = names
        self.stale: str | None = None
        self._expose = expose
        self._tasks = tasks
        self._missing: frozenset[str] = frozenset()
        self._starting: asyncio.Task[None] | None = None
        self.flags = _flags(server, secret, names, self._took, self._fetched, clock)

    async def start(self) -> None:
        """Begin to poll, and wait a little for the first answer."""
        self._starting = self._tasks.spawn(self.flags.start(), "flags of Unleash")
        await asyncio.wait({self._starting}, timeout=FIRST_FETCH)

    async def end(self) -> None:
        """Poll no more."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting})
        await self.flags.close()

    async def refresh(self) -> bytes:
        """Fetch now; answers the document in force.

        Raises StateUnavailable, or ConfigError for a document that is refused.
        """
        return await self.flags.refresh()

    def _took(self, document: bytes) -> None:
        self._expose(document)

    def _fetched(self) -> None:
        flags = self.flags
        problem = None if flags.problem is None else str(flags.problem)
        if problem is not None and problem != self.stale:
            note(log, logging.ERROR, "flags stale", reason=problem)
        if problem is None and self.stale is not None:
            note(log, logging.INFO, "flags fresh again")
        self.stale = problem
        if flags.missing != self._missing:
            self._missing = flags.missing
            where = f"{self.server.project}/{self.server.environment}"
            for name in sorted(flags.missing):
                note(log, logging.WARNING, "flag missing: nobody sees its candidates", flag=name, where=where)


def _flags(
    server: UnleashSettings,
    secret: str,
    names: frozenset[str],
    took: Callable[[bytes], None],
    fetched: Callable[[], None],
    clock: Clock,
) -> UnleashFlags:
    try:
        from routing.sources.client_features import ClientFeatures
        from routing.sources.unleash import UnleashFlags
    except ImportError as error:
        raise ConfigError(
            "flags.source", "unleash", f"install it with pip install 'pointsman[unleash]' ({error})"
        ) from error
    return UnleashFlags(server, ClientFeatures(server, secret), names, took, fetched, clock.monotonic)
