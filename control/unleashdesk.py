"""The flags of an Unleash server: fetched, checked, told about, and the last good ones kept."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from control.clock import Clock
from control.log import note
from domain.errors import ConfigError
from settings.schema import Settings, UnleashSettings
from shadow.tasks import Tasks

if TYPE_CHECKING:  # the SDK is an extra
    from routing.sources.unleash import UnleashFlags

FIRST_FETCH = 2.0
"""Seconds that the start waits for Unleash; it goes on with the last good flags."""

_TOKEN = re.compile(r"[^:\s]+:(?P<environment>[^.\s]+)\.[^\s]+")
_HEADER_VALUE = re.compile(r"[!-~]{1,1024}")

log = logging.getLogger("pointsman.flags")


def token(key: str, variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret in `variable`; it is never shown. Raises ConfigError, by the configuration's `key`."""
    secret = environment.get(variable, "")
    if not secret:
        raise ConfigError(key, variable, "the environment has no such variable; put the token into it")
    if not _HEADER_VALUE.fullmatch(secret):
        raise ConfigError(key, variable, "the variable holds no token: blanks, line ends or too many letters")
    return secret


def backend_token(server: UnleashSettings, environment: Mapping[str, str] = os.environ) -> str:
    """The token to read flags with. Raises ConfigError when it is missing, or for another environment."""
    secret = token("flags.unleash.token_env", server.token_env, environment)
    parts = _TOKEN.fullmatch(secret)
    if parts is not None and parts["environment"] not in ("*", server.environment):
        raise ConfigError(
            "flags.unleash.environment",
            server.environment,
            f"the token in {server.token_env} is for environment {parts['environment']!r}: "
            "name that one here, or give another token",
        )
    return secret


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
        secret = backend_token(server)
        if server.admin_token_env is not None:
            token("flags.unleash.admin_token_env", server.admin_token_env)
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
