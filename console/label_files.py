"""Files of labels, row by row: CSV, JSON lines, Parquet. What cannot be a label is told with its line.

A row has a request id, a label, and when it became known (`at`, ISO 8601 with an offset; without it: now). In
CSV a label that looks like a number is one, `[1, 2]` is a list, everything else is a text.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from domain.errors import ConfigError

LONGEST_ID, LONGEST_LABEL, MOST_ROWS = 200, 1000, 10_000
LARGEST_BITS = 1000
LONGEST_LINE = 16 * 1024 * 1024
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ENDINGS = ".csv, .jsonl, .ndjson or .parquet"


class Columns(NamedTuple):
    """What the columns are called. `texts`: labels of CSV are texts, whatever they look like."""

    request_id: str = "request_id"
    label: str = "label"
    at: str = "at"
    texts: bool = False


class Row(NamedTuple):
    """A label as it is sent, with its line: the row's number in the file, the first label's is 1."""

    line: int
    body: dict[str, object]


class Refusal(NamedTuple):
    """A row that is no label, and why."""

    line: int
    detail: str


Progress = Callable[[float], None]
"""Told how much of the file has been read, from 0 to 1."""


def rows(path: Path, columns: Columns, progress: Progress) -> Iterator[Row | Refusal]:
    """Every row of the file. Raises ConfigError for a file that is none of labels."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        raw = _parquet(path, columns, progress)
    elif ending == ".csv":
        raw = _csv(path, columns, progress)
    elif ending in (".jsonl", ".ndjson"):
        raw = _json_lines(path, progress)
    else:
        raise ConfigError("FILE", str(path), f"give a file that ends in {_ENDINGS}")
    for line, found in raw:
        if isinstance(found, str):
            yield Refusal(line, found)
            continue
        try:
            yield Row(line, _body(found, columns))
        except ValueError as error:
            yield Refusal(line, str(error))


def _body(found: Mapping[str, object], columns: Columns) -> dict[str, object]:
    """The label as the admin API takes it. Raises ValueError."""
    request = found.get(columns.request_id)
    if isinstance(request, int) and not isinstance(request, bool):
        request = str(request)
    if not isinstance(request, str) or not 1 <= len(request) <= LONGEST_ID:
        raise ValueError(
            f"{columns.request_id}: {_shown(request)} is no request id; give a text of 1 to {LONGEST_ID} "
            "characters, the answer's x-request-id"
        )
    if _halved(request):
        raise ValueError(f"{columns.request_id}: {request!a:.60} is no Unicode: half of a pair stands alone")
    label = found.get(columns.label)
    if isinstance(label, list):
        if not 1 <= len(label) <= MOST_ROWS:
            raise ValueError(f"{columns.label}: a list of {len(label)}; give 1 to {MOST_ROWS} labels")
        label = [_label(one, columns.label) for one in label]
    else:
        label = _label(label, columns.label)
    body: dict[str, object] = {"request_id": request, "label": label}
    at = found.get(columns.at)
    if at is not None and at != "":
        body["at"] = _moment(at, columns.at)
    return body


def _label(label: object, column: str) -> object:
    if isinstance(label, float) and not math.isfinite(label):
        raise ValueError(f"{column}: {label} is no label; give a number, or a class by its name or index")
    if not isinstance(label, bool | int | float | str) or label == "":
        raise ValueError(f"{column}: {_shown(label)} is no label; give a class, a number, or a list of these")
    if isinstance(label, int) and label.bit_length() > LARGEST_BITS:
        raise ValueError(f"{column}: an integer of {label.bit_length()} bits; give {LARGEST_BITS} at most")
    if isinstance(label, str) and _halved(label):
        raise ValueError(f"{column}: {label!a:.60} is no Unicode: half of a pair stands alone")
    if isinstance(label, str) and len(label) > LONGEST_LABEL:
        raise ValueError(f"{column}: a text of {len(label)} characters; give {LONGEST_LABEL} at most")
    return label


def _halved(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)


def _moment(at: object, column: str) -> str:
    allowed = "give ISO 8601 with an offset, such as 2026-03-01T14:30:00Z"
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    except ValueError as error:
        raise ValueError(f"{column}: {_shown(at)} is no time; {allowed}") from error
    if moment.tzinfo is None:
        raise ValueError(f"{column}: {_shown(at)} has no offset; {allowed}")
    return moment.isoformat()


def _csv(
    path: Path, columns: Columns, progress: Progress
) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        reader = csv.DictReader(_lines(raw, path), strict=True)
        try:
            _demand(path, columns, reader.fieldnames or ())
            line = 0
            while True:
                line += 1
                row = next(reader, None)
                if row is None:
                    return
                if row.get(None):  # where DictReader puts what is too much
                    yield line, f"{len(reader.fieldnames or ())} columns are named, and here are more"
                    continue
                found: dict[str, object] = dict(row)
                if not columns.texts:
                    found[columns.label] = _guessed(row.get(columns.label))
                yield line, found
                if line % 1000 == 0:
                    progress(raw.tell() / size)
        except csv.Error as error:
            raise ConfigError("FILE", str(path), f"line {reader.line_num} is no CSV: {error}") from error


def _lines(raw: IO[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(raw, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError("FILE", str(path), f"line {number} is not UTF-8") from error


def _guessed(text: str | None) -> object:
    """A number where it is written as one, a list where it is written as JSON, else the text."""
    if text is None:
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return found if isinstance(found, list) else text
    return text


def _json_lines(path: Path, progress: Progress) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        line = 0
        while text := raw.readline(LONGEST_LINE):
            if not text.strip():
                continue
            line += 1
            if len(text) == LONGEST_LINE:
                raise ConfigError("FILE", str(path), f"label {line} is longer than {LONGEST_LINE} bytes")
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                yield line, "this is no JSON; give an object a line"
                continue
            yield line, found if isinstance(found, dict) else "this is no object; give an object a line"
            if line % 1000 == 0:
                progress(raw.tell() / size)


def _parquet(
    path: Path, columns: Columns, progress: Progress
) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        allowed = "Parquet is read with pyarrow: pip install 'pointsman[log]'"
        raise ConfigError("FILE", str(path), allowed) from error
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            _demand(path, columns, there)
            wanted = [one for one in (columns.request_id, columns.label, columns.at) if one in there]
            line = 0
            for batch in file.iter_batches(2000, columns=wanted):
                for found in batch.to_pylist():
                    line += 1
                    yield line, found
                progress(line / max(1, file.metadata.num_rows))
    except (OSError, pa.ArrowException) as error:
        raise ConfigError("FILE", str(path), f"it cannot be read as Parquet: {error}") from error


def _demand(path: Path, columns: Columns, there: object) -> None:
    names = list(there) if isinstance(there, list | tuple) else []
    for option, name in (("--request-id", columns.request_id), ("--label", columns.label)):
        if name not in names:
            listed = ", ".join(str(one) for one in names[:20])
            raise ConfigError(option, name, f"name one of the columns of {path.name}: {listed}")


def _shown(value: object) -> str:
    return repr(value)[:60]
