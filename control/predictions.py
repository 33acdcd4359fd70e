"""The prediction log as the control process sees it: finding records, and how the log is doing.

Nothing here is in the way of a kill: the log is written by a process of its own, is read in threads, and is
asked how it does once a second over its socket.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from control.clock import Clock
from control.switchboard import Switchboard
from monitoring.drift import drawing
from monitoring.drift.drawing import Drawn
from monitoring.log.reading import LogReader
from monitoring.log.record import PredictionRecord
from monitoring.log.wire import FromLog, Sample, Sampled, Status, Watch, decode_from_log, frame

if TYPE_CHECKING:
    import pyarrow as pa

LOOK = 1.0
"""Seconds between two looks at how the log is doing."""
WITHIN = 5.0
"""Seconds that it has to say so."""
LARGEST = 16 * 1024 * 1024
SILENT = "the prediction log's process does not answer"
NOT_READ = 4
"""Looks after the start of which silence is not told: the process may only be starting."""

Counts = Counter[tuple[str, str]]


class PredictionDesk:
    """`socket` is the path of the log's socket; "" where there is no such process.

    Attributes:
        status: what the log said last; None while it has said nothing, or does not answer.
    """

    def __init__(self, switchboard: Switchboard, socket: str, clock: Clock) -> None:
        self.status: Status | None = None
        self._board = switchboard
        self._socket = socket
        self._clock = clock
        self._looks = 0
        self._last: Status | None = None
        self._past = Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be recorded."""
        return any(endpoint.log.share for endpoint in self._board.settings.endpoints)

    @property
    def failure(self) -> str | None:
        """Why nothing is recorded although something should be; None where all is well."""
        if not self._socket or not self.wanted:
            return None
        if self.status is None:
            return SILENT if self._looks > NOT_READ else None
        return self.status.failure or None

    def unsent(self) -> list[str]:
        """Why records are on disk and go no further, for each sink that has a reason."""
        status = self.status
        if status is None:
            return []
        found = [
            f"records are not sent on to {one.sink}: {one.failure}" for one in status.forwards if one.failure
        ]
        if status.archive is not None and status.archive.failure:
            found.append(f"records are not archived: {status.archive.failure}")
        return found

    @property
    def reader(self) -> LogReader:
        """Of the log as it is configured now. Synchronous: use `find` and `scan` on the loop."""
        return LogReader(Path(self._board.settings.log.path))

    async def find(self, request_id: str) -> PredictionRecord | None:
        """The newest record of that request, None when there is none. Raises StateUnavailable."""
        return await asyncio.to_thread(self.reader.find, request_id)

    async def scan(self, endpoint: str, since: float, until: float) -> AsyncIterator[pa.RecordBatch]:
        """Records of `endpoint` with since ≤ at < until, as `LogReader.scan` has them, batch by batch."""
        batches = self.reader.scan(endpoint, since, until)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            yield batch

    def counted(self) -> tuple[Counts, Counts]:
        """Records by endpoint and outcome, and those lost by endpoint and reason, over all its processes."""
        records, dropped = self._past
        last = self._last
        if last is None:
            return records, dropped
        return (
            records + Counter({(one.endpoint, one.outcome): one.count for one in last.records}),
            dropped + Counter({(one.endpoint, one.reason): one.count for one in last.dropped}),
        )

    def age(self) -> float | None:
        """Seconds since the newest record on disk was made; None while there is none."""
        status = self.status
        return None if status is None or not status.newest else max(0.0, self._clock.wall() - status.newest)

    async def run(self) -> None:
        """Look for ever."""
        while self._socket:
            if self.wanted:
                self._looks += 1
                self._heard(await self._asked())
            await asyncio.sleep(LOOK)

    def _heard(self, status: Status | None) -> None:
        self.status = status
        if status is None:
            return
        if self._last is not None and self._last.process != status.process:
            self._past = self.counted()
        self._last = status

    async def drawn(self) -> list[Drawn]:
        """Some of the records that were written since this was last asked; none while the log is silent."""
        message = await self._ask(Sample()) if self._socket else None
        if not isinstance(message, Sampled):
            return []
        try:
            return await asyncio.to_thread(drawing.decode, message.drawn)
        except msgspec.MsgspecError:
            return []

    async def _asked(self) -> Status | None:
        message = await self._ask(Watch())
        return message if isinstance(message, Status) else None

    async def _ask(self, question: Watch | Sample) -> FromLog | None:
        try:
            async with asyncio.timeout(WITHIN):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(frame(question))
                    size = int.from_bytes(await reader.readexactly(4), "big")
                    if size > LARGEST:
                        return None
                    return decode_from_log(await reader.readexactly(size))
                finally:
                    writer.close()
        except (OSError, TimeoutError, EOFError, msgspec.MsgspecError):
            return None
