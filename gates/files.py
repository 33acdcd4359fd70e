"""Files that gates read: held-out data, inputs, requests. Whatever was read is known by its digest.

A file is read once and whole, and its digest is that of the very bytes that were used: a file that changes
while a gate runs cannot be bound to a result that never saw it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from domain.errors import GateError

LARGEST = 1024**3
"""Bytes of a file."""

MOST_ROWS = 5_000_000

_MILLISECONDS = 1e11  # of seconds, that is the year 5138; of milliseconds, 1973

Cell = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of the same length."""

    path: str
    columns: dict[str, list[Cell]]

    @property
    def rows(self) -> int:
        """How many."""
        return len(next(iter(self.columns.values()), []))

    def column(self, name: str, meant: str) -> list[Cell]:
        """The column `name`. Raises GateError, with what is there, when it is absent."""
        if name not in self.columns:
            there = ", ".join(list(self.columns)[:20])
            raise GateError(f"{self.path} has no column {name!r} ({meant}); it has {there}")
        return self.columns[name]


class Files:
    """Reads files, and notes what was read. One for each execution of a gate."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    @property
    def read_so_far(self) -> tuple[tuple[str, str], ...]:
        """(path, SHA-256) of every file that was read, sorted."""
        return tuple(sorted(self._digests.items()))

    def content(self, path: str) -> bytes:
        """The bytes of the file. Raises GateError when it cannot be read, or is too long."""
        try:
            with Path(path).open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise GateError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) > LARGEST:
            raise GateError(f"{path} has more than {LARGEST} bytes; give a sample of it")
        self._digests[path] = hashlib.sha256(content).hexdigest()
        return content

    def table(self, path: str) -> Table:
        """A CSV file with a header line, or a Parquet file (by its name's end, or its first bytes)."""
        content = self.content(path)
        columns = _parquet(path, content) if _is_parquet(path, content) else _csv(path, content)
        table = Table(path, columns)
        if not table.rows:
            raise GateError(f"{path} has no rows")
        return table

    def lines(self, path: str, most: int) -> list[bytes]:
        """The first `most` lines that are not blank."""
        found = [line for line in self.content(path).splitlines() if line.strip()]
        if not found:
            raise GateError(f"{path} has no lines: write a request's JSON body in each")
        return found[:most]


def seconds(cell: Cell, where: str) -> float:
    """A time as seconds since the epoch: a number of them, or ISO 8601. Raises GateError."""
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        if abs(cell) >= _MILLISECONDS:
            raise GateError(f"{where} holds {cell!r}, no seconds: are they milliseconds? Divide them by 1000")
        return float(cell)
    try:
        found = datetime.fromisoformat(str(cell))
    except ValueError:
        raise GateError(f"{where} holds {cell!r}, which is no time: write seconds or ISO 8601") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def number(cell: Cell) -> float:
    """The cell as a number; NaN for what is none."""
    return float(cell) if isinstance(cell, int | float) else math.nan


def _is_parquet(path: str, content: bytes) -> bool:
    return content.startswith(b"PAR1") or path.endswith((".parquet", ".pq"))


def _parquet(path: str, content: bytes) -> dict[str, list[Cell]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        message = f"{path} is Parquet: install what reads it with pip install 'pointsman[gates]'"
        raise GateError(message) from error
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        if file.metadata.num_rows > MOST_ROWS:
            raise GateError(f"{path} has {file.metadata.num_rows} rows; up to {MOST_ROWS} are read")
        found = file.read().to_pydict()
    except pyarrow.ArrowException as error:
        raise GateError(f"{path} cannot be read as Parquet: {error}") from error
    return {name: [_plain(path, name, cell) for cell in cells] for name, cells in found.items()}


def _plain(path: str, column: str, cell: object) -> Cell:
    if cell is None or isinstance(cell, bool | int | float | str):
        return cell
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    try:
        return float(str(cell))  # decimals
    except ValueError:
        kind = type(cell).__name__
        raise GateError(f"column {column!r} of {path} holds a {kind}, which no feature can be") from None


def _csv(path: str, content: bytes) -> dict[str, list[Cell]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GateError(f"{path} is not UTF-8 at byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise GateError(f"{path} has two columns called {twice!r}")
        rows: list[list[str]] = []
        for row in reader:
            if len(row) not in (0, len(header)):
                raise GateError(f"{path}, line {reader.line_num}: {len(row)} cells for {len(header)} columns")
            if row:
                rows.append(row)
            if len(rows) > MOST_ROWS:
                raise GateError(f"{path} has more than {MOST_ROWS} rows")
    except csv.Error as error:
        raise GateError(f"{path}, line {reader.line_num}: this is no CSV: {error}") from error
    return {name: _typed([row[at] for row in rows]) for at, name in enumerate(header)}


def _typed(cells: Sequence[str]) -> list[Cell]:
    """Whole numbers, numbers or texts, whatever fits all of a column; an empty cell is missing."""
    for kind in (int, float):
        try:
            return [kind(cell) if cell.strip() else None for cell in cells]
        except ValueError:
            continue
    return [cell or None for cell in cells]
