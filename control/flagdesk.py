"""The flag document in force: followed in its file, replaced through the API, the last good one kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from control.log import note
from domain.errors import ConfigError, StateUnavailable
from routing.sources.file import FlagFile

PERIOD = 0.2
"""Seconds between two looks at the file."""

log = logging.getLogger("pointsman.flags")


class FlagDesk:
    """Follows the flag file at `path`, None for no file. `expose` gets each good document.

    `stale` says why the file cannot be served now, None while it can.
    """

    def __init__(self, path: str | None, expose: Callable[[bytes], int]) -> None:
        self.stale: str | None = None
        self._expose = expose
        self._reading = asyncio.Lock()
        self._file = None if path is None else FlagFile(path)

    @property
    def path(self) -> str | None:
        """The file that is followed."""
        return None if self._file is None else str(self._file.path)

    async def follow(self, path: str | None) -> None:
        """Follow another file from now on. One that cannot be read leaves the flags as they are."""
        if path != self.path:
            self._file = None if path is None else FlagFile(path)
            self.stale = None
            await self.look()

    async def look(self) -> None:
        """Read the file if it changed; a bad one is told once."""
        file = self._file
        if file is None or not await asyncio.to_thread(file.changed):
            return
        try:
            await self.refresh()
        except ConfigError as error:
            if self.stale != str(error):
                note(log, logging.ERROR, "flags stale", reason=str(error))
            self.stale = str(error)

    async def refresh(self) -> int:
        """Read the file now; answers the generation that serves it. Raises ConfigError for a bad file."""
        async with self._reading:
            file = self._followed()
            document = await asyncio.to_thread(file.read)
            return self._serve(document)

    async def replace(self, document: bytes) -> int:
        """Write `document` to the file and serve it. Raises ConfigError for a bad one, StateUnavailable."""
        async with self._reading:
            file = self._followed()
            await asyncio.to_thread(file.write, document)
            return self._serve(await asyncio.to_thread(file.read))

    async def watch(self) -> None:
        """Follow the file for ever."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()

    def _serve(self, document: bytes) -> int:
        if self.stale is not None:
            note(log, logging.INFO, "flags fresh again")
        self.stale = None
        return self._expose(document)

    def _followed(self) -> FlagFile:
        if self._file is None:
            raise StateUnavailable("no flag file is configured; set flags.path")
        return self._file
