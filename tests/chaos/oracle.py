"""Traffic that is told apart request by request, and an oracle that knows which must not reach the candidate.

The oracle looks at one clock only. A gateway was told to keep its candidate out, or said that it does, at a
moment of this process; somebody asked for a re-arm at a later one. A request that began after the first and
was answered before the second must not have reached the candidate, not even as a copy, whatever happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from tests.support.gateway import PATH
from tests.support.upstream import Heard


@dataclass(slots=True)
class Asked:
    """One request: which gateway, when it began and was answered (monotonic seconds), and by which arm."""

    gateway: int
    began: float
    ended: float = 0.0
    arm: str = ""


@dataclass(slots=True)
class Ban:
    """From `since` on no request of `gateway` may reach the candidate, until `until`."""

    gateway: int
    since: float
    until: float | None = None


@dataclass(slots=True)
class Oracle:
    """What was asked, what reached the candidate, and what must not have."""

    asked: dict[str, Asked] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)
    bans: list[Ban] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def candidate_heard(self, heard: Heard) -> None:
        self.reached.setdefault(heard.fields["x-user-id"], time.monotonic())

    def reached_from(self, gateway: int) -> int:
        """How many requests of `gateway` have reached the candidate."""
        return sum(unit.startswith(f"{gateway}-") for unit in self.reached)

    def out(self, gateway: int) -> None:
        """`gateway` keeps its candidate out from now on."""
        if not any(ban.gateway == gateway and ban.until is None for ban in self.bans):
            self.bans.append(Ban(gateway, time.monotonic()))

    def is_out(self, gateway: int) -> bool:
        return any(ban.gateway == gateway and ban.until is None for ban in self.bans)

    def rearm_asked(self) -> None:
        """From now on nothing is known of any gateway: the re-arm may reach them even if nobody says so."""
        for ban in self.bans:
            if ban.until is None:
                ban.until = time.monotonic()

    def forbidden(self) -> tuple[int, list[str]]:
        """How many requests must not have reached the candidate, and those that did."""
        checked, wrong = 0, []
        for ban in self.bans:
            until = ban.until or time.monotonic()
            for unit, one in self.asked.items():
                if one.gateway == ban.gateway and ban.since <= one.began and 0 < one.ended <= until:
                    checked += 1
                    if unit in self.reached or one.arm == "candidate":
                        wrong.append(
                            f"{unit}: began {one.began - ban.since:.3f} s after its gateway was out; "
                            f"answered by {one.arm}; the candidate heard it: {unit in self.reached}"
                        )
        return checked, wrong


class Traffic:
    """Clients of one gateway that ask one after another, each request with a unit of its own.

    While it is `paused` nothing is asked and all connections are closed: then the gateway may be ended.
    """

    def __init__(
        self, oracle: Oracle, gateway: int, port: int, clients: int = 2, pause: float = 0.01
    ) -> None:
        self._oracle = oracle
        self._gateway = gateway
        self._port = port
        self._clients = clients
        self._pause = pause
        self._number = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def resume(self) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = False
        self._tasks = [loop.create_task(self._run()) for _ in range(self._clients)]

    async def paused(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def _run(self) -> None:
        writer: asyncio.StreamWriter | None = None
        while not self._stopping:
            self._number += 1
            unit = f"{self._gateway}-{self._number}"
            one = self._oracle.asked[unit] = Asked(self._gateway, time.monotonic())
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                close = await self._ask(reader, writer, unit, one)
            except (OSError, EOFError) as error:
                self._oracle.failures.append(f"{unit}: {error!r}")
                close = True
            if close and writer is not None:
                writer.close()
                writer = None
            await asyncio.sleep(self._pause)
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unit: str, one: Asked
    ) -> bool:
        """Whether the connection closes with the answer. Raises OSError, EOFError."""
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: m\r\nX-User-Id: {unit}\r\nContent-Length: 3\r\n\r\n[1]".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(fields["content-length"]))
        one.ended, one.arm = time.monotonic(), fields.get("x-pointsman-arm", "")
        if not head.startswith("http/1.1 200 "):
            self._oracle.failures.append(f"{unit}: {head}")
        return fields.get("connection") == "close"
