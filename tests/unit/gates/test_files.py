"""Files are read whole, known by their digest, and refused in words that help."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from domain.errors import GateError
from gates.files import Files, seconds


def test_csv_and_parquet_give_the_same_table(tmp_path: Path) -> None:
    columns = {"warm": [1, 2], "wet": [0.5, None], "city": ["Wellington", "Ōtautahi, NZ"]}
    (tmp_path / "a.csv").write_text('warm,wet,city\n1,0.5,Wellington\n2,,"Ōtautahi, NZ"\n', "utf-8")
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    files = Files()
    assert files.table(str(tmp_path / "a.csv")).columns == columns
    assert files.table(str(tmp_path / "a.parquet")).columns == columns
    assert [digest for _, digest in files.read_so_far] == [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.csv", "a.parquet")
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a,b\n1,2\n3\n", "line 3: 1 cells for 2 columns"),
        (b"a,a\n1,2\n", "two columns called 'a'"),
        (b"a,b\n", "no rows"),
        (b"", "no rows"),
        (b"a\n\xff\n", "not UTF-8 at byte 2"),
        (b'a\n"1\n', "no CSV"),
        (b"PAR1 but not really", "cannot be read as Parquet"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(GateError, match=complaint):
        Files().table(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"missing\.csv cannot be read: No such file"):
        Files().table(str(tmp_path / "missing.csv"))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("warm,wet\n1,2\n")
    table = Files().table(str(tmp_path / "a.csv"))
    with pytest.raises(GateError, match=r"no column 'y' \(the label\); it has warm, wet"):
        table.column("y", "the label")


def test_times_are_seconds_or_iso() -> None:
    assert seconds(12.5, "t") == 12.5
    assert seconds("1970-01-01T00:01:00", "t") == 60.0
    assert seconds("1970-01-01T02:00:00+02:00", "t") == 0.0
    with pytest.raises(GateError, match="t holds 'soon'"):
        seconds("soon", "t")


def test_parquet_times_are_times(tmp_path: Path) -> None:
    moments = [datetime.fromisoformat("1970-01-01T00:00:07")]
    parquet.write_table(pyarrow.table({"time": moments}), tmp_path / "t.parquet")
    (cell,) = Files().table(str(tmp_path / "t.parquet")).columns["time"]
    assert seconds(cell, "t") == 7.0


@pytest.mark.parametrize("cell", [1_800_000_000_000, -1e11, 1.8e15])
def test_milliseconds_are_no_seconds(cell: float) -> None:
    with pytest.raises(GateError, match="are they milliseconds"):
        seconds(cell, "t")
