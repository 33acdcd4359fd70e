import asyncio
import socket

class Readiness:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...

class PlainTransport:
    def __init__(
        self,
        readiness: Readiness,
        protocol: asyncio.Protocol,
        connected: socket.socket,
        *,
        ahead: bool = False,
    ) -> None: ...
