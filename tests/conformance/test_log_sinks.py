"""One suite for every sink of the prediction log: what was on disk arrives, in order, whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest

from control.forwarding import Forwarder, RedisRunner
from killswitch.stores.redis_client import RedisClient
from monitoring.log.forwarding import kafka
from monitoring.log.forwarding.kafka import KafkaSink
from monitoring.log.forwarding.parcel import Sink, unpacked
from monitoring.log.forwarding.stream import StreamSink, keys
from monitoring.log.forwarding.trail import Trail
from monitoring.log.segments import decoded
from monitoring.log.writer import Bounds, Delivery, LogWriter
from settings.sharing import redis
from settings.sinks import KafkaSettings
from tests.support.kafka_server import KafkaServer
from tests.support.records import record
from tests.support.redis_server import RedisServer

BOUNDS = Bounds(keep=1e9, most=2**40, roll=1e9)


class Rig:
    """A sink's server, and a look at what is in it."""

    def __init__(
        self, make: Callable[[], Sink], read: Callable[[int], Awaitable[list[tuple[str, str]]]]
    ) -> None:
        self.make = make
        self.read = read
        self.freeze: Callable[[], None]
        self.thaw: Callable[[], None]


@asynccontextmanager
async def _redis() -> AsyncIterator[Rig]:
    async with RedisServer() as server:
        client = RedisClient(redis(server.url), {}, 30.0)

        def make() -> Sink:
            return StreamSink(RedisRunner(RedisClient(redis(server.url), {}, 3.0)), "log", 2**30)

        async def read(count: int) -> list[tuple[str, str]]:
            found: list[tuple[str, str]] = []
            while len(found) < count:
                found = []
                for _, fields in await client.ask("XRANGE", keys("log").stream, "-", "+"):
                    (packed,) = fields.values()
                    one = unpacked(packed)
                    found += [
                        (f"{one.origin}:{one.segment}:{number}", decoded(data).request_id)
                        for number, data in zip(one.numbers, one.records, strict=True)
                    ]
                await asyncio.sleep(0.02)
            return found

        rig = Rig(make, read)
        rig.freeze, rig.thaw = server.freeze, server.thaw
        try:
            yield rig
        finally:
            await client.close()


@asynccontextmanager
async def _kafka() -> AsyncIterator[Rig]:
    async with KafkaServer("log") as server:

        async def read(count: int) -> list[tuple[str, str]]:
            messages = await server.messages(count)
            return [(name, orjson.loads(value)["request_id"]) for name, value in messages]

        rig = Rig(lambda: KafkaSink(KafkaSettings((server.address,), "log"), {}), read)
        rig.freeze, rig.thaw = server.freeze, server.thaw
        yield rig


SINKS = {"redis": _redis, "kafka": _kafka}


@pytest.fixture(params=SINKS)
def rigged(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _run(name: str, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(150), SINKS[name]() as rig:
            await scenario(rig)

    asyncio.run(bounded())


async def eventually(condition: Callable[[], object], what: str) -> None:
    """As long as it takes on a machine that is busy."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


@asynccontextmanager
async def _sending(rig: Rig, folder: Path, name: str = "sink") -> AsyncIterator[tuple[Forwarder, Trail]]:
    trail = Trail(folder, name)
    one = Forwarder(rig.make(), lambda: trail, monotonic=time.monotonic)
    task = asyncio.get_running_loop().create_task(one.run())
    try:
        yield one, trail
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await one.close()


def _keep(writer: LogWriter, session: str, first: int, count: int) -> list[str]:
    """Keep so many records; their request ids."""
    made = [record(number) for number in range(first, first + count)]
    writer.keep([Delivery(session, first + 1, made)], 1000.0)
    return [one.request_id for one in made]


def _empty(folder: Path) -> None:
    for path in folder.glob("predictions-*"):
        path.unlink()


def test_what_is_on_disk_arrives_once_and_in_order(rigged: str, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        writer = LogWriter(tmp_path, BOUNDS, 1000.0)
        ids = _keep(writer, "s", 0, 2500)
        async with _sending(rig, tmp_path) as (one, trail):
            ids += _keep(writer, "s", 2500, 100)
            found = await rig.read(2600)
            await eventually(lambda: trail.behind() == 0, "all is noted as sent")
            assert one.status().sent == 2600
        writer.close()
        assert [request for _, request in found] == ids
        assert len({name for name, _ in found}) == 2600

    _run(rigged, scenario)


def test_while_a_sink_is_silent_records_wait_on_disk_and_none_is_lost(
    rigged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "PATIENCE", 5.0)

    async def scenario(rig: Rig) -> None:
        writer = LogWriter(tmp_path, Bounds(keep=1e9, most=2**40, roll=1.0), 1000.0)
        async with _sending(rig, tmp_path) as (one, trail):
            writer.trails = (trail,)
            ids = _keep(writer, "s", 0, 10)
            await rig.read(10)
            await eventually(lambda: trail.behind() == 0, "all is noted as sent")
            rig.freeze()
            try:
                ids += _keep(writer, "s", 10, 10)
                await eventually(lambda: one.status().failure != "", "the silence is told")
                writer.end_segment(2000.0)
                ids += _keep(writer, "s", 20, 10)
                assert writer.to_roll() == []  # segment 1 has what the sink has not had
                assert trail.behind() == 20
            finally:
                rig.thaw()
            found = await rig.read(30)
            await eventually(lambda: one.status().failure == "" and trail.behind() == 0, "all is sent")
            assert writer.to_roll() == [1]
        writer.close()
        once = dict(found)  # a topic may have one twice, by the same name
        assert sorted(once.values(), key=ids.index) == ids
        assert len(once) == 30

    _run(rigged, scenario)


def test_whoever_sends_next_goes_on_where_the_last_one_was(rigged: str, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        writer = LogWriter(tmp_path, BOUNDS, 1000.0)
        ids = _keep(writer, "s", 0, 50)
        async with _sending(rig, tmp_path) as (_, trail):
            await eventually(lambda: trail.behind() == 0, "the first part is sent")
        ids += _keep(writer, "s", 50, 50)
        async with _sending(rig, tmp_path) as (_, trail):
            await eventually(lambda: trail.behind() == 0, "the second part is sent")
        writer.close()
        assert [request for _, request in await rig.read(100)] == ids

    _run(rigged, scenario)


def test_a_lost_note_of_the_place_makes_no_new_name_for_any_record(rigged: str, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        writer = LogWriter(tmp_path, BOUNDS, 1000.0)
        _keep(writer, "s", 0, 20)
        async with _sending(rig, tmp_path) as (_, trail):
            await eventually(lambda: trail.behind() == 0, "it is sent")
        (tmp_path / "sink.position").unlink()
        _keep(writer, "s", 20, 1)
        async with _sending(rig, tmp_path) as (_, trail):
            await eventually(lambda: trail.behind() == 0, "it is sent again, or known to be there")
        writer.close()
        assert len(set(await rig.read(21))) == 21

    _run(rigged, scenario)


def test_what_stands_in_a_folder_that_was_put_back_is_sent_by_names_of_its_own(
    rigged: str, tmp_path: Path
) -> None:
    async def scenario(rig: Rig) -> None:
        writer = LogWriter(tmp_path, BOUNDS, 1000.0)
        ids = _keep(writer, "s", 0, 20)
        async with _sending(rig, tmp_path) as (_, trail):
            await eventually(lambda: trail.behind() == 0, "it is sent")
        writer.close()
        _empty(tmp_path)
        writer = LogWriter(tmp_path, BOUNDS, 1000.0)
        ids += _keep(writer, "t", 20, 5)
        async with _sending(rig, tmp_path) as (one, _):
            await eventually(lambda: one.status().sent == 5, "what is there now is sent")
            assert one.status().failure == ""
        writer.close()
        found = await rig.read(25)
        assert [request for _, request in found] == ids
        assert len({name for name, _ in found}) == 25

    _run(rigged, scenario)
