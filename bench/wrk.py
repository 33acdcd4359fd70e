"""Closed-loop load by wrk, and its report as numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.process import BenchError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: latencies in seconds; `failed` counts socket errors and answers not 2xx or 3xx."""

    requests: int
    seconds: float
    per_second: float
    p50: float
    p99: float
    p999: float
    failed: int


def parse(text: str) -> Load:
    """The report that `wrk --latency` prints; BenchError if a figure is not in it."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    latency = r"^\s+%s%%\s+([\d.]+)(us|ms|s|m|h)\s*$"
    found = [re.search(latency % re.escape(share), text, re.MULTILINE) for share in ("50", "99", "99.9")]
    percentiles = [float(match[1]) * UNITS[match[2]] for match in found if match]
    if total is None or rate is None or len(percentiles) < len(found):
        raise BenchError(f"this is not a report of wrk --latency:\n{text[-1000:]}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(refused[1]) if refused else 0
    failed += sum(map(int, broken.groups())) if broken else 0
    return Load(
        requests=int(total[1]),
        seconds=float(total[2]) * UNITS[total[3]],
        per_second=float(rate[1]),
        p50=percentiles[0],
        p99=percentiles[1],
        p999=percentiles[2],
        failed=failed,
    )


def missing_tools() -> list[str]:
    """Which of the programs that the comparison with nginx needs are not installed."""
    return [tool for tool in ("nginx", "wrk", "taskset") if shutil.which(tool) is None]


def run(
    port: int, requests: Path, *, seconds: float, connections: int, core: int, pause: int | None = None
) -> Load:
    """Load the loopback `port` from `core`, with the requests in the file `requests`, for `seconds`.

    Every connection sends its next request once it has the answer to the last one and `pause` milliseconds
    are over since then.
    """
    command = ["taskset", "-c", str(core), "wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--", str(requests)]
    if pause is not None:
        command.append(str(pause))
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise BenchError(f"wrk ended with code {done.returncode}: {done.stdout}{done.stderr}")
    return parse(done.stdout)
