"""A whole gateway as a user runs it: supervisor, workers and control process, and clients that count."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import PATH, eventually
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
FLAG = {"name": "canary", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]}


class Gateway:
    """`python -m gateway` on free ports. `rain` replaces keys of its one endpoint."""

    def __init__(
        self, folder: Path, incumbent: int, candidate: int, *, workers: int = 1, **rain: Any
    ) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.config = folder / "pointsman.yaml"
        self.flags = folder / "flags.json"
        self.flags.write_text(json.dumps({"version": 1, "features": [FLAG]}))
        self.log = folder / "gateway.log"
        endpoint = {
            "path": PATH,
            "protocol": "json",
            "unit": "header:x-user-id",
            "incumbent": {"version": "rain-1", "urls": [f"http://127.0.0.1:{incumbent}"]},
            "candidate": {"version": "rain-2", "urls": [f"http://127.0.0.1:{candidate}"]},
            "flag": "canary",
            "compare": {"kind": "regression", "output": "/0", "tolerance": 0.1, "scale": 1.0},
            "guards": {
                "certify": False,
                "vote": {"per": "pair"},
                "flips": {"rate": "1%"},
                "errors": {"excess": "1%"},
            },
            "plan": [{"mode": "shadow", "pairs": 20}, {"mode": "canary", "weight": "100%"}],
            **rain,
        }
        self.document: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "workers": workers,
            "drain": "5s",
            "state": {"database": f"sqlite:///{folder}/pointsman.db"},
            "flags": {"source": "file", "path": str(self.flags)},
            "endpoints": {"rain": endpoint},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def write(self) -> None:
        self.config.write_text(json.dumps(self.document))

    def _start(self) -> None:
        self.write()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "-c", str(self.config)], cwd=ROOT, stderr=log, stdout=log
            )

    async def __aenter__(self) -> Gateway:
        self._start()
        self.admin = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.admin_port}", trust_env=False)
        try:
            await self.ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def ready(self) -> None:
        """Until every worker serves what the control process says."""
        for _ in range(1200):
            try:
                if (await self.admin.get("/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"the gateway never was ready:\n{self.log.read_text()[-4000:]}")

    async def __aexit__(self, *_: object) -> None:
        await self.admin.aclose()
        await self.stop()

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        process = self._process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, 30)

    async def view(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.admin.get("/api/v1/endpoints/rain")).json()
        return answer

    def children(self, module: str) -> list[int]:
        """Process ids of this gateway's `module`, or of all that its supervisor started."""
        assert self._process is not None
        own = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [int(pid) for pid in own if not module or module in _command(pid).split()]

    def kill_child(self, module: str) -> int:
        """SIGKILL one of them; its process id."""
        pid = self.children(module)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor, as an operator on the machine would."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill_supervisor(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


class Clients:
    """Kept-alive clients that ask one after another until told to stop, and count what they got."""

    def __init__(self, port: int, count: int = 8, pause: float = 0.002) -> None:
        self._port = port
        self._count = count
        self._pause = pause
        self._stopping = False
        self.answers = 0
        self.failures: list[str] = []
        self.arms: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Clients:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await asyncio.sleep(0.01)  # for the transports' own last callbacks

    async def more(self, count: int) -> None:
        """Until so many more answers have come."""
        target = self.answers + len(self.failures) + count
        await eventually(lambda: self.answers + len(self.failures) >= target, f"{count} more answers")

    async def _run(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        asked = 0
        while not self._stopping:
            asked += 1
            unit = b"user-%d-%d" % (number, asked)
            writer.write(
                b"POST %b HTTP/1.1\r\nHost: m\r\nX-User-Id: %b\r\nContent-Length: 3\r\n\r\n[1]"
                % (PATH.encode(), unit)
            )
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if ": " in line)
                await reader.readexactly(int(fields["content-length"]))
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                continue
            if head.startswith("HTTP/1.1 200 "):
                self.answers += 1
                arm = fields["x-pointsman-arm"]
                self.arms[arm] = self.arms.get(arm, 0) + 1
            else:
                self.failures.append(head)
            if fields.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            await asyncio.sleep(self._pause)
        writer.close()
