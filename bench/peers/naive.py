"""The gateway of bench/naive.py under uvicorn: one process, no access log."""

from __future__ import annotations

from pathlib import Path

from bench.peers.peer import Peer, Route, executable
from bench.process import Child


def start(route: Route, directory: Path, core: int) -> Child:
    directory.mkdir(parents=True)
    where = {"INCUMBENT": f"http://127.0.0.1:{route.incumbent}"}
    if route.candidate is not None:
        where["CANDIDATE"] = f"http://127.0.0.1:{route.candidate}"
    command = [executable("uvicorn"), "bench.naive:app", "--host", "127.0.0.1", "--port", str(route.port)]
    command += ["--no-access-log", "--log-level", "error", "--timeout-keep-alive", "60"]
    return Child(command, directory / "log", core=core, environment=where)


NAIVE = Peer("naive", ("uvicorn", "--version"), "make bench installs it into .venv-bench", start)
