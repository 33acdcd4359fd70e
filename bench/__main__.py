"""`python -m bench [--quick] [--only NAMES] [--peers NAMES] [--check]`: measure, print, write down."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench import (
    change,
    chart,
    conditions,
    drill,
    guarded,
    hostile,
    judging,
    log,
    memory,
    path,
    side_by_side,
    statistics,
    stream,
    trip,
    wrk,
)
from bench.peers import PEERS
from bench.peers.peer import first_line
from bench.process import ROOT, BenchError, cores
from bench.report import Report, Section, rendered

SCENARIOS: dict[str, Callable[..., Section]] = {
    "forward": side_by_side.forward,
    "mirror": side_by_side.mirror,
    "bodies": conditions.bodies,
    "connections": conditions.connections,
    "trouble": conditions.trouble,
    "stream": stream.run,
    "path": path.run,
    "judging": judging.run,
    "trip": trip.run,
    "drill": drill.run,
    "hostile": hostile.run,
    "guarded": guarded.run,
    "change": change.run,
    "log": log.run,
    "memory": memory.run,
    "statistics": statistics.run,
}
COMPARED = {"forward", "mirror", "bodies", "connections", "trouble", "stream", "guarded"}
RESULTS = ROOT / "bench" / "results"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line; argparse ends the process when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="side-by-side benchmarks")
    parser.add_argument("--quick", action="store_true", help="rough figures in a quarter of the time")
    names = ",".join(SCENARIOS)
    parser.add_argument("--only", type=scenarios, default=list(SCENARIOS), metavar="NAMES", help=names)
    peers = ",".join(PEERS)
    parser.add_argument("--peers", type=peers_named, default=list(PEERS), metavar="NAMES", help=peers)
    parser.add_argument("--check", action="store_true", help="end with code 1 when a goal is missed")
    return parser.parse_args(given)


def scenarios(text: str) -> list[str]:
    """The scenarios named in `text`, in their own order."""
    return named(text, SCENARIOS, "scenario")


def peers_named(text: str) -> list[str]:
    """The peers named in `text`, in their own order; none for an empty text."""
    return named(text, PEERS, "peer")


def named(text: str, known: Collection[str], what: str) -> list[str]:
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known]:
        names = ", ".join(known)
        raise argparse.ArgumentTypeError(f"no {what} is called {unknown[0]!r}; there are {names}")
    return [name for name in known if name in wanted]


def environment(quick: bool, peers: Sequence[str]) -> dict[str, str]:
    """What a reader must know to compare figures: nothing that names the machine."""
    core, load_core = cores()
    return {
        "run": "quick" if quick else "full",
        "processor": processor(),
        "cores": f"{len(os.sched_getaffinity(0))}; measured on {core}, load and model servers on {load_core}",
        "load average at start": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "wrk": first_line(["wrk", "-v"]),
        **{name: PEERS[name].version() for name in peers},
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(report: Report) -> Path:
    """Keep the report as JSON, Markdown and, where matplotlib is, as a chart; returns the Markdown file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / f"{report.at.replace(':', '')}.md"
    kept.write_text(report.markdown())
    document = report.document()
    kept.with_suffix(".json").write_text(json.dumps(document, indent=1))
    try:
        chart.draw(document, kept.with_suffix(".svg"))
    except ModuleNotFoundError as error:
        print(f"no chart: {error.name} is not installed (the extra `bench`)", file=sys.stderr)
    return kept


def main(given: Sequence[str]) -> int:
    """Run what is asked for; returns the exit code."""
    asked = arguments(given)
    # SIGTERM unwinds like Ctrl-C, so that the context managers end every child.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if set(asked.only) & COMPARED and (missing := wrk.missing_tools()):
        print(
            f"{', '.join(missing)} not found: the comparison needs them. As root: apt-get install nginx wrk "
            "util-linux; or leave it out: --only path,trip,hostile",
            file=sys.stderr,
        )
        return 2
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = environment(asked.quick, asked.peers)
    sections = []
    try:
        with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as directory:
            for name in asked.only:
                print(f"measuring: {name} ...", file=sys.stderr, flush=True)
                sections.append(SCENARIOS[name](Path(directory) / name, quick=asked.quick, peers=asked.peers))
                print(f"\n{rendered(sections[-1])}\n", flush=True)
    except (BenchError, httpx.HTTPError) as error:
        print(f"the benchmark cannot go on: {error}", file=sys.stderr)
        return 2
    report = Report(at, about, tuple(sections))
    kept = write(report)
    print(f"written: {kept.relative_to(ROOT)} and .json")
    return 1 if asked.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
