"""What goes on although a part of it fails: the count of what waits, and the archive's process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from control import forwarding, sending
from control.forwarding import Forwarder
from control.sending import Downstream
from monitoring.log.forwarding.parcel import Parcel, Position
from monitoring.log.forwarding.trail import Trail
from monitoring.log.wire import Status
from monitoring.log.writer import Bounds, Delivery, LogWriter
from settings.shared import RedisSettings
from settings.sinks import ArchiveSettings, Sending, StreamSettings, TracingSettings
from tests.support.records import record

STATUS = Status("p", [], [], 0, 0.0, 0, 0, "", (0, 0))


class Sink:
    """Takes all but every tenth record."""

    name = "redis"

    def __init__(self) -> None:
        self.had: list[int] = []

    async def position(self, origin: str) -> Position | None:
        return None

    async def send(self, parcel: Parcel) -> Mapping[str, int]:
        self.had += parcel.numbers
        return Counter({"rain": sum(number % 10 == 0 for number in parcel.numbers)})

    async def close(self) -> None:
        return


def test_a_count_that_fails_ends_nothing_and_what_a_sink_left_out_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "COUNT_AGAIN", 0.0)

    def fails(_: Trail) -> int:
        raise MemoryError

    monkeypatch.setattr(Trail, "behind", fails)

    async def scenario() -> None:
        writer = LogWriter(tmp_path, Bounds(keep=1e9, most=2**40, roll=1e9), 1000.0)
        trail, sink = Trail(tmp_path, "redis"), Sink()
        one = Forwarder(sink, lambda: trail, monotonic=time.monotonic)
        task = asyncio.get_running_loop().create_task(one.run())
        try:
            for first in (1, 2):
                records = [record(number) for number in range(20)]
                writer.keep([Delivery("s", first, records)], 1000.0)
                while one.status().sent < 18 * first:
                    assert not task.done()
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert sink.had == list(range(1, 41))
        assert trail.lost == {"rain": 4}
        writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_an_archive_s_process_that_cannot_be_had_or_understood_is_told_of_and_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()
    tries = 0

    async def archive(_: Downstream) -> int:
        nonlocal tries
        tries += 1
        if tries == 3:
            begun.set()
        raise OSError(11, "no process now")

    monkeypatch.setattr(Downstream, "_archive", archive)
    monkeypatch.setattr(sending, "LONGEST_PAUSE", 0.01)
    stream = StreamSettings(RedisSettings("server", (("127.0.0.1", 1),)), "log", 2**30)
    settings = Sending(stream=stream, archive=ArchiveSettings("file:///nowhere", 1.0))

    async def scenario() -> None:
        downstream = Downstream(settings, {}, monotonic=time.monotonic)
        downstream.open(lambda _: None)
        await begun.wait()
        archived = downstream.told(STATUS).archive
        assert archived is not None
        assert "no process now" in archived.failure
        await downstream.end()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_an_environment_that_the_collector_s_client_refuses_costs_the_spans_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise RuntimeError("Requested component 'mine' not found")

    monkeypatch.setattr(sending, "exporter", refuses)
    settings = Sending(tracing=TracingSettings("http://collector", 0))

    async def scenario() -> None:
        assert Downstream(settings, {}, monotonic=time.monotonic).kept is None

    asyncio.run(scenario())
