"""Scenario `stream`: how soon the first event of a streamed answer arrives, straight and through each proxy.

The model server answers every request with twenty server-sent events, one each five milliseconds, the first
at once. Eight clients ask again as soon as an answer has ended.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench.bed import MODEL_SERVER, Bed
from bench.cpu import Subject
from bench.openloop import percentile
from bench.peers.peer import Route
from bench.pointsman import Setup
from bench.process import cpu_seconds, free_ports, resident_bytes
from bench.report import Goal, Section, mebibytes, microseconds, milliseconds
from bench.side_by_side import remarks
from bench.traffic import requests
from bench.upstream import EVENT, EVENTS, LAST_CHUNK

CLIENTS = 8
FIRST_BYTE_LIMIT = 1e-3
"""Seconds that the gateway may add to the time to the first byte of a body, at the median."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One turn: seconds from each request to the first event of its answer; CPU seconds an answer."""

    subject: str
    first: tuple[float, ...]
    cpu: float
    resident: int
    failed: int


class Listener(asyncio.Protocol):
    """A client that asks, notes when the first event comes, and asks again."""

    def __init__(self, made: Sequence[bytes]) -> None:
        self.first: list[float] = []
        self.failed = 0
        self._made = made
        self._asked = 0
        self._since = 0.0
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._clock = time.perf_counter  # the loop's own is rounded to milliseconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._transport is not None:
            self._received = b""
            self._asked += 1
            self._since = self._clock()
            self._transport.write(self._made[self._asked % len(self._made)])

    def data_received(self, data: bytes) -> None:
        had = EVENT in self._received
        self._received += data
        if not had and EVENT in self._received:
            self.first.append(self._clock() - self._since)
        if self._received.endswith(LAST_CHUNK):
            self.failed += self._received.count(EVENT) != EVENTS
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed += self._transport is not None
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()


async def listen(subject: Subject, seconds: float) -> Streams:
    """All the clients, for so long."""
    loop = asyncio.get_running_loop()
    made = requests(500)
    used = cpu_seconds(subject.pid)
    clients = []
    for number in range(CLIENTS):
        _, client = await loop.create_connection(lambda: Listener(made), "127.0.0.1", subject.port)
        clients.append(client)
        await asyncio.sleep(0.1 / CLIENTS if number else 0)  # so that not all ask at the same moment
    await asyncio.sleep(seconds)
    used = cpu_seconds(subject.pid) - used
    for client in clients:
        client.close()
    first = tuple(value for client in clients for value in client.first)
    failed = sum(client.failed for client in clients) + (not first)
    return Streams(subject.name, first, used / max(len(first), 1), resident_bytes(subject.pid), failed)


def run(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """The scenario."""
    rounds, seconds = (2, 1.0) if quick else (5, 2.0)
    with ExitStack() as stack:
        bed = Bed(directory, stack, peers)
        port = bed.misbehaving_model_server("stream")
        bed.peers(Route(0, port, streams=True))
        bed.pointsman(Setup(port, free_ports(1)[0], ({"mode": "shadow"},), shadow_share="0%"))
        direct = Subject(MODEL_SERVER, port, bed.process_of(port))
        subjects = [direct, *bed.in_order()]
        done = [uvloop.run(listen(subject, seconds)) for _ in range(rounds) for subject in subjects]
        notes = remarks(bed)
    return section(done, notes)


def section(done: Sequence[Streams], notes: Sequence[str]) -> Section:
    """The table: medians over the rounds, and what each adds to the way without it."""
    names = list(dict.fromkeys(turn.subject for turn in done))
    rows, goals = [], []
    for name in names:
        own = [turn for turn in done if turn.subject == name]
        heard = [turn for turn in own if turn.first]
        added = added_at_the_median(done, name)
        rows.append(
            (
                name,
                milliseconds(middle([percentile(turn.first, 0.5) for turn in heard])),
                "" if name == MODEL_SERVER else milliseconds(added),
                milliseconds(middle([percentile(turn.first, 0.99) for turn in heard])),
                milliseconds(middle([percentile(turn.first, 0.999) for turn in heard])),
                microseconds(middle([turn.cpu for turn in heard])),
                mebibytes(own[-1].resident),
                str(sum(turn.failed for turn in own)),
            )
        )
        if name.startswith("pointsman"):
            goals.append(Goal(f"{name}: added to the first byte", added * 1e3, FIRST_BYTE_LIMIT * 1e3, " ms"))
    return Section(
        name="stream",
        title=f"Streamed answers: {EVENTS} events 5 ms apart, {CLIENTS} clients",
        columns=(
            "", "first byte p50 ms", "added ms", "p99 ms", "p99.9 ms", "CPU µs/answer", "RSS MiB", "failed",
        ),
        rows=tuple(rows),
        goals=tuple(goals),
        remarks=("added: median of the rounds' differences to the model server alone", *notes),
        raw={
            "turns": [
                {"subject": turn.subject, "first": list(turn.first), "cpu": turn.cpu, "failed": turn.failed}
                for turn in done
            ]
        },
    )  # fmt: skip


def added_at_the_median(done: Sequence[Streams], name: str) -> float:
    """Seconds that `name` adds to the median time to the first event; NaN if it never sent one."""
    own, direct = ([turn for turn in done if turn.subject == each] for each in (name, MODEL_SERVER))
    return middle(
        [
            percentile(turn.first, 0.5) - percentile(other.first, 0.5)
            for turn, other in zip(own, direct, strict=True)
            if turn.first and other.first
        ]
    )


def middle(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan
