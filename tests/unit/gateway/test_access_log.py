"""The access log: the sample is fair, lines are whole JSON, and a bad disk costs lines and nothing else."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest

from gateway.access_log import QUEUE, Access, AccessLog
from settings.schema import AccessLogSettings

ONE = Access(1.0, "203.0.113.7", b"POST", b"/predict", "rain", "rain-1", "incumbent", 200, 0.0125, 3, b"r-1")


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log(path: Path | str, sample: int = 10_000, seed: int = 1) -> AccessLog:
    return AccessLog(AccessLogSettings(str(path), sample), random.Random(seed).random)


def test_what_is_recorded_is_written_as_one_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    access = log(path)
    access.start()
    access.record(ONE)
    access.record(ONE._replace(path=b'/a\r\n\x1b[31mb"', request_id=b"r" * 500))
    access.close()
    first, second = written(path)
    assert first["endpoint"] == "rain"
    assert (first["status"], first["ms"], first["peer"]) == (200, 12.5, "203.0.113.7")
    assert second["path"] == '/a\r\n\x1b[31mb"'
    assert b"\x1b" not in path.read_bytes()
    assert len(str(second["request_id"])) == 200
    assert access.take_lost() == 0


@pytest.mark.parametrize(("sample", "low", "high"), [(10_000, 20_000, 20_000), (0, 0, 0), (1000, 1800, 2200)])
def test_the_sample_has_the_size_that_was_asked_for(sample: int, low: int, high: int) -> None:
    access = log("unused", sample)
    assert low <= sum(access.sampled() for _ in range(20_000)) <= high


def test_the_sample_favours_no_place_in_a_pattern() -> None:
    access = log("unused", 1000)
    hits = [0] * 10
    for number in range(100_000):
        hits[number % 10] += access.sampled()
    assert all(850 <= count <= 1150 for count in hits)


def test_what_the_queue_cannot_hold_is_counted_once() -> None:
    access = log("unused")
    for _ in range(QUEUE + 7):
        access.record(ONE)
    assert access.take_lost() == 7
    assert access.take_lost() == 0


def test_a_full_disk_costs_lines_that_are_counted() -> None:
    access = log("/dev/full")
    access.start()
    for _ in range(5):
        access.record(ONE)
    access.close()
    assert access.take_lost() == 5


def test_a_folder_that_is_not_there_costs_lines_that_are_counted(tmp_path: Path) -> None:
    access = log(tmp_path / "no" / "where")
    access.start()
    access.record(ONE)
    access.close()
    assert access.take_lost() == 1


def test_after_a_rename_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    first = log(path)
    first.start()
    first.record(ONE)
    until_written(path)
    path.rename(old)
    first.reopen()
    first.record(ONE._replace(status=503))
    first.close()
    assert [line["status"] for line in written(old)] == [200]
    assert [line["status"] for line in written(path)] == [503]


def until_written(path: Path) -> None:
    pause = threading.Event()
    for _ in range(500):
        if path.exists() and path.stat().st_size:
            return
        pause.wait(0.01)
    raise AssertionError("nothing was written")
