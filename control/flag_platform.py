"""Where flags come from, as one thing: nowhere, a file, an Unleash server, or a platform that is asked unit
by unit; and changing that in flight.

A document is good for its source only. When the source changes and the new one gives nothing, nobody is
exposed: the flags of another environment must not decide here.
"""

from __future__ import annotations

from collections.abc import Callable

from control.clock import Clock
from control.flagdesk import FlagDesk
from control.link import Link
from control.lookupdesk import LookupDesk
from control.unleashdesk import UnleashDesk, flag_names
from domain.errors import ConfigError
from settings.schema import Settings
from settings.snapshot import lookup
from shadow.tasks import Tasks

NO_FLAGS = b'{"version":1,"features":[]}'
"""Exposes nobody."""


Desk = UnleashDesk | LookupDesk


class FlagPlatform:
    """The flags that `settings` say. `expose` gets each good document and answers the generation.

    `served` says whether a document has come from the source in this life.
    """

    def __init__(
        self, settings: Settings, expose: Callable[[bytes], int], link: Link, clock: Clock, tasks: Tasks
    ) -> None:
        """Raises ConfigError when a token is missing. Only on a running loop."""
        self.served = False
        self.unleash: UnleashDesk | None = None
        self.lookup: LookupDesk | None = None
        self._link = link
        self._expose = expose
        self._clock = clock
        self._tasks = tasks
        self._file = FlagDesk(settings.flags_path, self._serve)
        self._place = _place(settings)
        self._take(self.prepared(settings))

    @property
    def source(self) -> str | None:
        """`file`, `unleash`, `openfeature`, or None when no flags are configured."""
        if self.unleash is not None:
            return "unleash"
        if self.lookup is not None:
            return "openfeature"
        return None if self._file.path is None else "file"

    @property
    def stale(self) -> str | None:
        """Why what is served is not what the source has now; None when it is."""
        desk = self._desk
        return self._file.stale if desk is None else desk.stale

    async def start(self) -> None:
        """Get the first document, if it can be had in time, and follow the source for ever."""
        self._tasks.spawn(self._file.watch(), "flags")
        desk = self._desk
        if desk is None:
            await self._file.look()
        else:
            await desk.start()

    def prepared(self, settings: Settings) -> Desk | None:
        """The desk for `settings`, not started yet; the one that runs where it fits, None for a file.

        Raises ConfigError: a token or a package is missing.
        """
        now, names, bounds = self._desk, flag_names(settings), lookup(settings)
        if bounds is not None:
            fits = isinstance(now, LookupDesk) and (now.bounds, now.names) == (bounds, names)
            return now if fits else LookupDesk(settings, self._link, self._clock, self._tasks)
        server = settings.unleash
        if server is None:
            return None
        if isinstance(now, UnleashDesk) and (now.server, now.names) == (server, names):
            return now
        return UnleashDesk(server, names, self._serve, self._clock, self._tasks)

    async def follow(self, settings: Settings, prepared: Desk | None) -> None:
        """Follow what `settings` say from now on; `prepared` is for them."""
        before = self._desk
        self._take(prepared)
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
        if self.lookup is not None:
            await self.lookup.refresh()
            return self._expose(NO_FLAGS)
        if self.unleash is None:
            return await self._file.refresh()
        return self._serve(await self.unleash.refresh())

    async def replace(self, document: bytes) -> int:
        """Write `document` to the flag file and serve it. Raises ConfigError and StateUnavailable."""
        where = None
        if self.unleash is not None:
            where = f"Unleash at {self.unleash.server.url}"
        elif self.lookup is not None:
            where = self.lookup.server.provider
        if where is not None:
            allowed = f"change flags in {where}, then POST /api/v1/flags/refresh"
            raise ConfigError("flags.source", self.source, allowed)
        return await self._file.replace(document)

    async def end(self) -> None:
        """Follow nothing more."""
        desk = self._desk
        if desk is not None:
            await desk.end()

    def condition(self) -> str:
        """`none`, `fresh`, `waiting: why` before the first document, or `stale: why`."""
        if self.source is None:
            return "none"
        if self.stale is None:
            return "fresh"
        waiting = self.unleash is not None and self.unleash.flags.heard_at is None
        waiting = waiting or (self.lookup is not None and not self.lookup.answered)
        return f"{'waiting' if waiting else 'stale'}: {self.stale}"

    @property
    def _desk(self) -> Desk | None:
        return self.lookup if self.unleash is None else self.unleash

    def _take(self, desk: Desk | None) -> None:
        self.unleash = desk if isinstance(desk, UnleashDesk) else None
        self.lookup = desk if isinstance(desk, LookupDesk) else None

    def _serve(self, document: bytes) -> int:
        self.served = True
        return self._expose(document)


def _place(settings: Settings) -> tuple[str, ...]:
    """What a document is good for."""
    server = settings.unleash
    if server is not None:
        return ("unleash", server.url, server.environment, server.project)
    bounds = lookup(settings)
    if bounds is not None:
        return ("openfeature", bounds.source)
    return () if settings.flags_path is None else ("file",)
