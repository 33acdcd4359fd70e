"""From the stream to Parquet on object storage: every row once, whoever dies when, and whatever is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from control.forwarding import RedisRunner
from domain.errors import StateUnavailable
from killswitch.stores.redis_client import RedisClient
from monitoring.log import columns
from monitoring.log.forwarding import archive as archives
from monitoring.log.forwarding.archive import ARCHIVED, Archive
from monitoring.log.forwarding.parcel import START, Parcel, Position
from monitoring.log.forwarding.stream import StreamReader, StreamSink, keys
from monitoring.log.segments import encoded
from settings.sharing import redis
from tests.support.object_storage import ObjectStorage
from tests.support.records import record
from tests.support.redis_server import RedisServer

URL = "s3://log/predictions"


class Stream:
    """One Redis with a stream, and those who write and read it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._clients: list[RedisClient] = []

    def runner(self) -> RedisRunner:
        self._clients.append(RedisClient(redis(self.server.url), {}, 20.0))
        return RedisRunner(self._clients[-1])

    def sink(self, most: int = 2**30) -> StreamSink:
        return StreamSink(self.runner(), "log", most)

    def reader(self) -> StreamReader:
        return StreamReader(self.runner(), "log")

    async def archive(self, url: str = URL, abandoned: float = 0.0, every: float = 0.0) -> Archive:
        one = Archive(self.reader(), url, every, wall=lambda: time.time() + 1.0, abandoned=abandoned)
        await one.open()
        return one

    async def length(self) -> int:
        return int((await self.server.ask("XLEN", keys("log").stream)).removeprefix(b":"))

    async def close(self) -> None:
        for one in self._clients:
            await one.close()


def parcel(first: int, count: int, origin: str = "one") -> Parcel:
    numbers = list(range(first, first + count))
    return Parcel(origin, 1, numbers, [encoded(record(number)) for number in numbers])


async def fill(stream: Stream, parcels: int, each: int = 10, origin: str = "one") -> list[int]:
    """Send so many; the numbers of all records."""
    sink = stream.sink()
    await sink.position(origin)
    for index in range(parcels):
        await sink.send(parcel(1 + index * each, each, origin))
    return list(range(1, parcels * each + 1))


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as one:
        yield one


@pytest.fixture
def bucket(storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder in a bucket of its own."""
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    name = f"log-{storage.asked}"
    storage.make_bucket(name)
    fsspec.filesystem("s3").clear_instance_cache()
    yield f"s3://{name}/predictions"
    storage.refuses.clear()


@asynccontextmanager
async def _stream(*options: str) -> AsyncIterator[Stream]:
    async with RedisServer(*options) as server:
        one = Stream(server)
        try:
            yield one
        finally:
            await one.close()


def _run(scenario: Callable[[Stream], Awaitable[None]], *options: str) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(150), _stream(*options) as stream:
            await scenario(stream)

    asyncio.run(bounded())


def rows(url: str) -> list[dict[str, Any]]:
    """Every row of every file that is there."""
    files, folder = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    found: list[dict[str, Any]] = []
    for path in files.glob(f"{folder}/date=*/*.parquet"):
        with files.open(path, "rb") as file:
            found += pq.ParquetFile(file).read().to_pylist(maps_as_pydicts="lossy")
    return found


def numbers(url: str) -> list[int]:
    return sorted(row["number"] for row in rows(url))


def test_records_become_parquet_on_object_storage_with_all_their_columns(bucket: str) -> None:
    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 3)
        archive = await stream.archive(bucket)
        (written,) = await archive.step()
        assert (written.rows, written.unreadable) == (30, 0)
        assert await stream.length() == 0
        assert await archive.step() == []
        found = await asyncio.to_thread(rows, bucket)
        assert [row["number"] for row in found] == sent
        assert set(found[0]) - {"date"} == set(ARCHIVED.names)
        assert found[4]["request_id"] == "id-5"
        assert (found[4]["origin"], found[4]["segment"]) == ("one", 1)
        assert found[4]["features"] == {"rain": 5.0, "missing": None}
        assert set(columns.SCHEMA.names) < set(ARCHIVED.names)

    _run(scenario)


def test_nothing_is_written_before_it_is_time(tmp_path: Path) -> None:
    async def scenario(stream: Stream) -> None:
        await fill(stream, 1)
        archive = await stream.archive(f"file://{tmp_path}/a", every=3600.0)
        assert await archive.step() == []
        assert await stream.length() == 1

    _run(scenario)


def test_a_reader_that_dies_before_it_has_written_leaves_its_batch_to_another(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/a"

    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 4)
        dead = await stream.archive(url)
        await dead._next()  # it has read, and writes nothing any more
        await asyncio.sleep(0.05)  # Redis counts idle time in whole milliseconds
        assert await (await stream.archive(url, abandoned=3600.0)).step() == []
        await (await stream.archive(url)).step()
        assert numbers(url) == sent
        assert await stream.length() == 0

    _run(scenario)


def test_a_reader_that_dies_between_writing_and_settling_leaves_no_row_twice(bucket: str) -> None:
    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 4)
        dead = await stream.archive(bucket)

        async def dies(*_: object) -> int:
            raise ConnectionResetError("killed here")

        dead._reader.settle = dies  # type: ignore[method-assign]
        with pytest.raises(ConnectionResetError):
            await dead.step()
        assert await asyncio.to_thread(numbers, bucket) == sent
        assert await stream.length() == 4
        await fill(stream, 2, origin="two")
        await asyncio.sleep(0.05)  # Redis counts idle time in whole milliseconds
        await (await stream.archive(bucket)).step()
        assert await stream.length() == 0
        assert await asyncio.to_thread(numbers, bucket) == sorted([*sent, *range(1, 21)])

    _run(scenario)


def test_a_reader_that_was_only_slow_adds_nothing_to_a_batch_that_another_has(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/a"

    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 2)
        slow, other = await stream.archive(url), await stream.archive(url)
        batch = await slow._next()
        assert batch is not None
        await asyncio.sleep(0.05)  # Redis counts idle time in whole milliseconds
        written = await other.step()
        assert [one.rows for one in written] == [20]
        await fill(stream, 1, origin="two")
        assert [one.rows for one in await slow.step()] == [10]  # not the batch it had, but the new one
        assert numbers(url) == sorted([*sent, *range(1, 11)])

    _run(scenario)


def test_storage_that_is_away_costs_time_and_no_row(storage: ObjectStorage, bucket: str) -> None:
    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 3)
        archive = await stream.archive(bucket, abandoned=3600.0)
        storage.refuses.set()
        for _ in range(2):
            with pytest.raises(Exception, match=r"later|SlowDown|Slow Down|503"):
                await archive.step()
        assert await stream.length() == 3
        storage.refuses.clear()
        await archive.step()
        assert await asyncio.to_thread(numbers, bucket) == sent
        assert await stream.length() == 0

    _run(scenario)


def test_a_disk_that_is_full_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/a"

    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 2)
        archive = await stream.archive(url, abandoned=3600.0)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(archives.os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                await archive.step()
        assert [one for one in (tmp_path / "a").rglob("*") if one.is_file()] == []
        await archive.step()
        assert numbers(url) == sent

    _run(scenario)


def test_what_is_no_parcel_is_left_out_and_counted(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/a"

    async def scenario(stream: Stream) -> None:
        await stream.server.ask("XADD", keys("log").stream, "*", "p", "garbage")
        sink = stream.sink()
        await sink.position("one")
        await sink.send(Parcel("one", 1, [1, 2], [b"no record", encoded(record(2))]))
        (written,) = await (await stream.archive(url)).step()
        assert (written.rows, written.unreadable) == (1, 2)
        assert numbers(url) == [2]
        assert await stream.length() == 0

    _run(scenario)


def test_a_stream_that_is_full_refuses_and_takes_more_when_it_was_read(tmp_path: Path) -> None:
    async def scenario(stream: Stream) -> None:
        sink = stream.sink(most=10_000)
        await sink.position("one")
        first = 1

        async def fill_up() -> None:
            nonlocal first
            for first in range(1, 1000, 10):
                await sink.send(parcel(first, 10))

        with pytest.raises(StateUnavailable, match="is full"):
            await fill_up()
        assert await sink.position("one") == Position(1, first - 1)
        await (await stream.archive(f"file://{tmp_path}/a")).step()
        await sink.send(parcel(first, 10))
        assert await sink.position("one") == Position(1, first + 9)

    _run(scenario)


def test_a_parcel_whose_answer_was_lost_is_not_in_the_stream_twice() -> None:
    async def scenario(stream: Stream) -> None:
        one, again = stream.sink(), stream.sink()
        await one.position("one")
        await again.position("one")
        await one.send(parcel(1, 10))
        with pytest.raises(StateUnavailable, match="another position"):
            await again.send(parcel(1, 10))
        assert await again.position("one") == Position(1, 10)
        assert await stream.length() == 1

    _run(scenario)


def test_a_redis_that_was_killed_has_everything_it_took(tmp_path: Path) -> None:
    async def scenario(stream: Stream) -> None:
        sent = await fill(stream, 5)
        stream.server.kill()
        sink = stream.sink()
        with pytest.raises(StateUnavailable):
            await sink.position("one")
        await stream.server.start()
        assert await sink.position("one") == Position(1, 50)
        await (await stream.archive(f"file://{tmp_path}/a")).step()
        assert numbers(f"file://{tmp_path}/a") == sent

    _run(scenario, "--appendonly", "yes", "--appendfsync", "always")


def test_after_redis_has_lost_all_the_archive_goes_on(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/a"

    async def scenario(stream: Stream) -> None:
        await fill(stream, 1)
        archive = await stream.archive(url)
        await archive.step()
        await stream.server.ask("FLUSHALL")
        with pytest.raises(StateUnavailable):
            await archive.step()
        await archive.open()
        assert await stream.sink().position("one") == START  # so that its log is sent again
        sent = await fill(stream, 2, origin="two")
        await archive.step()
        assert numbers(url) == sorted([*sent, *range(1, 11)])

    _run(scenario)
