"""The log on disk: what was kept is read, once, as what it was, in SQLite, in Parquet, and in between."""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import StateUnavailable
from domain.routing import Arm
from monitoring.log import rolling, writer
from monitoring.log.columns import SCHEMA, batch, records
from monitoring.log.reading import LogReader
from monitoring.log.record import Mirrored, PredictionRecord
from monitoring.log.rolling import roll
from monitoring.log.segments import IDS, PARQUET, SQLITE, named
from monitoring.log.writer import Bounds, Delivery, LogWriter
from tests.support.records import record

LONG = Bounds(keep=1e9, most=2**40, roll=1e9)


def _kept(folder: Path, count: int = 5, now: float = 2000.0) -> LogWriter:
    log = LogWriter(folder, LONG, now)
    assert _keep(log, [Delivery("s", 1, [record(number) for number in range(count)])], now) == count
    return log


def _keep(log: LogWriter, deliveries: list[Delivery], now: float) -> int:
    """How many records were kept."""
    return sum(len(one.records) for one in log.keep(deliveries, now))


def _rolled(folder: Path, count: int = 5) -> None:
    log = _kept(folder, count)
    log.close()
    assert roll(folder, 1) == count


def _ids(folder: Path, endpoint: str = "rain", since: float = 0.0, until: float = 1e12) -> list[str]:
    batches = LogReader(folder).scan(endpoint, since, until)
    return [one for found in batches for one in found["request_id"].to_pylist()]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert LogReader(tmp_path / "nothing").find("id") is None
    assert _ids(tmp_path / "nothing") == []


@pytest.mark.parametrize("parquet", [False, True])
def test_a_record_is_found_as_it_was_kept(tmp_path: Path, parquet: bool) -> None:
    (_rolled if parquet else _kept)(tmp_path)
    for number in range(5):
        assert LogReader(tmp_path).find(f"id-{number}") == record(number)
    assert LogReader(tmp_path).find("id-5") is None


@pytest.mark.parametrize("parquet", [False, True])
def test_a_scan_has_what_is_the_endpoint_s_from_since_to_before_until(tmp_path: Path, parquet: bool) -> None:
    log = LogWriter(tmp_path, LONG, 0.0)
    others = [record(number, endpoint="hail") for number in range(10)]
    log.keep([Delivery("s", 1, [*others, *(record(number) for number in range(10))])], 0.0)
    log.close()
    if parquet:
        roll(tmp_path, 1)
    assert _ids(tmp_path, since=1003.0, until=1006.0) == ["id-3", "id-4", "id-5"]
    assert _ids(tmp_path, "snow") == []
    (found, *_) = LogReader(tmp_path).scan("rain", 1003.0, 1006.0)
    assert found.schema.equals(SCHEMA)
    assert records(found) == [record(number) for number in (3, 4, 5)]


def test_what_was_delivered_before_is_not_kept_again_not_even_after_a_restart(tmp_path: Path) -> None:
    log = _kept(tmp_path)
    assert _keep(log, [Delivery("s", 1, [record(9)])], 2000.0) == 0
    log.end_segment(2e9)
    assert log.number == 2
    log.close()
    again = LogWriter(tmp_path, LONG, 2000.0)
    assert _keep(again, [Delivery("s", 1, [record(9)]), Delivery("t", 1, [record(10)])], 2000.0) == 1
    assert LogReader(tmp_path).find("id-9") is None
    again.close()


def test_two_requests_of_one_id_are_two_records_and_the_newest_is_found(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, LONG, 0.0)
    older, newer = record(0, at=1.0), record(0, at=2.0)
    log.keep([Delivery("s", 1, [older]), Delivery("s", 2, [newer])], 0.0)
    assert LogReader(tmp_path).find("id-0") == newer
    log.close()
    roll(tmp_path, 1)
    assert LogReader(tmp_path).find("id-0") == newer
    assert len(_ids(tmp_path)) == 2


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    log = _kept(tmp_path)
    with pytest.raises(StateUnavailable, match="another process writes"):
        LogWriter(tmp_path, LONG, 0.0)
    log.close()
    LogWriter(tmp_path, LONG, 0.0).close()


@pytest.mark.parametrize("crashed_at", [os.replace, rolling.remove])
def test_a_crash_while_rolling_leaves_every_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashed_at: object
) -> None:
    _kept(tmp_path).close()

    def crash(*_: object) -> None:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patched:
        if crashed_at is os.replace:
            patched.setattr(rolling.os, "replace", crash)
        else:
            patched.setattr(rolling, "remove", crash)
        with pytest.raises(OSError, match="gone"):
            roll(tmp_path, 1)
    assert sorted(_ids(tmp_path)) == [f"id-{number}" for number in range(5)]
    LogWriter(tmp_path, LONG, 2000.0).close()
    assert not list(tmp_path.glob("*.draft"))
    assert not (named(tmp_path, 1, SQLITE).exists() and named(tmp_path, 1, PARQUET).exists())
    assert sorted(_ids(tmp_path)) == [f"id-{number}" for number in range(5)]


def test_a_crash_between_two_segments_forgets_no_sender(tmp_path: Path) -> None:
    """The second one's file is made before it knows whom the first one heard."""
    _kept(tmp_path).close()
    sqlite3.connect(named(tmp_path, 2, SQLITE)).execute("PRAGMA journal_mode = WAL").close()
    log = LogWriter(tmp_path, LONG, 2000.0)
    assert log.number == 2
    assert _keep(log, [Delivery("s", 1, [record(0)])], 2000.0) == 0, "it was kept before the crash"
    assert _keep(log, [Delivery("s", 2, [record(9)])], 2000.0) == 1
    log.close()
    log = LogWriter(tmp_path, LONG, 2000.0)
    assert _keep(log, [Delivery("s", 2, [record(9)])], 2000.0) == 0, "what is newer holds"
    log.close()
    assert len(_ids(tmp_path)) == 6


def test_a_roll_that_fails_leaves_no_draft_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is full it would hold the room that new records need."""
    _kept(tmp_path).close()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rolling, "sync", full)
    with pytest.raises(OSError, match="No space"):
        roll(tmp_path, 1)
    assert not list(tmp_path.glob("*.draft"))
    assert len(_ids(tmp_path)) == 5


def test_a_segment_is_never_most_of_what_may_be_kept(tmp_path: Path) -> None:
    """The one that is written is not removed, so it has to end before the bound is passed."""
    log = LogWriter(tmp_path, Bounds(1e9, 8 * 2**20, roll=1e9), 1000.0)
    long = b"x" * 300_000
    for number in range(40):
        log.keep([Delivery("s", number + 1, [record(number, input=long)])], 1000.0)
        log.prune(1000.0)
        assert sum(log.sizes().values()) < 11 * 2**20
    assert log.number > 8
    log.close()


def test_a_disk_that_is_full_keeps_nothing_of_a_batch_and_all_of_it_later(tmp_path: Path) -> None:
    log = _kept(tmp_path)
    connection = log._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = Delivery("s", 2, [record(number, input=b"x" * 1000) for number in range(100, 200)])
    with pytest.raises(StateUnavailable, match="full"):
        log.keep([many], 2000.0)
    assert LogReader(tmp_path).find("id-100") is None
    connection.execute("PRAGMA max_page_count = 1000000")
    assert _keep(log, [many], 2000.0) == 100
    assert LogReader(tmp_path).find("id-199") is not None
    log.close()


def test_a_damaged_segment_is_set_aside_and_writing_goes_on(tmp_path: Path) -> None:
    _kept(tmp_path).close()
    named(tmp_path, 1, SQLITE).write_bytes(b"no database at all" * 1000)
    log = LogWriter(tmp_path, LONG, 2000.0)
    assert _keep(log, [Delivery("s", 2, [record(7)])], 2000.0) == 1
    assert LogReader(tmp_path).find("id-7") == record(7)
    assert list(tmp_path.glob("*.damaged"))
    log.close()


def test_a_segment_ends_by_age_and_by_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter(tmp_path, Bounds(1e9, 2**40, roll=60.0), 1000.0)
    log.end_segment(5000.0)
    assert log.number == 1, "an empty one goes on"
    log.keep([Delivery("s", 1, [record(0)])], 1000.0)
    log.end_segment(1059.0)
    assert log.number == 1
    log.end_segment(1061.0)
    assert (log.number, log.to_roll()) == (2, [1])
    monkeypatch.setattr(writer, "MOST_RECORDS", 2)
    log.keep([Delivery("s", 2, [record(1), record(2)])], 1061.0)
    log.keep([Delivery("s", 3, [record(3)])], 1061.0)
    assert log.number == 3
    log.close()


def test_a_clock_put_back_does_not_keep_a_segment_for_ever(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, Bounds(1e9, 2**40, roll=60.0), 1e9)
    log.keep([Delivery("s", 1, [record(0, at=1e9)])], 1e9)
    log.end_segment(1000.0)
    log.end_segment(1061.0)
    assert log.number == 2
    log.close()


def test_the_oldest_go_when_the_log_is_too_long_and_the_one_that_is_written_stays(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, Bounds(1e9, 1, roll=1.0), 1000.0)
    for number in range(3):
        log.keep([Delivery("s", number + 1, [record(number)])], 1000.0 + 10 * number)
    roll(tmp_path, 1)
    assert log.prune(1000.0) == 2
    assert not named(tmp_path, 1, IDS).exists()
    assert _ids(tmp_path) == ["id-2"]
    log.close()


def test_age_removes_only_some_at_a_look_so_that_a_clock_that_jumps_does_not_empty_the_log(
    tmp_path: Path,
) -> None:
    log = LogWriter(tmp_path, Bounds(60.0, 2**40, roll=1.0), 1000.0)
    for number in range(8):
        log.keep([Delivery("s", number + 1, [record(number)])], 1000.0 + 10 * number)
    now = named(tmp_path, 1, SQLITE).stat().st_mtime
    assert log.prune(now + 30) == 0
    assert log.prune(now + 3600) == writer.MOST_AGED_OUT
    assert len(_ids(tmp_path)) == 8 - writer.MOST_AGED_OUT
    log.close()


def test_a_segment_that_was_rolled_since_it_was_listed_is_read_all_the_same(tmp_path: Path) -> None:
    from monitoring.log.segments import SqliteSegment

    _kept(tmp_path).close()
    segment = SqliteSegment(tmp_path, 1)
    roll(tmp_path, 1)
    assert segment.find("id-3") == record(3)
    assert sum(one.num_rows for one in segment.scan("rain", 0.0, 1e12)) == 5
    rolling.remove(tmp_path, 1, PARQUET)
    assert segment.find("id-3") is None
    assert list(segment.scan("rain", 0.0, 1e12)) == []


def test_a_log_without_its_ids_is_searched_row_by_row(tmp_path: Path) -> None:
    _rolled(tmp_path)
    named(tmp_path, 1, IDS).unlink()
    assert LogReader(tmp_path).find("id-4") == record(4)


def test_a_parquet_file_that_is_none_is_told_of(tmp_path: Path) -> None:
    _rolled(tmp_path)
    named(tmp_path, 1, PARQUET).write_bytes(b"PAR1 and nothing")
    with pytest.raises(StateUnavailable, match=r"predictions-0+1\.parquet cannot be read"):
        list(LogReader(tmp_path).scan("rain", 0.0, 1e12))


def test_a_sqlite_file_that_is_none_is_told_of(tmp_path: Path) -> None:
    named(tmp_path, 1, SQLITE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(StateUnavailable, match=r"predictions-0+1\.sqlite cannot be read"):
        LogReader(tmp_path).find("id-1")


@pytest.mark.parametrize("ending", [SQLITE, PARQUET])
def test_records_that_are_damaged_are_told_of_and_hide_no_other_segment(tmp_path: Path, ending: str) -> None:
    bounds = Bounds(1e9, 2**40, roll=1.0)
    log = LogWriter(tmp_path, bounds, 1000.0)
    log.keep([Delivery("s", 1, [record(1)])], 1000.0)
    log.keep([Delivery("s", 2, [record(2)])], 2000.0)
    log.close()
    if ending == SQLITE:
        with closing(sqlite3.connect(named(tmp_path, 2, SQLITE))) as connection, connection:
            connection.execute("UPDATE records SET record = x'00'")
    else:
        roll(tmp_path, 2)
        path = named(tmp_path, 2, PARQUET)
        whole = path.read_bytes()
        path.write_bytes(whole[:4] + bytes(600) + whole[604:])
    with pytest.raises(StateUnavailable, match=f"000002{ending} cannot be read"):
        LogReader(tmp_path).find("id-2")
    with pytest.raises(StateUnavailable, match=f"000002{ending} cannot be read"):
        _ids(tmp_path)
    assert LogReader(tmp_path).find("id-1") == record(1)


def _asked_of_duckdb(query: str) -> list[tuple[object, ...]]:
    """The rows that answer `query`.

    In a process of its own: at its end the library complains to standard error, after pytest's last line.
    """
    program = "import duckdb, sys; print(repr(duckdb.connect().sql(sys.argv[1]).fetchall()))"
    asked = subprocess.run(
        [sys.executable, "-c", program, query], capture_output=True, text=True, check=True, timeout=120
    )
    rows: list[tuple[object, ...]] = ast.literal_eval(asked.stdout)
    return rows


def test_duckdb_reads_it(tmp_path: Path) -> None:
    _rolled(tmp_path)
    query = (
        "SELECT request_id, features['rain'], categories['kind'], labels[1], mirrored_labels[1], "
        f"epoch(\"at\") FROM '{tmp_path}/*.parquet' WHERE arm = 'incumbent' ORDER BY \"at\""
    )
    rows = _asked_of_duckdb(query)
    assert rows[3] == ("id-3", 3.0, "wet", "rain", "dry", 1003.0)
    assert rows[2][4] is None


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_numbers = st.one_of(st.none(), st.floats(allow_nan=False))
_predictions = st.one_of(st.lists(_numbers, max_size=4), st.lists(_texts, max_size=4)).map(tuple)
_mirrored = st.builds(
    Mirrored,
    _texts,
    st.integers(0, 599),
    st.floats(0, 1e6),
    _predictions,
    st.one_of(st.none(), st.floats(0, 1)),
)
_records = st.builds(
    PredictionRecord,
    request_id=_texts,
    endpoint=_texts,
    at=st.integers(0, 2**40).map(lambda millis: millis / 1000),
    unit=st.integers(0, 2**64 - 1),
    arm=st.sampled_from(Arm),
    version=_texts,
    status=st.integers(0, 599),
    latency=st.floats(0, 1e6),
    generation=st.integers(0, 2**53),
    configuration=_texts,
    reason=_texts,
    drill=_texts,
    features=st.dictionaries(_texts, st.one_of(_numbers, _texts), max_size=5),
    predictions=_predictions,
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    cohorts=st.lists(st.one_of(st.none(), _texts), max_size=3).map(tuple),
    input_digest=_texts,
    input=st.binary(max_size=20),
    mirrored=st.one_of(st.none(), _mirrored),
)


@given(st.lists(_records, max_size=6))
@settings(deadline=None, max_examples=60)
def test_columns_say_the_same_as_records(made: list[PredictionRecord]) -> None:
    assert records(batch(made)) == made


@given(st.lists(_records, min_size=1, max_size=6))
@settings(deadline=None, max_examples=25)
def test_whatever_is_kept_is_found_before_and_after_it_is_rolled(
    tmp_path_factory: pytest.TempPathFactory, made: list[PredictionRecord]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = LogWriter(folder, LONG, 0.0)
    log.keep([Delivery("s", 1, made)], 0.0)
    log.close()
    for parquet in (False, True):
        if parquet:
            roll(folder, 1)
        for one in made:
            found = LogReader(folder).find(one.request_id)
            assert found is not None
            assert found in [other for other in made if other.request_id == one.request_id]
    shutil.rmtree(folder)
