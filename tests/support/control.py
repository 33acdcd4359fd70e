"""A control process, or its parts in this process, and a worker that speaks the real wire protocol to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from control.clock import Clock
from control.keeper import DurableStore
from control.process import Control, Invocation
from control.switchboard import NOT_READ
from domain.exposure import Question
from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from domain.snapshot import Snapshot
from settings.file import load
from settings.schema import Settings
from shadow.wire import (
    Acknowledged,
    Answered,
    Applied,
    Batch,
    FrameBuffer,
    FromWorker,
    Hello,
    Publish,
    TakenOut,
    ToWorker,
    decode_to_worker,
    frame,
)

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds after which something that should come counts as missing."""

FLAGS = {
    "version": 1,
    "features": [{"name": "canary", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]}],
}
PLAN = [{"mode": "shadow", "pairs": 50}, {"mode": "canary", "weight": "25%", "pairs": 100}]


def document(folder: Path, **endpoint: Any) -> dict[str, Any]:
    """A configuration with one endpoint, `rain`; the keywords replace keys of the endpoint."""
    rain: dict[str, Any] = {
        "path": "/predict",
        "protocol": "json",
        "unit": "header:x-user-id",
        "timeout": "200ms",
        "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
        "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
        "flag": "canary",
        "compare": {"kind": "regression", "output": "/y", "tolerance": 0.1, "scale": 1.0},
        "guards": {"flips": {"rate": "1%"}},
        "plan": PLAN,
    }
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "workers": 1,
        "state": {"database": f"sqlite:///{folder}/pointsman.db"},
        "flags": {"source": "file", "path": str(folder / "flags.json")},
        "endpoints": {"rain": {**rain, **endpoint}},
    }


def write(folder: Path, configuration: dict[str, Any] | None = None) -> Path:
    """Configuration and, unless there is one, a flag file in `folder`; the configuration's path."""
    path = folder / "pointsman.yaml"
    path.write_text(json.dumps(configuration or document(folder)))
    flags = folder / "flags.json"
    if not flags.exists():
        flags.write_text(json.dumps(FLAGS))
    return path


def pair(
    number: int,
    y: float = 0.5,
    *,
    generation: int = 1,
    served: Arm = Arm.INCUMBENT,
    at: float = 1000.0,
    **more: Any,
) -> Pair:
    """A pair whose incumbent predicts 0.5 and whose candidate predicts `y`."""
    incumbent = Observation("rain-1", Outcome.ANSWERED, 200, 0.002, b'{"y":0.5}')
    candidate = Observation("rain-2", Outcome.ANSWERED, 200, 0.002, b'{"y":%.3f}' % y)
    one = Pair(f"r{number}", "rain", number + 1, generation, served, at + number / 100, incumbent, candidate)
    return one._replace(**more)


def batch(sequence: int, pairs: list[Pair], session: str = "s", **more: Any) -> Batch:
    parts: dict[str, Any] = {"requests": [], "overhead": [], "mirrors": [], "dropped": {}, **more}
    return Batch(session=session, sequence=sequence, pairs=pairs, **parts)


class FakeWorker:
    """Connects, says Hello, applies every snapshot unless told not to, and remembers what it was sent.

    `taken_out`: endpoint, generation, and the generation that it served from when it was told."""

    def __init__(self, number: int = 0, session: str = "s", *, applies: bool = True) -> None:
        self.number = number
        self.session = session
        self.applies = applies
        self.snapshots: list[Snapshot] = []
        self.taken_out: list[tuple[str, int, int]] = []
        self.acknowledged = 0
        self.answers: dict[Question, bool] = {}
        self.gone = False
        self.on_publish: Callable[[Snapshot], None] = lambda snapshot: None
        self._news = asyncio.Condition()

    async def connect(self, path: str, generation: int = 0) -> FakeWorker:
        self._reader, self._writer = await asyncio.open_unix_connection(path)
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self.say(Hello(self.number, self.session, generation, os.getpid()))
        await self.until(lambda: bool(self.snapshots))
        return self

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots[-1]

    def say(self, *messages: FromWorker) -> None:
        self._writer.write(b"".join(map(frame, messages)))

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(condition), PATIENCE)

    async def send(self, pairs: list[Pair], sequence: int) -> None:
        """A batch, and wait until it is acknowledged."""
        self.say(batch(sequence, pairs, self.session))
        await self.until(lambda: self.acknowledged >= sequence)

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        frames = FrameBuffer()
        try:
            while data := await self._reader.read(65536):
                for payload in frames.feed(data):
                    await self._hear(decode_to_worker(payload))
        except ConnectionError:
            pass  # the other side cut the link, which some tests want
        async with self._news:
            self.gone = True
            self._news.notify_all()

    async def _hear(self, message: ToWorker) -> None:
        async with self._news:
            match message:
                case Publish(snapshot):
                    self.snapshots.append(snapshot)
                    self.on_publish(snapshot)
                    if self.applies:
                        self.say(Applied(snapshot.generation))
                case TakenOut(endpoint, generation):
                    self.taken_out.append((endpoint, generation, self.snapshot.generation))
                case Acknowledged(_, sequence):
                    self.acknowledged = sequence
                case Answered(_, answers):
                    self.answers.update(answers)
            self._news.notify_all()


class Here:
    """A control process's parts, in this process."""

    def __init__(self, control: Control, link: str, client: httpx.AsyncClient) -> None:
        self.control = control
        self.link = link
        self.client = client

    async def endpoint(self) -> dict[str, Any]:
        answer = await self.client.get("/api/v1/endpoints/rain")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - the parts have no event for everything
                await asyncio.sleep(0.005)


@asynccontextmanager
async def here(
    folder: Path,
    *,
    opener: Callable[[], DurableStore] | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
    **endpoint: Any,
) -> AsyncIterator[Here]:
    """Start the parts with their files in `folder`; end them in order.

    What is kept was read, or could not be: a slow disk keeps the process from starting for some seconds only.
    """
    path = folder / "pointsman.yaml"
    if endpoint or not path.exists():
        path = write(folder, document(folder, **endpoint))
    link = str(folder / "link.sock")
    control = Control(settings or load(path), Invocation(path, link), opener, clock)
    await control.start()
    transport = httpx.ASGITransport(control.app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
        started = Here(control, link, client)
        try:
            await started.until(lambda: control.switchboard.unreadable != NOT_READ)
            yield started
        finally:
            await control.end()


class ControlProcess:
    """A real `python -m control`."""

    def __init__(self, folder: Path) -> None:
        self.link = str(folder / "link.sock")
        reading, writing = os.pipe()
        self.log = folder / "control.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "control", "-c", str(folder / "pointsman.yaml"),
                    "--link", self.link, "--ready-fd", str(writing),
                ],
                cwd=ROOT, stdin=subprocess.PIPE, stderr=log, pass_fds=(writing,),
            )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            line = ready.readline()
        assert line, self.log.read_text()
        self.admin: str = json.loads(line)["admin"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._close()
        return code

    def hang_up(self) -> int:
        """End the pipe on its standard input."""
        self._close()
        return self.process.wait(PATIENCE)

    def _close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
