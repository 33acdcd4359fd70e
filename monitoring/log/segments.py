"""The log on disk: a folder of segments, each one file, and how a reader finds its way through them.

A segment is written as an SQLite file, which takes small commits well, and once it is full or old enough it
becomes a Parquet file of the same number, which is small and read by everything. At every moment a segment
is exactly one of the two: the Parquet file appears whole, by renaming, and from then on the SQLite file of
that number is nothing any more, whether it has been removed yet or not. So no record is ever read twice, and
there is no list of files that could be wrong.

    predictions-000000000012.sqlite     the newest one is being written, older ones wait to become Parquet
    predictions-000000000011.parquet    rows by endpoint, then by time
    predictions-000000000011.ids        where each request id stands in it

`.ids` is what makes `find` fast: n hashes of 8 bytes (BLAKE2b of the id), ascending, then for each the number
of its row in 4 bytes, both little-endian. A search reads some twenty pages of it, and then one row group.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from domain.errors import ConfigError, StateUnavailable
from monitoring.log.record import PredictionRecord

if TYPE_CHECKING:
    import pyarrow as pa

SQLITE, PARQUET, IDS = ".sqlite", ".parquet", ".ids"
AT_ONCE = 4096
"""Records in a row group, and in a batch that is read …"""
MOST_AT_ONCE = 32 * 1024 * 1024
"""… unless they are longer together than so many bytes."""
_NAME = re.compile(r"predictions-([0-9]{12})\.(sqlite|parquet)")
_HASH = np.dtype("<u8")
_ROW = np.dtype("<u4")
_BUSY = 5.0
"""Seconds that a reader waits for a lock."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PredictionRecord] = msgspec.msgpack.Decoder(PredictionRecord)


class Segment(Protocol):
    """One file of the log."""

    number: int
    path: Path

    def find(self, request_id: str) -> PredictionRecord | None:
        """The newest record of that request; None when the segment has none, or is gone."""
        ...

    def scan(self, endpoint: str, since: float, until: float) -> Iterator[pa.RecordBatch]:
        """Records with since ≤ at < until, in batches."""
        ...


def named(folder: Path, number: int, ending: str) -> Path:
    """The path of a segment's file."""
    return folder / f"predictions-{number:012}{ending}"


def numbers(folder: Path) -> dict[int, set[str]]:
    """The endings (SQLITE, PARQUET) that are there, by number."""
    found: dict[int, set[str]] = {}
    try:
        for path in folder.iterdir():
            if match := _NAME.fullmatch(path.name):
                found.setdefault(int(match[1]), set()).add(path.suffix)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateUnavailable(f"the prediction log in {folder} cannot be read: {error}") from error
    return found


def listed(folder: Path, *, newest_first: bool = False) -> Iterator[Segment]:
    """Every segment in `folder`, in the order they were written."""
    for number, endings in sorted(numbers(folder).items(), reverse=newest_first):
        if PARQUET in endings:
            yield ParquetSegment(folder, number)
        else:
            yield SqliteSegment(folder, number)


def encoded(record: PredictionRecord) -> bytes:
    """A record as it stands in an SQLite segment."""
    return _encoder.encode(record)


def decoded(record: bytes) -> PredictionRecord:
    """What `encoded` wrote. Raises msgspec.DecodeError."""
    return _decoder.decode(record)


def grouped(rows: Iterable[tuple[bytes]]) -> Iterator[list[PredictionRecord]]:
    """Encoded records as they come from SQLite, decoded, as many together as are held at once."""
    group: list[PredictionRecord] = []
    size = 0
    for (record,) in rows:
        if group and (len(group) == AT_ONCE or size + len(record) > MOST_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(decoded(record))
        size += len(record)
    if group:
        yield group


def opened(path: Path) -> sqlite3.Connection | None:
    """An SQLite segment, to read; None when it has become Parquet, or was removed, since it was listed.

    Raises sqlite3.Error.
    """
    try:
        connection = sqlite3.connect(
            f"file:{_quoted(path)}?mode=rw", uri=True, timeout=_BUSY, check_same_thread=False
        )
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None
    try:
        connection.execute("PRAGMA query_only = 1")
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    if found is None:  # made a moment ago, and not filled yet
        connection.close()
        return None
    return connection


def hashed(request_id: str) -> int:
    """What stands for a request id in `.ids`."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class SqliteSegment:
    """A segment that is written, or waits to become Parquet."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.path = named(folder, number, SQLITE)
        self._folder = folder

    def find(self, request_id: str) -> PredictionRecord | None:
        """See Segment."""
        query = "SELECT record FROM records WHERE request_id = ? ORDER BY number DESC LIMIT 1"
        try:
            connection = self._opened()
            if connection is None:
                return self._rolled().find(request_id)
            with closing(connection):
                row = connection.execute(query, (request_id,)).fetchone()
            return None if row is None else decoded(row[0])
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise _unreadable(self.path, error) from error

    def scan(self, endpoint: str, since: float, until: float) -> Iterator[pa.RecordBatch]:
        """See Segment."""
        columns = _columns()
        query = "SELECT record FROM records WHERE endpoint = ? AND at >= ? AND at < ? ORDER BY number"
        try:
            connection = self._opened()
            if connection is None:
                yield from self._rolled().scan(endpoint, since, until)
                return
            with closing(connection):
                rows = connection.execute(query, (endpoint, since, until))
                for records in grouped(rows):
                    yield columns.batch(records)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise _unreadable(self.path, error) from error

    def _opened(self) -> sqlite3.Connection | None:
        return opened(self.path)

    def _rolled(self) -> ParquetSegment:
        return ParquetSegment(self._folder, self.number)


class ParquetSegment:
    """A segment that has become Parquet."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.path = named(folder, number, PARQUET)
        self._ids = named(folder, number, IDS)

    def find(self, request_id: str) -> PredictionRecord | None:
        """See Segment."""
        try:
            rows = self._rows(request_id)
            if not rows:
                return None
            found = [record for record in self._read(rows) if record.request_id == request_id]
        except FileNotFoundError:  # pruned meanwhile
            return None
        except OSError as error:  # which Arrow raises for damage as well
            raise _unreadable(self.path, error) from error
        return max(found, key=lambda record: record.at, default=None)

    def scan(self, endpoint: str, since: float, until: float) -> Iterator[pa.RecordBatch]:
        """See Segment."""
        _columns()
        import pyarrow as pa
        import pyarrow.compute as pc

        first = pa.scalar(round(since * 1e6), pa.timestamp("us", tz="UTC"))
        last = pa.scalar(round(until * 1e6), pa.timestamp("us", tz="UTC"))
        try:
            with self._file() as file:
                for group in range(file.num_row_groups):
                    if not _may_hold(file.metadata.row_group(group), endpoint, since, until):
                        continue
                    table = file.read_row_group(group)
                    at = table["at"]
                    wanted = pc.and_(
                        pc.equal(table["endpoint"], endpoint),
                        pc.and_(pc.greater_equal(at, first), pc.less(at, last)),
                    )
                    yield from (one for one in table.filter(wanted).to_batches() if one.num_rows)
        except FileNotFoundError:  # pruned meanwhile
            return
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, error) from error

    def _rows(self, request_id: str) -> list[int]:
        """The rows that may be that request's."""
        try:
            size = self._ids.stat().st_size
        except FileNotFoundError:
            return self._looked_through(request_id)
        count = size // (_HASH.itemsize + _ROW.itemsize)
        if not count:
            return []
        hashes = np.memmap(self._ids, _HASH, "r", shape=(count,))
        wanted = np.uint64(hashed(request_id))
        first, end = int(np.searchsorted(hashes, wanted)), int(np.searchsorted(hashes, wanted, "right"))
        if first == end:
            return []
        places = np.memmap(self._ids, _ROW, "r", offset=count * _HASH.itemsize, shape=(count,))
        return [int(row) for row in places[first:end]]

    def _looked_through(self, request_id: str) -> list[int]:
        """The same where `.ids` was lost: every id is read."""
        with self._file() as file:
            ids = file.read(columns=["request_id"])["request_id"].to_pylist()
        return [row for row, one in enumerate(ids) if one == request_id]

    def _read(self, rows: list[int]) -> list[PredictionRecord]:
        columns = _columns()
        import pyarrow as pa

        found: list[PredictionRecord] = []
        try:
            with self._file() as file:
                before = 0
                for group in range(file.num_row_groups):
                    size = file.metadata.row_group(group).num_rows
                    places = [row - before for row in rows if before <= row < before + size]
                    if places:
                        found += columns.records(file.read_row_group(group).take(places))
                    before += size
        except pa.ArrowException as error:
            raise _unreadable(self.path, error) from error
        return found

    def _file(self) -> pa.parquet.ParquetFile:
        _columns()
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path)
        except pa.ArrowException as error:
            raise _unreadable(self.path, error) from error


def _unreadable(path: Path, error: Exception) -> StateUnavailable:
    return StateUnavailable(f"the prediction log's {path.name} cannot be read: {error}")


def write_ids(path: Path, hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
    """Write `.ids`: `hashes` are those of the rows, in the rows' order."""
    order = np.argsort(hashes, kind="stable")
    with path.open("wb") as file:
        file.write(hashes[order].astype(_HASH).tobytes())
        file.write(order.astype(_ROW).tobytes())


def _may_hold(group: pa.parquet.RowGroupMetaData, endpoint: str, since: float, until: float) -> bool:
    """By the least and largest values of a row group."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema not in ("endpoint", "at") or not column.is_stats_set:
            continue
        statistics = column.statistics
        if not statistics.has_min_max:
            continue
        if column.path_in_schema == "endpoint":
            if not statistics.min <= endpoint <= statistics.max:
                return False
        elif statistics.max.timestamp() < since or statistics.min.timestamp() >= until:
            return False
    return True


class _Columns(Protocol):
    def batch(self, records: list[PredictionRecord], /) -> pa.RecordBatch: ...

    def records(self, found: pa.RecordBatch | pa.Table, /) -> list[PredictionRecord]: ...


def _columns() -> _Columns:
    """`monitoring.log.columns`. Raises ConfigError without pyarrow."""
    try:
        from monitoring.log import columns
    except ModuleNotFoundError as error:
        allowed = "Parquet is read and written with pyarrow: pip install 'pointsman[log]'"
        raise ConfigError("log", error.name, allowed) from error
    return columns


def _quoted(path: Path) -> str:
    """A path inside an SQLite URI."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
