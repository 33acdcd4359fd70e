"""The client's end of a unix socket whose server may go and come back: it connects again for ever."""

from __future__ import annotations

import asyncio
from typing import cast

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
"""Seconds between attempts to connect."""
STEADY = 1.0
"""Seconds a connection must have lasted for the next pause to be the first again."""


class Reconnecting(asyncio.Protocol):
    """One connection at a time to the socket at `path`, until `_closing`; `_lost` is set when it ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()
        self._closing = False

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._closing:
            self._lost.clear()
            try:
                await loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            connected = loop.time()
            await self._lost.wait()
            if loop.time() - connected > STEADY:
                pause = FIRST_PAUSE
            elif not self._closing:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def _write(self, data: bytes) -> None:
        """Send `data` if connected."""
        if self._transport is not None:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost.set()
