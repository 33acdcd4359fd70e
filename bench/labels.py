"""What joining labels costs: a million of them with a log of ten million predictions.

    python -m bench.labels [--predictions 10000000] [--labels 1000000]

The log is made as the log's own process leaves it: Parquet segments of 250 000 records in the order of time,
each record with the answers of both arms and two cohorts. The labels are of requests drawn at random from all
of it, so that every row group of every file holds some. What is measured is what the control process has done
for it: letting the labels into the store (`take`), and the round that finds their records, holds them against
both arms and adds them up (`join`). CPU time, all threads together, so that a busy machine changes little;
the goal, 60 seconds, is of both together.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring.labels.figures import figures, together
from monitoring.labels.joining import Order, Round, taken
from monitoring.labels.kept import ANY, Entry
from monitoring.labels.store import LabelStore
from monitoring.labels.truths import CLASSES, Kind
from monitoring.log.columns import SCHEMA
from monitoring.log.segments import AT_ONCE, IDS, PARQUET, hashed, named, write_ids

SEGMENT = 250_000
PAGE = 2_000
GOAL = 60.0
BEGAN = 1.75e9
A_SECOND = 100.0
"""Requests, so that ten million are a good day."""
ENDPOINT = "rain"
KINDS = {ENDPOINT: Kind(CLASSES, ("dry", "rain"), ("header:x-country", "header:x-plan"), True)}


@dataclass(frozen=True, slots=True)
class Joining:
    """Seconds of CPU and by the clock, and the joining process's most memory in bytes."""

    predictions: int
    labels: int
    take_cpu: float
    join_cpu: float
    take: float
    join: float
    memory: int
    store_bytes: int


def segment(folder: Path, number: int, first: int, count: int, generator: np.random.Generator) -> None:
    """Write one segment of `count` records from request `first` on."""
    ids = [f"{place:032x}" for place in range(first, first + count)]
    classes = np.array(["dry", "rain"])
    columns: dict[str, pa.Array] = {
        "request_id": pa.array(ids),
        "at": pa.array(((BEGAN + np.arange(first, first + count) / A_SECOND) * 1e6).astype(np.int64)),
        "unit": pa.array([f"{place % 100_000:016x}" for place in range(first, first + count)]),
        "labels": _lists(classes[(generator.random(count) < 0.3).astype(int)], pa.string()),
        "mirrored_labels": _lists(classes[(generator.random(count) < 0.3).astype(int)], pa.string()),
        "confidence": pa.array(generator.random(count) / 2 + 0.5),
        "mirrored_confidence": pa.array(generator.random(count) / 2 + 0.5),
        "latency": pa.array(generator.random(count)),
        "mirrored_latency": pa.array(generator.random(count)),
        "cohorts": _cohorts(generator, count),
    }
    same = {
        "endpoint": ENDPOINT, "arm": "incumbent", "version": "rain-1", "status": 200, "generation": 7,
        "configuration": "c" * 64, "reason": "shadow stage", "mirrored_version": "rain-2",
        "mirrored_status": 200,
    }  # fmt: skip
    arrays = []
    for field in SCHEMA:
        if field.name in columns:
            arrays.append(columns[field.name].cast(field.type))
        elif field.name in same:
            arrays.append(pa.array([same[field.name]] * count, field.type))
        else:
            arrays.append(pa.nulls(count, field.type))
    path = named(folder, number, PARQUET)
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    pq.write_table(table, path, row_group_size=AT_ONCE, compression="zstd")
    write_ids(named(folder, number, IDS), np.fromiter(map(hashed, ids), np.uint64, count))


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32), pa.array(values, kind))


def _cohorts(generator: np.random.Generator, count: int) -> pa.Array:
    countries = np.array(["NZ", "AU", "DE", "FR", "US"])[generator.integers(0, 5, count)]
    plans = np.array(["free", "paid"])[generator.integers(0, 2, count)]
    both = np.stack([countries, plans], axis=1).reshape(-1)
    return pa.ListArray.from_arrays(np.arange(0, 2 * count + 1, 2, dtype=np.int32), pa.array(both))


def measure(folder: Path, predictions: int, labels: int) -> Joining:
    """Make the log and the labels, join them, and look whether all were. Raises RuntimeError if not."""
    generator = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, predictions, SEGMENT), 1):
        segment(folder, number, first, min(SEGMENT, predictions - first), generator)
    drawn = random.Random(1).sample(range(predictions), labels)
    entries = [
        Entry(number, f"{place:032x}", ANY, b'"rain"' if place % 3 else b'"dry"', 1.8e9, 1.8e9)
        for number, place in enumerate(drawn, 1)
    ]
    store = LabelStore(folder, 1.0)
    cpu, clock = time.process_time(), time.monotonic()
    for start in range(0, labels, PAGE):
        taken(store, entries[start : start + PAGE], KINDS)
    take_cpu, take = time.process_time() - cpu, time.monotonic() - clock
    store.close()
    del entries
    order = msgspec.json.encode(Order(str(folder), KINDS, 1.8e9))
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-m", "monitoring.labels.joining"], input=order, capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = msgspec.json.decode(answer.stdout, type=Round)
    join = time.monotonic() - clock
    join_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    store = LabelStore(folder, 1.0)
    cells = store.cells(ENDPOINT, 0, 1e12, cohorts=False)
    store.close()
    found = figures(together(tally for key, tally in cells if key[1] == "rain-2"))
    if (done.joined, done.waiting, done.evidence) != ({ENDPOINT: labels}, 0, labels) or found[
        "labels"
    ] != labels:
        raise RuntimeError(
            f"not all labels were joined: {done.joined}, {done.waiting} wait, {found['labels']}"
        )
    return Joining(
        predictions, labels, take_cpu, join_cpu, take, join,
        after.ru_maxrss * 1024,
        sum(path.stat().st_size for path in folder.glob("labels.sqlite*")),
    )  # fmt: skip


def main() -> None:
    """Measure once, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", type=int, default=10_000_000)
    parser.add_argument("--labels", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "predictions", given.predictions, given.labels)
    whole = {"cpu": found.take_cpu + found.join_cpu, "goal": GOAL, "load": os.getloadavg()[0]}
    print(json.dumps(asdict(found) | whole, indent=1))


if __name__ == "__main__":
    main()
