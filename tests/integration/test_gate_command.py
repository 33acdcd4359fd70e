"""The whole command as CI calls it, against real model servers: a file, an exit code, one JSON document."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from settings.file import load
from tests.support.control import ROOT
from tests.support.trials import PATH, Wet, held_out, v2


async def called(folder: Path, candidate: Wet, *arguments: str) -> tuple[int, str]:
    data = held_out(folder / "held-out.csv", 900)
    gates = {
        "schema": {},
        "evaluation": {
            "data": str(data),
            "label": "y",
            "metric": "accuracy",
            "tolerance": "1%",
            "batch": 300,
        },
        "latency": {"rps": 20, "for": "1s", "p50": "1m"},
    }
    async with v2(folder, Wet()) as trusted, v2(folder, candidate) as tried:
        rain = {
            "path": PATH,
            "protocol": "v2",
            "unit": "request",
            "timeout": "30s",
            "incumbent": {"version": "rain-1", "urls": [f"http://127.0.0.1:{trusted}"]},
            "candidate": {"version": "rain-2", "urls": [f"http://127.0.0.1:{tried}"]},
            "compare": {"kind": "classification", "output": "predict_proba"},
            "gates": gates,
        }
        path = folder / "pointsman.yaml"
        path.write_text(json.dumps({"endpoints": {"rain": rain}}))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, "-c", str(path), "rain",
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complained = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode is not None, complained
        return process.returncode, said.decode()


CONSOLE = ("-c", "from console.app import main; main()", "gate", "run", "--json")


@pytest.mark.parametrize(
    ("command", "candidate", "code", "verdict"),
    [
        (CONSOLE, Wet(), 0, "pass"),
        (CONSOLE, Wet(wrong=8), 1, "fail"),
        (("-m", "gates"), Wet(wrong=8), 1, "fail"),
    ],
)
def test_the_command_executes_the_gates_against_the_real_servers(
    tmp_path: Path, command: tuple[str, ...], candidate: Wet, code: int, verdict: str
) -> None:
    ended, said = asyncio.run(called(tmp_path, candidate, *command))
    assert ended == code, said
    document: dict[str, Any] = json.loads(said)
    assert document["verdict"] == verdict
    found = {one["gate"]: one for one in document["results"]}
    assert (found["schema"]["verdict"], found["latency"]["verdict"]) == ("pass", "pass")
    assert found["evaluation"]["verdict"] == verdict
    digest = hashlib.sha256((tmp_path / "held-out.csv").read_bytes()).hexdigest()
    assert [one["digest"] for one in found["evaluation"]["data"]] == [digest]
    assert found["evaluation"]["configuration_digest"] == load(tmp_path / "pointsman.yaml").digest


def test_when_whoever_started_it_is_gone_nothing_of_a_bound_run_is_left(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    rain = {
        "path": PATH, "protocol": "v2", "unit": "request", "compare": {"kind": "classification"},
        "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
        "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
        "gates": {"custom": [{"name": "own", "command": [sys.executable, "-c", program]}]},
    }  # fmt: skip
    path = tmp_path / "pointsman.yaml"
    path.write_text(json.dumps({"endpoints": {"rain": rain}}))
    command = [sys.executable, "-m", "gates", "--bound", "-c", str(path), "rain"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for _ in range(6000):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.01)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) != 0
    assert not Path(f"/proc/{pid.read_text()}").exists()
