"""What consoles cost those who do the work: 50 endpoints, 20 open consoles.

    python -m bench.console [--endpoints 50] [--consoles 20] [--seconds 20]

A gateway with so many endpoints gets steady traffic. CPU time of its processes is read from the kernel, first
without any console, then with consoles that do what a page does: an event stream each, the overview each
second, and a quarter of them an endpoint with its history. CPU time is the processes' own, so other load on
the machine does not count. With chromium there, one real page is opened too: its bytes, its first paint, and
how long a trip takes until it is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from bench.process import free_ports

ROOT = Path(__file__).parents[1]
RATE = 4.0
"""Requests a second of each endpoint."""


async def main() -> None:
    parser = argparse.ArgumentParser(description="What open consoles cost.")
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--consoles", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = await measured(Path(folder), wanted.endpoints, wanted.consoles, wanted.seconds)
    print(json.dumps(result, indent=2))
    kept = ROOT / "bench" / "results" / "console.json"
    kept.write_text(json.dumps(result, indent=2) + "\n")


async def measured(folder: Path, endpoints: int, consoles: int, seconds: float) -> dict[str, Any]:
    """The figures, as they are printed."""
    models = await asyncio.start_server(_model, "127.0.0.1", 0)
    upstream = models.sockets[0].getsockname()[1]
    listen, admin = free_ports(2)
    path = folder / "pointsman.yaml"
    path.write_text(json.dumps(configuration(folder, endpoints, listen, admin, upstream)))
    flag = {"name": "canary", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]}
    (folder / "flags.json").write_text(json.dumps({"version": 1, "features": [flag]}))
    log = (folder / "gateway.log").open("wb")
    gateway = subprocess.Popen(  # noqa: ASYNC220 - it starts once, before anything is measured
        [sys.executable, "-m", "gateway", "-c", str(path), "--held"],
        cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{admin}", timeout=120, trust_env=False
        ) as client:
            await _ready(client, folder)
            tasks += [loop.create_task(_traffic(listen, number)) for number in range(endpoints)]
            await asyncio.sleep(15)
            found: dict[str, Any] = {"endpoints": endpoints, "consoles": consoles, "seconds": seconds}
            found["without"] = await _spent(client, gateway.pid, seconds)
            base = f"http://127.0.0.1:{admin}"
            tasks += [loop.create_task(_console(base, number, endpoints)) for number in range(consoles)]
            await asyncio.sleep(3)
            found["with"] = await _spent(client, gateway.pid, seconds)
            answer = await client.get("/api/v1/overview")
            found["overview_bytes"] = len(answer.content)
            history = await client.get("/api/v1/endpoints/e0/history")
            found["history_bytes"] = len(history.content)
            found["page"] = await _page(base, client)
            return found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gateway.terminate()
        gateway.wait(30)
        models.close()
        log.close()


def configuration(folder: Path, endpoints: int, listen: int, admin: int, upstream: int) -> dict[str, Any]:
    """Endpoints `e0`, `e1`, … with six guards each, in shadow."""
    servers = [f"http://127.0.0.1:{upstream}"]
    guards = {
        "vote": {"per": "pair"}, "flips": {"rate": "1%"}, "divergence": {"mean": "2%"},
        "errors": {"excess": "1%"}, "latency": {"p95_ratio": 50, "slo": "5s", "slo_rate": "50%"},
    }  # fmt: skip
    return {
        "listen": f"127.0.0.1:{listen}",
        "admin": f"127.0.0.1:{admin}",
        "workers": 1,
        "state": {"database": f"sqlite:///{folder}/pointsman.db"},
        "flags": {"source": "file", "path": str(folder / "flags.json")},
        "endpoints": {
            f"e{number}": {
                "path": f"/e{number}", "protocol": "json", "unit": "header:x-user-id", "flag": "canary",
                "incumbent": {"version": f"e{number}-1", "urls": servers},
                "candidate": {"version": f"e{number}-2", "urls": servers},
                "compare": {"kind": "regression", "output": "/y", "tolerance": 0.1, "scale": 1.0},
                "guards": guards, "plan": [{"mode": "shadow"}],
            }
            for number in range(endpoints)
        },
    }  # fmt: skip


async def _model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(one.split(b":")[1]) for one in head.lower().split(b"\r\n") if b"content-length:" in one
            )
            await reader.readexactly(length)
            writer.write(
                b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-type: application/json\r\n\r\n{"y":0.5}'
            )
    writer.close()


async def _traffic(port: int, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    user = 0
    while True:
        user += 1
        writer.write(
            b"POST /e%d HTTP/1.1\r\nhost: bench\r\nx-user-id: u%d\r\ncontent-type: application/json\r\n"
            b"content-length: 2\r\n\r\n{}" % (number, user)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(one.split(b":")[1]) for one in head.lower().split(b"\r\n") if b"content-length:" in one
        )
        await reader.readexactly(length)
        await asyncio.sleep(1 / RATE)


async def _console(base: str, number: int, endpoints: int) -> None:
    """What an open page does: the overview, or one endpoint in a quarter of them."""
    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as client:
        watching = asyncio.get_running_loop().create_task(_listen(client))
        name, after = f"e{number % endpoints}", 0
        tags: dict[str, str] = {}
        try:
            while True:
                if number % 4:
                    paths = ["/api/v1/overview"]
                else:
                    paths = [
                        f"/api/v1/endpoints/{name}?cached=true",
                        f"/api/v1/endpoints/{name}/history?after={after}",
                    ]
                for path in paths:
                    answer = await client.get(path, headers={"if-none-match": tags.get(path, "")})
                    if answer.status_code == 200:
                        tags[path] = answer.headers["etag"]
                        after = answer.json().get("next", after)
                await asyncio.sleep(1)
        finally:
            watching.cancel()


async def _listen(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/api/v1/events") as stream:
        async for _ in stream.aiter_bytes():
            pass


async def _ready(client: httpx.AsyncClient, folder: Path) -> None:
    for _ in range(600):
        with suppress(httpx.TransportError):
            if (await client.get("/readyz")).status_code == 200:
                return
        await asyncio.sleep(0.2)
    raise RuntimeError((folder / "gateway.log").read_text()[-2000:])


async def _spent(client: httpx.AsyncClient, supervisor: int, seconds: float) -> dict[str, float]:
    """CPU of the control process and the worker, as shares of a core, and the worker's per request."""
    worker = (await client.get("/api/v1/endpoints/e0")).json()["workers"][0]["pid"]
    (control,) = [one for one in _children(supervisor) if one != worker and b"\0control\0" in _command(one)]
    before = {pid: _cpu(pid) for pid in (worker, control)}
    requests = await _requests(client)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - began
    spent = {pid: _cpu(pid) - before[pid] for pid in (worker, control)}
    served = await _requests(client) - requests
    return {
        "control_share_of_a_core": round(spent[control] / elapsed, 4),
        "worker_share_of_a_core": round(spent[worker] / elapsed, 4),
        "worker_us_per_request": round(1e6 * spent[worker] / max(1.0, served), 1),
        "requests": served,
    }


async def _requests(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("pointsman_requests_total{")
    )


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PAINTED = """() => ({
  first_paint_ms: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1),
  requests: performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/')).length + 1,
  bytes: performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/'))
    .reduce((sum, one) => sum + one.transferSize, performance.getEntriesByType('navigation')[0].transferSize),
})"""


async def _page(base: str, client: httpx.AsyncClient) -> dict[str, Any]:
    """One real page: how much it loads, when it is painted, and how late a trip is seen."""
    from shutil import which

    program = which("chromium") or which("google-chrome")
    if program is None:
        return {"missing": "chromium"}
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await browser.new_page()
        began = time.monotonic()
        await page.goto(base)
        await page.wait_for_selector(".entry")
        rows = time.monotonic() - began
        found: dict[str, Any] = await page.evaluate(PAINTED)
        killed = time.monotonic()
        seen = asyncio.get_running_loop().create_task(page.wait_for_selector(".entry-bad", timeout=30_000))
        await client.post("/api/v1/endpoints/e1/kill", json={"reason": "bench"})
        answered = time.monotonic() - killed
        await seen
        shown = time.monotonic() - killed
        await browser.close()
        return {
            **found, "rows_after_ms": round(1000 * rows), "kill_answered_ms": round(1000 * answered),
            "kill_shown_ms": round(1000 * shown),
        }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
