"""Which records of the prediction log are those that labels speak of.

Labels are held against whole segments at once: the ids of a segment that is Parquet stand beside it, hashed
and in order (`monitoring.log.segments`), so that a million labels find theirs among ten million records by
binary search, and of the Parquet file only those row groups are read that hold one, and of those only the
columns that a judgement takes. A hash is no proof: whoever uses a match compares the ids.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from domain.errors import ConfigError, StateUnavailable
from domain.routing import Arm
from monitoring.log import segments
from monitoring.log.record import PredictionRecord, Value
from monitoring.log.segments import IDS, PARQUET, SQLITE, decoded, hashed, named

FEW = 2_000
"""Labels up to which each is looked up by its id where there is an index."""
AT_ONCE = 500
GROUPS = 8
"""Row groups that are read at once."""
_BUSY = 5.0
_BY_ID = "SELECT record FROM records WHERE request_id"
_ROW = np.dtype("<u4")
_HASH = np.dtype("<u8")

Hashes = npt.NDArray[np.uint64]


class Wanted(NamedTuple):
    """Labels that look for their records: hashes of their ids, ascending; `requests` while they are few."""

    hashes: Hashes
    requests: Sequence[str] | None


class Predicted(NamedTuple):
    """What one arm answered; `predictions` are empty where it could not be read or failed."""

    version: str
    predictions: tuple[Value, ...]
    confidence: float | None


class Match(NamedTuple):
    """Of a record what labels are held against; `incumbent` and `candidate` are None where not asked."""

    request: str
    endpoint: str
    at: float
    unit: int
    generation: int
    drill: str
    cohorts: tuple[str | None, ...]
    incumbent: Predicted | None
    candidate: Predicted | None


class Reached(NamedTuple):
    """How far a segment was looked through: rows as an SQLite file, or as Parquet."""

    rows: int
    parquet: bool


def wanted(requests: Sequence[str]) -> Wanted:
    """Labels of these requests."""
    hashes = np.sort(np.fromiter(map(hashed, requests), np.uint64, len(requests)))
    return Wanted(hashes, requests if len(requests) <= FEW else None)


def matches(
    folder: Path, number: int, fresh: Wanted, waiting: Wanted, reached: Reached | None
) -> Iterator[list[Match] | Reached]:
    """Matches in segment `number`, some at a time, and last how far it is looked through now.

    `fresh` labels are held against all of it, `waiting` ones against what came after `reached` (None: nothing
    is). Raises StateUnavailable when it cannot be read; one that is gone has no matches.
    """
    path = named(folder, number, SQLITE)
    if named(folder, number, PARQUET).exists() or not path.exists():
        yield from _in_parquet(folder, number, fresh, waiting, reached)
        return
    try:
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=_BUSY)) as connection:
            connection.execute("PRAGMA query_only = 1")
            yield from _in_sqlite(connection, fresh, waiting, reached)
    except sqlite3.OperationalError as error:
        if path.exists():
            raise StateUnavailable(f"the prediction log's {path.name} cannot be read: {error}") from error
        yield from _in_parquet(folder, number, fresh, waiting, reached)  # it became Parquet just now
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise StateUnavailable(f"the prediction log's {path.name} cannot be read: {error}") from error


def _in_sqlite(
    connection: sqlite3.Connection, fresh: Wanted, waiting: Wanted, reached: Reached | None
) -> Iterator[list[Match] | Reached]:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone()
    if found is None:  # made a moment ago, and not filled yet
        return
    before = 0 if reached is None else reached.rows
    end = connection.execute("SELECT max(number) FROM records").fetchone()[0] or 0
    for labels, start in ((fresh, 0), (waiting, before)):
        if end <= start or not len(labels.hashes):
            continue
        if labels.requests is not None and len(labels.requests) < end - start:
            yield from _looked_up(connection, labels.requests, start, end)
        else:
            yield from _looked_through(connection, labels.hashes, start, end)
    yield Reached(end, False)


def _looked_up(
    connection: sqlite3.Connection, requests: Sequence[str], start: int, end: int
) -> Iterator[list[Match]]:
    for first in range(0, len(requests), AT_ONCE):
        some = requests[first : first + AT_ONCE]
        marks = ",".join("?" * len(some))
        rows = connection.execute(
            f"{_BY_ID} IN ({marks}) AND number > ? AND number <= ?",
            (*some, start, end),
        )
        if matched := [_match(decoded(row[0])) for row in rows]:
            yield matched


def _looked_through(
    connection: sqlite3.Connection, hashes: Hashes, start: int, end: int
) -> Iterator[list[Match]]:
    """Piece by piece, so that memory is bounded whatever the segment."""
    for first in range(start, end, AT_ONCE * 100):
        rows = connection.execute(
            "SELECT number, request_id FROM records WHERE number > ? AND number <= ?",
            (first, min(end, first + AT_ONCE * 100)),
        ).fetchall()
        ids = np.fromiter((hashed(row[1]) for row in rows), np.uint64, len(rows))
        numbers = [rows[place][0] for place in np.flatnonzero(_among(ids, hashes)).tolist()]
        for begin in range(0, len(numbers), AT_ONCE):
            some = numbers[begin : begin + AT_ONCE]
            marks = ",".join("?" * len(some))
            found = connection.execute(f"SELECT record FROM records WHERE number IN ({marks})", some)  # noqa: S608 - question marks
            yield [_match(decoded(row[0])) for row in found]


def _in_parquet(
    folder: Path, number: int, fresh: Wanted, waiting: Wanted, reached: Reached | None
) -> Iterator[list[Match] | Reached]:
    path = named(folder, number, PARQUET)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        allowed = "Parquet is read with pyarrow: pip install 'pointsman[log]'"
        raise ConfigError("log", error.name, allowed) from error
    try:
        with pq.ParquetFile(path) as file:
            count = file.metadata.num_rows
            whole = reached is not None and (reached.parquet or reached.rows == count)
            hashes = fresh.hashes if whole else np.sort(np.concatenate((fresh.hashes, waiting.hashes)))
            if len(hashes):
                places = _places(named(folder, number, IDS), file, hashes)
                yield from _read(file, places)
            yield Reached(count, True)
    except FileNotFoundError:  # pruned meanwhile
        return
    except (OSError, pa.ArrowException) as error:
        raise StateUnavailable(f"the prediction log's {path.name} cannot be read: {error}") from error


def _places(ids: Path, file: Any, hashes: Hashes) -> npt.NDArray[np.int64]:
    """The rows that may be wanted, ascending."""
    try:
        count = ids.stat().st_size // (_HASH.itemsize + _ROW.itemsize)
    except FileNotFoundError:  # lost: every id is read
        listed = file.read(columns=["request_id"])["request_id"].to_pylist()
        every = np.fromiter(map(hashed, listed), np.uint64, len(listed))
        return np.flatnonzero(_among(every, hashes))
    if not count:
        return np.zeros(0, np.int64)
    known = np.memmap(ids, _HASH, "r", shape=(count,))
    rows = np.memmap(ids, _ROW, "r", offset=count * _HASH.itemsize, shape=(count,))
    if len(hashes) * 20 < count:
        first, end = np.searchsorted(known, hashes), np.searchsorted(known, hashes, "right")
        there = [np.arange(one, two) for one, two in zip(first, end, strict=True) if two > one]
        at = np.unique(np.concatenate(there)) if there else np.zeros(0, np.int64)
    else:
        at = np.flatnonzero(_among(np.asarray(known), hashes))
    return np.sort(rows[at].astype(np.int64))


def _among(values: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Of each value whether it is one of `hashes`, which ascend."""
    if not len(hashes):
        return np.zeros(len(values), np.bool_)
    places = np.searchsorted(hashes, values)
    places[places == len(hashes)] = 0
    return np.asarray(hashes[places] == values)


_COLUMNS = [
    "request_id", "endpoint", "at", "unit", "arm", "version", "generation", "drill", "predictions", "labels",
    "confidence", "cohorts", "mirrored_predictions", "mirrored_labels", "mirrored_confidence",
    "mirrored_version",
]  # fmt: skip


def _read(file: Any, places: npt.NDArray[np.int64]) -> Iterator[list[Match]]:
    """The records in these rows."""
    ends = np.cumsum([file.metadata.row_group(one).num_rows for one in range(file.num_row_groups)])
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    groups = np.searchsorted(ends, places, "right")
    held = np.unique(groups)
    for first in range(0, len(held), GROUPS):
        some = held[first : first + GROUPS]
        table = file.read_row_groups(some.tolist(), columns=_COLUMNS)
        mine = places[np.isin(groups, some)]
        # Where each group of these begins in the table that was read.
        sizes = ends[some] - starts[some]
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)[:-1]))
        within = mine - starts[groups[np.isin(groups, some)]]
        at = within + offsets[np.searchsorted(some, groups[np.isin(groups, some)])]
        yield _matched(table.take(at))


def _matched(table: Any) -> list[Match]:
    columns = [table[name].to_pylist() for name in _COLUMNS if name != "at"]
    times = table["at"].cast("int64").to_pylist()
    found = []
    for at, row in zip(times, zip(*columns, strict=True), strict=True):
        request, endpoint, unit, arm, version, generation, drill, *answers, other = row
        numbers, labels, confidence, cohorts, other_numbers, other_labels, other_confidence = answers
        served = Predicted(version, tuple(labels or numbers or ()), confidence)
        mirrored = None
        if other is not None:
            mirrored = Predicted(other, tuple(other_labels or other_numbers or ()), other_confidence)
        incumbent, candidate = (served, mirrored) if arm == "incumbent" else (mirrored, served)
        found.append(
            Match(
                request,
                endpoint,
                at / 1e6,
                int(unit or "0", 16),
                generation,
                drill or "",
                tuple(cohorts or ()),
                incumbent,
                candidate,
            )
        )
    return found


def _match(record: PredictionRecord) -> Match:
    served = Predicted(record.version, record.predictions, record.confidence)
    other = record.mirrored
    mirrored = None if other is None else Predicted(other.version, other.predictions, other.confidence)
    incumbent, candidate = (served, mirrored) if record.arm is Arm.INCUMBENT else (mirrored, served)
    return Match(
        record.request_id, record.endpoint, record.at, record.unit, record.generation, record.drill,
        record.cohorts, incumbent, candidate,
    )  # fmt: skip


def listed(folder: Path) -> list[int]:
    """The numbers of all segments, newest first. Raises StateUnavailable."""
    return sorted(segments.numbers(folder), reverse=True)


def _quoted(path: Path) -> str:
    """A path inside an SQLite URI."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
