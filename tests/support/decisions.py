"""A control process's parts on a clock in hand, with a prediction log that a scenario has written."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from control.clock import Clock
from domain.routing import Arm
from monitoring.diagnosis.signals import Answer, Request
from monitoring.log.record import Mirrored, PredictionRecord
from monitoring.log.writer import Bounds, Delivery, LogWriter
from tests.support.control import Here, document, here, write

UPSTREAM = "http://127.0.0.1:9002"


class Hand:
    """A wall clock that stands where it is put; the monotonic one runs."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.clock = Clock(wall=lambda: self.at, monotonic=time.monotonic)


def configured(folder: Path, **endpoint: Any) -> dict[str, Any]:
    """A configuration that logs into `folder`."""
    return {**document(folder, **endpoint), "log": {"path": str(folder / "predictions")}}


@asynccontextmanager
async def deciding(
    folder: Path, hand: Hand, configuration: dict[str, Any] | None = None, **endpoint: Any
) -> AsyncIterator[Here]:
    """The parts, started at the hand's time."""
    write(folder, configuration or configured(folder, **endpoint))
    async with here(folder, clock=hand.clock) as control:
        yield control


async def reconfigured(control: Here, folder: Path, **endpoint: Any) -> None:
    """Another configuration is loaded, by the route."""
    write(folder, configured(folder, **endpoint))
    answer = await control.client.post("/api/v1/config/reload")
    assert answer.status_code == 200, answer.text


def logged(folder: Path, records: Sequence[PredictionRecord]) -> None:
    """Write `records` as the log's process does."""
    log = folder / "predictions"
    log.mkdir(exist_ok=True)
    writer = LogWriter(log, Bounds(1e9, 2**40, 1e9), records[-1].at)
    try:
        writer.keep([Delivery(f"s{records[0].request_id}", 1, records)], records[-1].at)
    finally:
        writer.close()


def record(number: int, one: Request, **more: Any) -> PredictionRecord:
    """What the log keeps of a request of a scenario."""
    other = one.mirrored
    made = PredictionRecord(
        f"r{number}", "rain", one.at, number + 1, Arm.INCUMBENT, one.served.version, one.served.status,
        one.served.latency, 1, "", "shadow stage", "", one.features, one.served.predictions,
        one.served.confidence, one.cohorts, "ab" * 32, b"", None if other is None else _mirrored(other),
    )  # fmt: skip
    return made._replace(**more)


def _mirrored(one: Answer) -> Mirrored:
    return Mirrored(one.version, one.status, one.latency, one.predictions, one.confidence)
