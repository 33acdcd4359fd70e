"""Where flags come from, as one thing: nowhere, a file, or an Unleash server; and changing that in flight.

A document is good for its source only. When the source changes and the new one gives nothing, nobody is
exposed: the flags of another environment must not decide here.
"""

from __future__ import annotations

from collections.abc import Callable

from control.clock import Clock
from control.flagdesk import FlagDesk
from control.unleashdesk import UnleashDesk, flag_names
from domain.errors import ConfigError
from settings.schema import Settings
from shadow.tasks import Tasks

NO_FLAGS = b'{"version":1,"features":[]}'
"""Exposes nobody."""


class FlagPlatform:
    """The flags that `settings` say. `expose` gets each good document and answers the generation.

    `served` says whether a document has come from the source in this life.
    """

    def __init__(
        self, settings: Settings, expose: Callable[[bytes], int], clock: Clock, tasks: Tasks
    ) -> None:
        """Raises ConfigError when a token is missing."""
        self.served = False
        self.unleash: UnleashDesk | None = None
        self._expose = expose
        self._clock = clock
        self._tasks = tasks
        self._file = FlagDesk(settings.flags_path, self._serve)
        self._place = _place(settings)
        self.unleash = self._desk(settings)

    @property
    def source(self) -> str | None:
        """`file`, `unleash`, or None when no flags are configured."""
        if self.unleash is not None:
            return "unleash"
        return None if self._file.path is None else "file"

    @property
    def stale(self) -> str | None:
        """Why what is served is not what the source has now; None when it is."""
        return self._file.stale if self.unleash is None else self.unleash.stale

    async def start(self) -> None:
        """Get the first document, if it can be had in time, and follow the source for ever."""
        self._tasks.spawn(self._file.watch(), "flags")
        if self.unleash is None:
            await self._file.look()
        else:
            await self.unleash.start()

    def prepared(self, settings: Settings) -> UnleashDesk | None:
        """The server to follow under `settings`, not started yet. Raises ConfigError: a token is missing."""
        return self._desk(settings)

    async def follow(self, settings: Settings, prepared: UnleashDesk | None) -> None:
        """Follow what `settings` say from now on; `prepared` is for them."""
        before, self.unleash = self.unleash, prepared
        moved, self._place = _place(settings) != self._place, _place(settings)
        if moved:
            self.served = False
        if before is not None and before is not prepared:
            await before.end()
        await self._file.follow(settings.flags_path)
        if prepared is not None and prepared is not before:
            await prepared.start()
        if moved and not self.served:
            self._expose(NO_FLAGS)

    async def refresh(self) -> int:
        """Get the flags now; answers the generation that serves them.

        Raises ConfigError for a bad document, StateUnavailable when none can be had.
        """
        if self.unleash is None:
            return await self._file.refresh()
        return self._serve(await self.unleash.refresh())

    async def replace(self, document: bytes) -> int:
        """Write `document` to the flag file and serve it. Raises ConfigError and StateUnavailable."""
        if self.unleash is not None:
            where = self.unleash.server
            raise ConfigError(
                "flags.source",
                "unleash",
                f"change flags in Unleash at {where.url}, then POST /api/v1/flags/refresh",
            )
        return await self._file.replace(document)

    async def end(self) -> None:
        """Follow nothing more."""
        if self.unleash is not None:
            await self.unleash.end()

    def condition(self) -> str:
        """`none`, `fresh`, `waiting: why` before the first document, or `stale: why`."""
        if self.source is None:
            return "none"
        if self.stale is None:
            return "fresh"
        waiting = self.unleash is not None and self.unleash.flags.heard_at is None
        return f"{'waiting' if waiting else 'stale'}: {self.stale}"

    def _desk(self, settings: Settings) -> UnleashDesk | None:
        """The one that runs where it fits, else a new one."""
        server, names = settings.unleash, flag_names(settings)
        if server is None:
            return None
        now = self.unleash
        if now is not None and (now.server, now.names) == (server, names):
            return now
        return UnleashDesk(server, names, self._serve, self._clock, self._tasks)

    def _serve(self, document: bytes) -> int:
        self.served = True
        return self._expose(document)


def _place(settings: Settings) -> tuple[str, ...]:
    """What a document is good for."""
    server = settings.unleash
    if server is not None:
        return ("unleash", server.url, server.environment, server.project)
    return () if settings.flags_path is None else ("file",)
