"""What a process writes that gates were started in, or that is a gate itself."""

from __future__ import annotations

import asyncio

from domain.errors import GateError


async def written(stream: asyncio.StreamReader | None, most: int, who: str) -> bytes:
    """All that `who` writes, to its end. Raises GateError when that is more than `most` bytes."""
    found = b""
    while stream is not None and (part := await stream.read(65_536)):
        found += part
        if len(found) > most:
            raise GateError(f"{who} wrote more than {most} bytes")
    return found
