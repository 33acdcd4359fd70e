"""The log's process: what it acknowledged is on disk, whatever disk, payloads and senders do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from control import log_keeper
from control.link import bound
from control.log_keeper import LogKeeper
from domain.errors import StateUnavailable
from monitoring.log.interpreter import Interpreter
from monitoring.log.reading import LogReader
from monitoring.log.segments import PARQUET, SQLITE, named
from monitoring.log.wire import (
    Context,
    Dropped,
    Entry,
    Kept,
    Records,
    Section,
    Status,
    Watch,
    decode_from_log,
    frame,
)
from monitoring.log.writer import Bounds, Delivery, LogWriter
from settings.schema import CompareSettings
from shadow.wire import FrameBuffer
from tests.support.gateway import eventually

READING = json.dumps({"protocol": "json", "compare": asdict(CompareSettings("regression"))}).encode()
BOUNDS = Bounds(keep=1e9, most=2**40, roll=1e9)


class Sender:
    """A worker's end, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._frames = FrameBuffer()
        self._read: list[Kept | Status] = []
        self.writer = writer

    def send(self, sequence: int, *ids: str, reading: bytes = READING, body: bytes = b'{"x": 1}') -> None:
        context = Context("rain", 7, "c" * 64, "rain-1", "", "", reading)
        entries = [
            Entry(one.encode(), 1000.0, "u", False, 200, 0.5, "no candidate", body, "", b"1.5", "", (), None)
            for one in ids
        ]
        self.writer.write(frame(Records("s", sequence, [Section(context, entries)], [])))

    async def next(self) -> Kept | Status:
        while not self._read:
            data = await self._reader.read(65536)
            assert data, "the connection was cut"
            self._read += [decode_from_log(payload) for payload in self._frames.feed(data)]
        return self._read.pop(0)

    async def kept(self, sequence: int) -> None:
        """Until everything up to `sequence` is acknowledged."""
        while True:
            message = await self.next()
            if isinstance(message, Kept) and message.sequence >= sequence:
                return

    async def status(self) -> Status:
        self.writer.write(frame(Watch()))
        while True:
            message = await self.next()
            if isinstance(message, Status):
                return message

    async def until(self, holds: Callable[[Status], bool]) -> Status:
        for _ in range(1000):
            status = await self.status()
            if holds(status):
                return status
            await asyncio.sleep(0.02)
        raise AssertionError(f"never happened; last seen: {status}")


@asynccontextmanager
async def _keeper(
    folder: Path, bounds: Bounds = BOUNDS, open_writer: Callable[[Path, Bounds, float], LogWriter] = LogWriter
) -> AsyncIterator[Callable[[], Awaitable[Sender]]]:
    path = str(folder / "log.sock")
    keeper = LogKeeper(
        folder / "log", bounds, Interpreter(b"k" * 32), wall=time.time, monotonic=time.monotonic,
        open_writer=open_writer,
    )  # fmt: skip
    await keeper.open(bound(path))
    senders: list[Sender] = []

    async def connect() -> Sender:
        senders.append(Sender(*await asyncio.open_unix_connection(path)))
        return senders[-1]

    try:
        yield connect
    finally:
        await keeper.close(5.0)
        for one in senders:
            one.writer.close()
        await asyncio.sleep(0.02)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 40))


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_keeper, "PAUSE", 0.02)


def test_what_is_acknowledged_is_on_disk_and_what_comes_again_is_there_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _keeper(tmp_path) as connect:
            sender = await connect()
            sender.send(1, "a", "b")
            await sender.kept(1)
            found = LogReader(tmp_path / "log").find("b")
            assert found is not None
            assert (found.features, found.predictions) == ({"x": 1.0}, (1.5,))
            again = await connect()
            again.send(1, "a", "b")
            again.send(2, "c")
            await again.kept(2)
            status = await again.status()
            assert status.backlog == 0
            assert status.failure == ""
            assert status.newest == 1000.0
        rows = [one.num_rows for one in LogReader(tmp_path / "log").scan("rain", 0.0, 1e12)]
        assert sum(rows) == 3

    _run(scenario)


def test_while_the_disk_takes_nothing_nothing_is_acknowledged_and_afterwards_all_of_it_in_order(
    tmp_path: Path,
) -> None:
    broken = True

    class Fickle(LogWriter):
        def keep(self, *given: object) -> list[Delivery]:
            if broken:
                raise StateUnavailable("the prediction log cannot be written: database or disk is full")
            return super().keep(*given)  # type: ignore[arg-type]

    async def scenario() -> None:
        nonlocal broken
        async with _keeper(tmp_path, open_writer=Fickle) as connect:
            sender = await connect()
            for sequence in range(1, 6):
                sender.send(sequence, f"id-{sequence}")
            status = await sender.until(lambda s: "disk is full" in s.failure and s.backlog == 5)
            assert not status.records
            assert LogReader(tmp_path / "log").find("id-1") is None
            broken = False
            await sender.kept(5)
            status = await sender.status()
            assert (status.failure, status.backlog) == ("", 0)
            for sequence in range(1, 6):
                assert LogReader(tmp_path / "log").find(f"id-{sequence}") is not None

    _run(scenario)


def test_a_folder_that_cannot_be_had_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")

    async def scenario() -> None:
        async with _keeper(tmp_path) as connect:
            sender = await connect()
            sender.send(1, "a")
            await sender.until(lambda s: "cannot be written" in s.failure)
            (tmp_path / "log").unlink()
            await sender.kept(1)

    _run(scenario)


@pytest.mark.parametrize("reading", [b"no json", b'{"protocol": "magic", "compare": {"kind": "json"}}'])
def test_a_payload_that_nobody_can_read_keeps_no_other_out(
    tmp_path: Path, reading: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with _keeper(tmp_path) as connect:
            sender = await connect()
            sender.send(1, "a", "b", reading=reading)
            sender.send(2, "c")
            await sender.kept(2)
            status = await sender.status()
            counts = {(one.endpoint, one.outcome): one.count for one in status.records}
            assert counts == {("rain", "kept"): 3, ("rain", "unreadable"): 2}
            found = LogReader(tmp_path / "log").find("a")
            assert found is not None
            assert (found.features, found.status) == ({}, 200)

    _run(scenario)
    assert len([one for one in caplog.records if "recorded unread" in one.message]) == 1


def test_segments_become_parquet_and_the_log_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _keeper(tmp_path, Bounds(1e9, 2**40, roll=0.05)) as connect:
            sender = await connect()
            sender.send(1, "a")
            await sender.kept(1)
            await sender.until(lambda s: s.rolls[0] == 1)
            sender.send(2, "b")
            await sender.kept(2)
        folder = tmp_path / "log"
        assert named(folder, 1, PARQUET).exists()
        assert not named(folder, 1, SQLITE).exists()
        for one in ("a", "b"):
            assert LogReader(folder).find(one) is not None

    _run(scenario)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), TypeError("not what Arrow expects")]
)
def test_a_segment_that_cannot_become_parquet_stays_readable_and_is_counted(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise error

    monkeypatch.setattr(log_keeper.rolling, "roll", fails)

    async def scenario() -> None:
        async with _keeper(tmp_path, Bounds(1e9, 2**40, roll=0.05)) as connect:
            sender = await connect()
            sender.send(1, "a")
            await sender.kept(1)
            await sender.until(lambda s: s.rolls[1] == 1)
            assert LogReader(tmp_path / "log").find("a") is not None
            sender.send(2, "b")
            await sender.kept(2)
            await sender.until(lambda s: s.rolls[1] >= 2)  # whoever looks after it goes on

    _run(scenario)


def test_without_pyarrow_segments_stay_in_sqlite_and_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> int:
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(log_keeper.rolling, "roll", missing)

    async def scenario() -> None:
        async with _keeper(tmp_path, Bounds(1e9, 1, roll=0.05)) as connect:
            sender = await connect()
            sender.send(1, "a")
            await sender.kept(1)
            await eventually(lambda: not named(tmp_path / "log", 1, SQLITE).exists(), "the oldest goes")
            sender.send(2, "b")
            await sender.kept(2)

    _run(scenario)


def test_a_sender_of_garbage_is_cut_off_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _keeper(tmp_path) as connect:
            bad, good = await connect(), await connect()
            bad.writer.write(b"\x00\x00\x00\x05hello")
            with pytest.raises((AssertionError, ConnectionError)):
                await bad.next()
            good.send(1, "a")
            await good.kept(1)

    _run(scenario)


def test_nobody_is_read_from_while_too_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_keeper, "MOST_WAITING", 10_000)
    broken = True

    class Fickle(LogWriter):
        def keep(self, *given: object) -> list[Delivery]:
            if broken:
                raise StateUnavailable("not now")
            return super().keep(*given)  # type: ignore[arg-type]

    async def scenario() -> None:
        nonlocal broken
        async with _keeper(tmp_path, open_writer=Fickle) as connect:
            sender = await connect()
            for sequence in range(1, 201):
                sender.send(sequence, "id", body=b"x" * 20_000)
            await asyncio.sleep(0.2)
            assert sender.writer.transport.get_write_buffer_size() > 1_000_000
            broken = False
            await sender.kept(200)

    _run(scenario)


def test_what_workers_dropped_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _keeper(tmp_path) as connect:
            sender = await connect()
            batch = Records("s", 1, [], [Dropped("rain", "full", 7)])
            sender.writer.write(frame(batch))
            await sender.kept(1)
            sender.writer.write(frame(batch))
            sender.send(2, "a")
            await sender.kept(2)
            status = await sender.status()
            assert status.dropped == [Dropped("rain", "full", 7)]

    _run(scenario)


def test_a_writer_that_breaks_in_an_unknown_way_is_told_of_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 3

    class Broken(LogWriter):
        def keep(self, *given: object) -> list[Delivery]:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise sqlite3.InterfaceError("what is this")
            return super().keep(*given)  # type: ignore[arg-type]

    async def scenario() -> None:
        async with _keeper(tmp_path, open_writer=Broken) as connect:
            sender = await connect()
            sender.send(1, "a")
            await sender.kept(1)

    _run(scenario)
    assert "the prediction log's writer failed" in caplog.text
