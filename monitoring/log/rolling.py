"""From a segment in SQLite to the same segment in Parquet.

Both files are complete when they appear: what is written is synced and renamed, ids first, so that whoever
sees the Parquet file finds its ids, and the SQLite file goes last. A crash at any point leaves either the
SQLite file in force, and a draft that the next attempt writes over, or the Parquet file in force, and a file
that `remains` names for removal.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from monitoring.log import segments
from monitoring.log.segments import IDS, PARQUET, SQLITE, grouped, hashed, named

DRAFT = ".draft"


def roll(folder: Path, number: int) -> int:
    """Write segment `number` as Parquet and remove its SQLite file; how many records it has.

    Raises OSError, sqlite3.Error and pyarrow's errors with nothing changed, and ImportError without pyarrow.
    """
    source = named(folder, number, SQLITE)
    target, ids = named(folder, number, PARQUET), named(folder, number, IDS)
    drafts = [path.with_name(path.name + DRAFT) for path in (target, ids)]
    try:
        count = _write(source, *drafts)
        for draft in drafts:
            sync(draft)
        os.replace(drafts[1], ids)
        os.replace(drafts[0], target)
    except BaseException:
        for draft in drafts:  # on a disk that is full they would take the room that new records need
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise
    sync(folder)
    remove(folder, number, SQLITE)
    return count


def _write(source: Path, target: Path, ids: Path) -> int:
    """Both drafts of what is in `source`; how many records that is."""
    import pyarrow.parquet as pq

    from monitoring.log.columns import SCHEMA, batch

    hashes: list[int] = []
    with closing(sqlite3.connect(source)) as connection:
        rows = connection.execute("SELECT record FROM records ORDER BY endpoint, at, number")
        with pq.ParquetWriter(
            target, SCHEMA, compression="zstd", use_dictionary=REPEATED, version="2.6"
        ) as writer:
            for records in grouped(rows):
                hashes += [hashed(record.request_id) for record in records]
                writer.write_batch(batch(records))
    segments.write_ids(ids, np.array(hashes, dtype=np.uint64))
    return len(hashes)


REPEATED = [
    "endpoint", "arm", "version", "configuration", "reason", "drill", "mirrored_version",
    "features.key_value.key", "categories.key_value.key", "categories.key_value.value",
    "labels.list.element", "mirrored_labels.list.element", "cohorts.list.element",
]  # fmt: skip


def remains(folder: Path) -> list[Path]:
    """What a crash left: drafts, SQLite files of segments that are Parquet, ids without their Parquet."""
    found = segments.numbers(folder)
    left = list(folder.glob(f"predictions-*{DRAFT}"))
    for number, endings in found.items():
        if {SQLITE, PARQUET} <= endings:
            left.append(named(folder, number, SQLITE))
    parquet = {number for number, endings in found.items() if PARQUET in endings}
    for path in folder.glob(f"predictions-*{IDS}"):
        digits = path.stem.removeprefix("predictions-")
        if digits.isdigit() and int(digits) not in parquet:
            left.append(path)
    return left


def remove(folder: Path, number: int, ending: str) -> None:
    """Remove a segment's file, with what belongs to it; what is not there is no error."""
    path = named(folder, number, ending)
    path.unlink(missing_ok=True)
    if ending == SQLITE:
        for more in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + more).unlink(missing_ok=True)
    else:
        named(folder, number, IDS).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's entries, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
