"""From the stream to Parquet files in a folder of any storage that fsspec knows: object storage, mostly.

A file is one batch of the stream (see `stream`), under a name that the batch gives it, and appears whole, as
uploads to object storage do. So whoever takes over a batch that was written and not settled writes the same
file again, with the same rows; and one that was half written is not there at all. A row stands in the archive
once, unless Redis itself loses what it had (a failover, without its latest writes): `origin`, `segment` and
`number` together name a row for ever, so that a query can tell.

    URL/date=2026-11-22/predictions-1795-3f2a….parquet      by the day that its first parcel was sent
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from monitoring.log.columns import SCHEMA, batch
from monitoring.log.forwarding.parcel import Parcel
from monitoring.log.forwarding.stream import Batch, NotOurs, Sent, StreamReader, milliseconds
from monitoring.log.record import PredictionRecord
from monitoring.log.rolling import REPEATED, sync
from monitoring.log.segments import AT_ONCE, MOST_AT_ONCE, decoded

MOST_SIZE = 128 * 1024 * 1024
"""Bytes of parcels after which a file is written although it is not time, and bytes of one file's …"""
MOST_ENTRIES = 20_000
"""… and entries of it."""
TOGETHER = 16
"""Entries that are asked for at once."""
ABANDONED = 300.0
"""Seconds without a word about a batch after which another reader takes it over."""
BLOCK = 8 * 1024 * 1024
"""Bytes of one part of an upload: what is held of a file while it is written."""

ARCHIVED = SCHEMA.append(pa.field("origin", pa.string(), nullable=False))
ARCHIVED = ARCHIVED.append(pa.field("segment", pa.int64(), nullable=False))
ARCHIVED = ARCHIVED.append(pa.field("number", pa.int64(), nullable=False))
"""The columns of the log, and what names a row for ever."""


class Written(NamedTuple):
    """One file: how many rows, and how many that could not be read were left out."""

    path: str
    rows: int
    unreadable: int


class Archive:
    """Writes what is in the stream to the folder `url`. Methods raise StateUnavailable for Redis.

    The storage's own errors come as they are (OSError, mostly), with nothing changed: call again.
    """

    def __init__(
        self,
        reader: StreamReader,
        url: str,
        every: float,
        *,
        wall: Callable[[], float] = time.time,
        abandoned: float = ABANDONED,
    ) -> None:
        """`every`: seconds that records wait, at most. Raises ImportError, ValueError for an unknown URL."""
        self._reader = reader
        self._files, self._folder = fsspec.core.url_to_fs(url)
        self._every = every
        self._wall = wall
        self._abandoned = abandoned
        self._mine: list[Batch] = []

    async def open(self) -> None:
        """Before anything else, and after every failure."""
        await self._reader.open()

    async def step(self) -> list[Written]:
        """Write what is due, and what somebody else left; the files that were written."""
        written: list[Written] = []
        while (one := await self._next()) is not None:
            try:
                found = await self._write(one)
            except NotOurs:
                found = None
            self._mine.remove(one)
            if found is not None:
                written.append(found)
        return written

    async def _next(self) -> Batch | None:
        if self._mine:  # its file could not be written before
            return self._mine[0]
        token = secrets.token_hex(8)
        found = await self._reader.adopt(token, self._abandoned) or await self._gathered(token)
        if found is not None:
            self._mine.append(found)
        return found

    async def _gathered(self, token: str) -> Batch | None:
        """A batch of what waits, when it is time; None: it is not."""
        held, oldest = await self._reader.waiting()
        if not oldest or (held < MOST_SIZE and self._wall() - oldest < self._every):
            return None
        made = Batch(secrets.token_hex(8), token)
        await self._reader.begin(made)
        size = count = 0
        while size < MOST_SIZE and count < MOST_ENTRIES:
            sizes = await self._reader.gather(made, TOGETHER)
            if not sizes:
                break
            size += sum(sizes)
            count += len(sizes)
        return made if count else None

    async def _write(self, one: Batch) -> Written | None:
        first = await self._reader.read(one, "0", 1)
        if not first:
            await self._reader.settle(one, 0)
            return None
        day = time.strftime("%Y-%m-%d", time.gmtime(milliseconds(first[0].id) / 1000))
        path = f"{self._folder}/date={day}/predictions-{one.name}.parquet"
        file = _File(path, _target(self._files, path))
        size = 0
        try:
            after = "0"
            while entries := await self._reader.read(one, after, TOGETHER):
                after = entries[-1].id
                size += sum(entry.size for entry in entries)
                await asyncio.to_thread(file.add, entries)
            await asyncio.to_thread(file.finish)
        except BaseException:
            file.discard()  # blocks, and nothing else is to be done meanwhile
            raise
        await self._reader.settle(one, size)
        return Written(path, file.rows, file.unreadable)


class _Row(NamedTuple):
    record: PredictionRecord
    origin: str
    segment: int
    number: int


class _File:
    """One Parquet file on its way. Methods block; `discard` after anything went wrong.

    Attributes:
        rows: that were written.
        unreadable: records, or whole parcels, that were none.
    """

    def __init__(self, path: str, target: Target) -> None:
        self.rows = 0
        self.unreadable = 0
        self._path = path
        self._target = target
        self._writer: pq.ParquetWriter | None = None
        self._group: list[_Row] = []
        self._size = 0

    def add(self, entries: list[Sent]) -> None:
        """Write their rows."""
        for entry in entries:
            if entry.parcel is None:
                self.unreadable += 1
                continue
            for number, data in zip(entry.parcel.numbers, entry.parcel.records, strict=False):
                self._add(entry.parcel, number, data)

    def _add(self, parcel: Parcel, number: int, data: bytes) -> None:
        try:
            record = decoded(data)
        except msgspec.MsgspecError:
            self.unreadable += 1
            return
        self._group.append(_Row(record, parcel.origin, parcel.segment, number))
        self._size += len(data)
        if len(self._group) >= AT_ONCE or self._size >= MOST_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        rows = sorted(self._group, key=lambda row: (row.record.endpoint, row.record.at))
        if not rows:
            return
        self._group, self._size = [], 0
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._target.open(), ARCHIVED, compression="zstd", use_dictionary=[*REPEATED, "origin"],
                version="2.6",
            )  # fmt: skip
        found = batch([row.record for row in rows])
        named = [pa.array([getattr(row, name) for row in rows], ARCHIVED.field(name).type) for name in _NAMES]
        self._writer.write_batch(pa.RecordBatch.from_arrays([*found.columns, *named], schema=ARCHIVED))
        self.rows += len(rows)

    def finish(self) -> None:
        """Have the file there, whole. Without any rows there is none."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._target.commit()

    def discard(self) -> None:
        """Leave nothing of it."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:  # what is being thrown away may be broken, which is no news
            with suppress(Exception):
                writer.close()
            writer.is_open = False  # or it tries again when it is collected
        finally:
            with suppress(Exception):
                self._target.discard()


_NAMES = ("origin", "segment", "number")


class Target(Protocol):
    """A file that appears whole, or not at all."""

    def open(self) -> Any:
        """A file to write to."""
        ...

    def commit(self) -> None:
        """Have it there under its name, in place of what may be there already."""
        ...

    def discard(self) -> None:
        """Leave nothing of it."""
        ...


def _target(files: Any, path: str) -> Target:
    return _LocalTarget(Path(path)) if isinstance(files, LocalFileSystem) else _Upload(files, path)


class _LocalTarget:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_suffix(f".{secrets.token_hex(4)}.draft")
        self._file: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def commit(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._draft, self._path)
        sync(self._path.parent)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._draft.unlink(missing_ok=True)


class _Upload:
    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self._path = path
        self._file: Any = None

    def open(self) -> Any:
        self._file = self._files.open(self._path, "wb", block_size=BLOCK, autocommit=False)
        return self._file

    def commit(self) -> None:
        self._file.close()
        self._file.commit()

    def discard(self) -> None:
        try:
            self._file.discard()
        finally:
            self._file.closed = True  # or it uploads what it has when it is collected
