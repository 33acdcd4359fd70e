"""`python -m bench [--quick] [--only forward,mirror,trip,hostile] [--check]`: measure, print, write down."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import hostile, side_by_side, trip, wrk
from bench.process import ROOT, BenchError, cores
from bench.report import Report, Section, rendered

SCENARIOS: dict[str, Callable[..., Section]] = {
    "forward": side_by_side.forward,
    "mirror": side_by_side.mirror,
    "trip": trip.run,
    "hostile": hostile.run,
}
RESULTS = ROOT / "bench" / "results"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line; argparse ends the process when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="side-by-side benchmarks")
    parser.add_argument("--quick", action="store_true", help="two minutes in place of ten, rougher figures")
    names = ",".join(SCENARIOS)
    parser.add_argument("--only", type=scenarios, default=list(SCENARIOS), metavar="NAMES", help=names)
    parser.add_argument("--check", action="store_true", help="end with code 1 when a goal is missed")
    return parser.parse_args(given)


def scenarios(text: str) -> list[str]:
    """The scenarios named in `text`, in their own order."""
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        names = ", ".join(SCENARIOS)
        raise argparse.ArgumentTypeError(f"no scenario is called {unknown[0]!r}; there are {names}")
    return [name for name in SCENARIOS if name in wanted]


def environment(quick: bool) -> dict[str, str]:
    """What a reader must know to compare figures: nothing that names the machine."""
    core, load_core = cores()
    return {
        "run": "quick" if quick else "full",
        "processor": processor(),
        "cores": f"{len(os.sched_getaffinity(0))}; measured on {core}, load and model servers on {load_core}",
        "load average at start": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "nginx": version(["nginx", "-v"]),
        "wrk": version(["wrk", "-v"]),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def version(command: Sequence[str]) -> str:
    """The first line that a program prints when asked for its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "not installed"
    return (done.stdout + done.stderr).strip().splitlines()[0]


def write(report: Report) -> Path:
    """Keep the report as JSON and Markdown; returns the Markdown file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{report.at.replace(':', '')}.md"
    path.write_text(report.markdown())
    path.with_suffix(".json").write_text(json.dumps(report.document(), indent=1))
    return path


def main(given: Sequence[str]) -> int:
    """Run what is asked for; returns the exit code."""
    asked = arguments(given)
    # SIGTERM unwinds like Ctrl-C, so that the context managers end every child.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if {"forward", "mirror"} & set(asked.only) and (missing := wrk.missing_tools()):
        print(
            f"{', '.join(missing)} not found: the comparison needs them. As root: apt-get install nginx wrk "
            "util-linux; or leave it out: --only trip,hostile",
            file=sys.stderr,
        )
        return 2
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = environment(asked.quick)
    sections = []
    try:
        with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as directory:
            for name in asked.only:
                print(f"measuring: {name} ...", file=sys.stderr, flush=True)
                sections.append(SCENARIOS[name](Path(directory) / name, quick=asked.quick))
                print(f"\n{rendered(sections[-1])}\n", flush=True)
    except BenchError as error:
        print(f"the benchmark cannot go on: {error}", file=sys.stderr)
        return 2
    report = Report(at, about, tuple(sections))
    path = write(report)
    print(f"written: {path.relative_to(ROOT)} and .json")
    return 1 if asked.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
