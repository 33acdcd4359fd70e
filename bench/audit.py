"""What the audit chain costs: appending with fsync, verifying, asking what was live among a million records.

    python -m bench.audit [--events 1000000] [--kills 200] [--folder DIR]

The PostgreSQL of the tests is started, with fsync on. The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from audit import event as kinds
from audit import intervals, store
from audit.event import Event
from storage.database import Database

ENDPOINTS, REPLICAS = 8, 3
AT_ONCE = 2000
ASKED = 2000
"""Instants that are asked for."""


def history(count: int, draw: random.Random) -> Iterator[Event]:
    """`count` events of a busy fleet, a second apart: steps, kills, re-arms, restarts, lineage."""
    in_force: dict[str, list[str]] = {}
    for number in range(count):
        at = number * 1_000_000
        name, replica = f"endpoint-{draw.randrange(ENDPOINTS)}", f"gateway-{draw.randrange(REPLICAS)}"
        kind = draw.random()
        kills = in_force.setdefault(name, [])
        if kind < 0.1:
            kills.append(f"kill-{number}")
            after: dict[str, object] = {"kill": kills[-1], "version": "rain-2", "cause": "guard:flips"}
            yield Event(kinds.TRIPPED, "switch", name, at, "guard:flips", "12 % flips", after)
        elif kind < 0.15 and kills:
            yield Event(kinds.REARMED, "switch", name, at, "ann", "looked at it", {"cleared": list(kills)})
            kills.clear()
        elif kind < 0.151:
            yield Event(kinds.STARTED, kinds.GATEWAY, "", at, after={"version": "1"}, replica=replica)
        elif kind < 0.16:
            after = {"source": "mlflow", "version": str(number)}
            yield Event("lineage.changed", kinds.VERSION, "rain-2", at, "registry", after=after)
        else:
            yield _moved(name, replica, at, number % 10_000)


def _moved(name: str, replica: str, at: int, weight: int) -> Event:
    state = {
        "path": f"/v2/models/{name}/infer", "incumbent": "rain-1", "candidate": "rain-2", "release": name,
        "stage": weight % 5, "mode": "canary", "weight": weight, "configuration": "0" * 64,
        "flag": {"name": "canary", "enabled": True, "digest": "0" * 64},
    }  # fmt: skip
    evidence = {
        "flips": {"verdict": "pass", "estimate": 0.0012, "limit": 0.01, "evidence": 0.2, "count": 512}
    }
    return Event("stage.moved", kinds.ENDPOINT, name, at, "plan", "", state, "0" * 64, evidence, replica)


def measure(url: str, events: int) -> dict[str, object]:
    """The figures of one engine."""
    database = Database.open(url, 120)
    try:
        figures: dict[str, object] = {
            "one_a_transaction_per_second": appending(database, 1, 500),
            "fifty_a_transaction_per_second": appending(database, 50, 10_000),
        }
        figures |= {f"one_a_transaction_{name}": value for name, value in single(database).items()}
        began = time.perf_counter()
        making = history(events, random.Random(7))
        while part := list(islice(making, AT_ONCE)):
            database.write(partial(store.append, events=part))
        figures["filling_per_second"] = round(events / (time.perf_counter() - began))
        figures |= asking(database, events)
        began = time.perf_counter()
        found = store.verify(database)
        figures["records"] = found.size
        figures["verified_per_second"] = round(found.size / (time.perf_counter() - began))
        return figures
    finally:
        database.close()


def appending(database: Database, together: int, count: int) -> int:
    """Events a second, `together` in each durable transaction."""
    began = time.perf_counter()
    for number in range(0, count, together):
        part = [_moved("warm", "bench", 0, number + one) for one in range(together)]
        database.write(partial(store.append, events=part))
    return round(count / (time.perf_counter() - began))


def single(database: Database) -> dict[str, float]:
    return _quantiles(
        [
            _timed(lambda: database.write(partial(store.append, events=[_moved("warm", "bench", 0, 1)])))
            for _ in range(300)
        ]
    )


def asking(database: Database, events: int) -> dict[str, float]:
    """What `live-at` takes, in milliseconds, at random instants."""
    draw = random.Random(8)
    took = []
    for _ in range(ASKED):
        at = draw.randrange(events) * 1_000_000
        took.append(_timed(lambda at=at: database.read(partial(intervals.live_at, at=at))))  # type: ignore[misc]
    return {f"live_at_{name}": value for name, value in _quantiles(took).items()}


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 3),
    }


def survivals(url: str, kills: int) -> dict[str, object]:
    """Writers that are killed at random moments: what of their acknowledged records was lost."""
    from tests.support.audit_writers import Writers

    draw, lost, written = random.Random(9), 0, 0
    Database.open(url).close()
    with Writers(url) as writers:
        for _ in range(kills):
            told = writers.kill_after(0, draw.random() * 0.1, written)
            database = Database.open(url, 60)
            try:
                size = store.verify(database).size
            finally:
                database.close()
            # A writer appends two records for each number, in one transaction.
            lost += max(0, 2 * (max(told + 1, written)) - size) + size % 2
            written = size // 2
    return {"kills": kills, "records": 2 * written, "lost_or_half_written": lost}


@contextlib.contextmanager
def _postgres() -> Iterator[Callable[[], str]]:
    from tests.support.databases import PostgresProcess
    from tests.support.unleash import _await_port, _run_as

    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    process = PostgresProcess(folder)
    process.log.write_bytes(b"")
    # The tests' own way to start it leaves fsync out.
    command = [
        str(process._programs / "postgres"), "-D", str(process.data), "-p", str(process.port),
        "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=128MB",
    ]  # fmt: skip
    process._process = _run_as(process._who, command, folder)
    _await_port(process.port, process._process, process.log)
    try:
        yield process.fresh
    finally:
        process.end()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="bench.audit", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    figures: dict[str, object] = {"events": options.events}
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        figures["sqlite"] = measure(f"sqlite:///{folder}/measured.db", options.events)
        print(json.dumps(figures["sqlite"]), file=sys.stderr, flush=True)
        if options.kills:
            figures["sqlite kills"] = survivals(f"sqlite:///{folder}/killed.db", options.kills)
            print(json.dumps(figures["sqlite kills"]), file=sys.stderr, flush=True)
        fresh = stack.enter_context(_postgres())
        figures["postgresql"] = measure(fresh(), options.events)
        if options.kills:
            figures["postgresql kills"] = survivals(fresh(), options.kills)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
