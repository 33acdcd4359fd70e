"""The demo as a user runs it: two real models, the gateway in front, a silent change, a trip by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "tripped", "cause", "requests", "failed_requests", "pairs",
    "first_bad_at", "breach_at", "trip_at", "last_bad_served_at", "confirmed_at",
    "recovery_ms", "detection_pairs", "estimate", "tolerance", "evidence",
}  # fmt: skip


def play(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "examples.rain", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def left_over(folder: Path) -> list[str]:
    """Command lines of processes that still work with files of `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if str(folder) in line:
            found.append(line)
    return found


def test_the_demo_trips_by_itself_and_costs_no_client_a_request() -> None:
    with tempfile.TemporaryDirectory(prefix="e2e-") as name:
        folder = Path(name)
        run = play("--once", "--json", folder=folder)
        assert run.returncode == 0, run.stderr
        assert len(run.stdout.splitlines()) == 1
        told = json.loads(run.stdout)
        assert set(told) == KEYS
        assert told["tripped"] is True
        assert told["cause"] in ("guard:flips", "guard:divergence")
        assert told["failed_requests"] == 0
        assert told["requests"] > told["pairs"] > told["detection_pairs"] > 0
        assert told["estimate"] > told["tolerance"] > 0
        assert told["evidence"] >= 1000
        at = {key: datetime.fromisoformat(value) for key, value in told.items() if key.endswith("_at")}
        assert at["breach_at"] <= at["trip_at"] <= at["confirmed_at"]
        assert at["first_bad_at"] <= at["last_bad_served_at"]
        assert at["first_bad_at"] <= at["trip_at"]
        recovery = (at["last_bad_served_at"] - at["first_bad_at"]).total_seconds() * 1000
        assert abs(told["recovery_ms"] - recovery) < 0.01
        for words in ("Act 1", "Act 2", "Act 3", "first bad prediction", "against a limit of 1 %", "1 in "):
            assert words in run.stderr
        assert left_over(folder) == []
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_demo_leaves_no_process_and_no_file(number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory(prefix="e2e-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "examples.rain", "--once"]
        environment = {**os.environ, "TMPDIR": name}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as demo:
            while demo.poll() is None and not list(folder.glob("pointsman-demo-*/gateway.log")):
                time.sleep(0.05)
            demo.send_signal(number)
            _, stderr = demo.communicate(timeout=100)
        assert demo.returncode == 130, stderr.decode()
        assert left_over(folder) == []
        assert list(folder.iterdir()) == []
