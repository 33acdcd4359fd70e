"""The log's process gives some of what it wrote to whoever measures drift."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import cast

from control.clock import Clock
from control.link import bound
from control.log_keeper import LogKeeper
from control.predictions import PredictionDesk
from control.switchboard import Switchboard
from monitoring.drift.drawing import Drawn
from monitoring.log.interpreter import Interpreter
from monitoring.log.wire import Context, Entry, Records, Section, frame
from monitoring.log.writer import Bounds
from settings.schema import CompareSettings

READING = json.dumps({"protocol": "json", "compare": asdict(CompareSettings("regression"))}).encode()


def batch(count: int) -> bytes:
    context = Context("rain", 7, "c" * 64, "rain-1", "", "", READING)
    entries = [
        Entry(b"r%d" % at, 1000.0 + at, "u", False, 200, 0.5, "no candidate", b'{"x": 1}', "", b"1.5", "", (),
              None)
        for at in range(count)
    ]  # fmt: skip
    return frame(Records("s", 1, [Section(context, entries)], []))


def test_what_is_written_is_drawn_once_and_a_silent_log_gives_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "log.sock")
        nobody = cast("Switchboard", None)
        desk = PredictionDesk(nobody, path, Clock())
        assert await desk.drawn() == [], "there is no such process"
        assert await PredictionDesk(nobody, "", Clock()).drawn() == []
        keeper = LogKeeper(
            tmp_path / "log", Bounds(keep=1e9, most=2**40, roll=1e9), Interpreter(b"k" * 32), wall=time.time,
            monotonic=time.monotonic,
        )  # fmt: skip
        await keeper.open(bound(path))
        _, writer = await asyncio.open_unix_connection(path)
        found: list[Drawn] = []

        async def drawn() -> bool:
            found.extend(await desk.drawn())
            return bool(found)

        try:
            writer.write(batch(3))
            while not await drawn():  # noqa: ASYNC110 - it is asked for, nothing tells
                await asyncio.sleep(0.02)
            (one,) = found
            assert (one.endpoint, one.records, len(one.rows)) == ("rain", 3, 3)
            assert one.rows[0].features == {"x": 1.0}
            assert (one.rows[0].told, one.rows[0].prediction) == (True, 1.5)
            assert await desk.drawn() == []
        finally:
            await keeper.close(5.0)
            writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
