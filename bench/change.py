"""Scenario `change`: requests through every change that a gateway lives through, each counted and paired.

Clients ask without pause, half of them on kept-alive connections, half on a new one each time, while one
kind of change is made again and again. Every request carries a number of its own and the model server answers
with it, so that an answer which reached the wrong client shows. Nothing is repeated: a refused connection, a
reset, another status than 200 and a wrong number all count.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.process import BenchError, Child, children, command_line, free_ports
from bench.report import Goal, Section
from shadow.tasks import Tasks

PATH = "/v2/models/echo/infer"
REQUESTS = 100_000
QUICK_REQUESTS = 10_000
CLIENTS = 32
PAUSE = 0.3
"""Seconds between two changes."""
PATIENCE = 60.0
"""Seconds a change may take until the gateway serves it."""
ANSWER = 10.0
"""Seconds after which an answer counts as missing."""


@dataclass(slots=True)
class Outcome:
    """What came of the requests while one kind of change went on."""

    requests: int = 0
    mispaired: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    arms: Counter[str] = field(default_factory=Counter)
    changes: int = 0


class EchoServer:
    """A model server whose prediction is what it was asked, after reading all of it."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> EchoServer:
        self._server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._held) < end + 4 + length:
                return
            body = self._held[end + 4 : end + 4 + length]
            self._held = self._held[end + 4 + length :]
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (length, body))


class Callers:
    """Clients that ask until told to stop; every other one connects anew for each request."""

    def __init__(self, port: int, outcome: Outcome) -> None:
        self._port = port
        self._outcome = outcome
        self._stopping = False

    async def run(self, count: int = CLIENTS) -> None:
        await asyncio.gather(*(self._ask(number) for number in range(count)))

    def stop(self) -> None:
        """Let each have its answer and end."""
        self._stopping = True

    async def _ask(self, number: int) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping:
            self._outcome.requests += 1
            body = b"[%d]" % self._outcome.requests
            try:
                async with asyncio.timeout(ANSWER):
                    if connection is None:
                        connection = await asyncio.open_connection("127.0.0.1", self._port)
                    goes_on = await self._exchange(*connection, number, body)
            except (OSError, EOFError, ValueError) as error:
                self._outcome.failed[type(error).__name__] += 1
                goes_on = False
            if connection is not None and not (goes_on and number % 2 == 0):
                connection[1].close()
                with suppress(OSError):
                    await connection[1].wait_closed()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, body: bytes
    ) -> bool:
        """Ask once; whether the connection can be used again."""
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: models\r\nX-User-Id: %d-%b\r\nContent-Length: %d\r\n\r\n%b"
            % (PATH.encode(), number, body, len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        lines = head.split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        answer = await reader.readexactly(int(fields["content-length"]))
        if " 200 " not in lines[0]:
            self._outcome.failed[lines[0]] += 1
        elif answer != body:
            self._outcome.mispaired += 1
        self._outcome.arms[fields.get("x-pointsman-arm", "none")] += 1
        return fields.get("connection") != "close"


class Gateway:
    """A gateway of two workers whose configuration and flags can be edited."""

    def __init__(self, folder: Path, upstream: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, admin = free_ports(2)
        self._file = folder / "pointsman.yaml"
        self._flags = folder / "flags.json"
        urls = [f"http://127.0.0.1:{upstream}"]
        self.endpoint: dict[str, Any] = {
            "path": PATH,
            "protocol": "json",
            "unit": "header:x-user-id",
            "timeout": "5s",
            "incumbent": {"version": "echo-1", "urls": urls},
            "candidate": {"version": "echo-2", "urls": urls},
            "flag": "canary",
            "shadow": {"share": "10%"},
            "compare": {"kind": "regression", "output": "/0"},
            "plan": [{"mode": "canary", "weight": "50%"}],
        }
        self.document: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{admin}",
            "workers": 2,
            "drain": "10s",
            "state": {"database": f"sqlite:///{folder / 'pointsman.db'}"},
            "flags": {"source": "file", "path": str(self._flags)},
            "endpoints": {"echo": self.endpoint},
        }
        self.write()
        self.expose(everybody=True)
        self.child = Child(_command(self._file), folder / "gateway.log")
        self.api = httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin}", timeout=5, trust_env=False)

    async def __aenter__(self) -> Gateway:
        await self.until_served()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.aclose()
        await asyncio.to_thread(self.child.stop, 20.0)

    def write(self) -> None:
        """Put the configuration in place, whole."""
        self._replace(self._file, self.document)

    def expose(self, *, everybody: bool) -> None:
        strategies = [{"name": "default", "parameters": {}}]
        flag = {"name": "canary", "enabled": everybody, "strategies": strategies}
        self._replace(self._flags, {"version": 1, "features": [flag]})

    def _replace(self, path: Path, document: dict[str, Any]) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(document))
        beside.replace(path)

    async def view(self) -> dict[str, Any]:
        """What the admin API says of the endpoint; empty while nobody answers there."""
        try:
            answer = await self.api.get("/api/v1/endpoints/echo")
            return answer.json() if answer.status_code == 200 else {}
        except httpx.HTTPError:
            return {}

    def workers(self) -> set[int]:
        found = children(self.child.pid)
        return {pid for pid in found if "gateway.process" in command_line(pid)}

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait; BenchError when PATIENCE is over or the gateway has ended."""
        for _ in range(int(PATIENCE / 0.05)):
            if self.child.popen.poll() is not None:
                raise BenchError(f"the gateway ended: {self.child.tail()}")
            if await holds():
                return
            await asyncio.sleep(0.05)
        raise BenchError(f"never happened: {what}; {self.child.tail()}")

    async def until_served(self) -> None:
        async def ready() -> bool:
            try:
                return (await self.api.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await self.until(ready, "every worker serves what the control process says")

    async def until_replaced(self, old: set[int]) -> None:
        async def replaced() -> bool:
            return not self.workers() & old and len(self.workers()) == 2

        await self.until(replaced, "new workers in place of all old ones")


def _command(file: Path) -> list[str]:
    return [sys.executable, "-m", "gateway", "-c", str(file)]


Change = Callable[[Gateway, int], Awaitable[None]]
"""Make the change for the n-th time (from 0) and wait until it is served."""


async def reload_configuration(gateway: Gateway, number: int) -> None:
    """Another version name, another timeout."""
    name = f"echo-1.{number}"
    gateway.endpoint["incumbent"] = {**gateway.endpoint["incumbent"], "version": name}
    gateway.endpoint["timeout"] = f"{5 + number % 3}s"
    gateway.write()

    async def served() -> bool:
        return bool((await gateway.view()).get("incumbent", {}).get("version") == name)

    await gateway.until(served, f"version {name} is served")


async def change_flag(gateway: Gateway, number: int) -> None:
    gateway.expose(everybody=number % 2 == 1)
    await asyncio.sleep(2 * PAUSE)


async def change_weight(gateway: Gateway, number: int) -> None:
    gateway.endpoint["plan"] = [{"mode": "canary", "weight": ("10%", "90%")[number % 2]}]
    gateway.write()
    await asyncio.sleep(2 * PAUSE)


async def restart_a_worker(gateway: Gateway, number: int) -> None:
    """SIGTERM to one worker: it drains, and the supervisor starts another."""
    old = sorted(gateway.workers())[number % 2]
    os.kill(old, signal.SIGTERM)
    await gateway.until_replaced({old})
    await gateway.until_served()


async def replace_workers(gateway: Gateway, number: int) -> None:
    """A setting that workers are born with: each is replaced by a new one."""
    old = gateway.workers()
    gateway.document["timeouts"] = {"idle": f"{60 + number}s"}
    gateway.write()
    await gateway.until_replaced(old)


async def upgrade_supervisor(gateway: Gateway, number: int) -> None:
    """SIGUSR2: the supervisor, the control process and all workers by their successors."""
    old = gateway.workers()
    gateway.child.popen.send_signal(signal.SIGUSR2)
    await gateway.until_replaced(old)
    await gateway.until_served()


CHANGES: dict[str, Change] = {
    "configuration reload": reload_configuration,
    "flag change": change_flag,
    "weight change": change_weight,
    "worker restart": restart_a_worker,
    "rolling replacement of the workers": replace_workers,
    "upgrade of the supervisor": upgrade_supervisor,
}


async def measured(folder: Path, change: Change, requests: int) -> Outcome:
    """At least `requests` requests while `change` is made again and again. Raises BenchError."""
    outcome, tasks = Outcome(), Tasks(_told)
    async with EchoServer() as upstream, Gateway(folder, upstream.port) as gateway:
        callers = Callers(gateway.port, outcome)
        asking = tasks.spawn(callers.run(), "callers")
        try:
            while outcome.requests < requests:
                await asyncio.sleep(PAUSE)
                await change(gateway, outcome.changes)
                outcome.changes += 1
            callers.stop()
            await asking
        finally:
            await tasks.cancel()
    return outcome


def _told(task: str, error: BaseException) -> None:
    print(f"{task}: {error!r}", file=sys.stderr)


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """Every change in turn."""
    requests = QUICK_REQUESTS if quick else REQUESTS
    outcomes = {
        name: asyncio.run(measured(directory / str(index), change, requests))
        for index, (name, change) in enumerate(CHANGES.items())
    }
    rows = tuple(
        (
            name,
            str(outcome.changes),
            str(outcome.requests),
            str(outcome.failed.total()),
            str(outcome.mispaired),
        )
        for name, outcome in outcomes.items()
    )
    lost = sum(outcome.failed.total() + outcome.mispaired for outcome in outcomes.values())
    return Section(
        name="change",
        title=f"Requests through each change: {CLIENTS} clients without pause, half of them connecting anew",
        columns=("change", "times", "requests", "failed", "mis-paired"),
        rows=rows,
        goals=(Goal("failed or mis-paired requests", lost, 0),),
        remarks=("nothing is repeated by the clients: a refused or reset connection counts as failed",),
        raw={name: {"failed": dict(outcome.failed), "arms": dict(outcome.arms)}
             for name, outcome in outcomes.items()},
    )  # fmt: skip
