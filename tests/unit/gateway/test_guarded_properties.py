"""Guarded, whatever the order in which things happen: one answer, and never an unchecked one.

A real worker in an event loop without sockets: every byte of both servers' answers, every failure, every tick
and the client's leaving happen when the test says so.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from dataclasses import asdict
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.in_memory import MemoryLoop, MemoryTransport
from domain.observation import Outcome, Pair
from domain.routing import FULL_WEIGHT, Arm, Mode
from domain.snapshot import ShadowLimits, Snapshot
from gateway.boot import Boot
from gateway.chunks import ChunkDecoder
from gateway.client import ClientConnection
from gateway.plain import Plain
from gateway.worker import Worker
from settings.schema import CompareSettings
from tests.support.gateway import endpoint, eventually, post

COMPARE = json.dumps(asdict(CompareSettings("regression", tolerance=0.1))).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
LONG = b" " * 9000  # so that comparing goes apart
INCUMBENT, CANDIDATE, CLIENT = "incumbent", "candidate", "client"


def answers() -> st.SearchStrategy[tuple[bytes, bytes | None]]:
    """Bytes of an answer, and the prediction in it if there is one to be had."""
    bodies = st.builds(
        lambda number, long: b"[%b%b]" % (LONG if long else b"", number),
        st.sampled_from([b"1.0", b"1.05", b"7.0", b"nonsense"]),
        st.booleans(),
    )
    framings = st.sampled_from(["length", "length", "length", "chunked", "500", "204"])

    def framed(body: bytes, framing: str) -> tuple[bytes, bytes | None]:
        if framing == "204":
            return b"HTTP/1.1 204 None\r\n\r\n", None
        if framing == "500":
            return HEAD.replace(b"200 OK", b"500 No") % (len(body), body), None
        return (CHUNKED if framing == "chunked" else HEAD) % (len(body), body), body

    return st.builds(framed, bodies, framings)


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(1, max(1, len(data) - 1)), max_size=3)

    def cut(at: list[int]) -> list[bytes]:
        bounds = [0, *sorted(set(at)), len(data)]
        return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]

    return places.map(cut)


Event = tuple[str, bytes | None]
"""Who, and the bytes that come from there; None: that side fails, or the client leaves."""


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Event], bytes | None, bytes | None]:
    """Events in an order; and each arm's whole prediction, where nothing cuts it."""
    sides: dict[str, list[Event]] = {}
    whole: dict[str, bytes | None] = {}
    for side in (INCUMBENT, CANDIDATE):
        data, prediction = draw(answers())
        events: list[Event] = [(side, piece) for piece in draw(cuts(data))]
        fails_at = draw(st.one_of(st.none(), st.integers(0, len(events))))
        if fails_at is not None:
            whole_first = fails_at == len(events)
            events = [*events[:fails_at], (side, None)]
            prediction = prediction if whole_first else None
        sides[side], whole[side] = events, prediction
    if draw(st.integers(0, 4)) == 0:
        sides[CLIENT] = [(CLIENT, None)]
    order: list[Event] = []
    while any(sides.values()):
        order.append(sides[draw(st.sampled_from([side for side in sides if sides[side]]))].pop(0))
    return order, whole[INCUMBENT], whole[CANDIDATE]


class Stage:
    """One guarded request, between a client and two servers that the test plays."""

    def __init__(self, worker: Worker, loop: MemoryLoop, ports: dict[str, int]) -> None:
        self.worker = worker
        self.loop = loop
        self.client = ClientConnection(worker)
        self.transport = MemoryTransport(cast("asyncio.Protocol", self.client))
        self.ports = ports
        self.sides: dict[str, Any] = {}
        self.left = False

    async def begin(self) -> None:
        self.client.connection_made(self.transport)
        self.client.data_received(post(b"[7]"))
        while len(self.sides) < 2:
            await asyncio.sleep(0)
            while self.loop.asked:
                connection = self.loop.asked.popleft()
                port = connection._pool.upstream.port
                self.sides[INCUMBENT if port == self.ports[INCUMBENT] else CANDIDATE] = connection

    async def play(self, event: Event) -> None:
        who, data = event
        if who == CLIENT:
            self.left = True
            self.client.connection_lost(None)
        elif data is None:
            connection = self.sides[who]
            if connection.open:
                connection.fail(Outcome.TIMEOUT, "the test says so")
        elif self.sides[who].open:
            self.sides[who].data_received(data)
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Whatever hangs is late now."""
        await self._compared()
        self.worker._pools.tick(self.worker.clock() + 1000.0)
        await self._compared()

    @property
    def pairs(self) -> list[Pair]:
        """Handed over; there is nobody to take them."""
        return [pair for _, pair in self.worker._outbox._pairs]

    async def _compared(self) -> None:
        await eventually(lambda: not self.worker.comparing._under_way, "the comparison ends")
        for _ in range(5):
            await asyncio.sleep(0)


async def tell(order: list[Event]) -> tuple[Stage, bytes]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MemoryLoop)
    ports = {INCUMBENT: 1, CANDIDATE: 2}
    guarded = endpoint(
        1, 2, mode=Mode.GUARDED, weight=FULL_WEIGHT, protocol="json", compare=COMPARE, breaker=0,
        timeout=60.0, shadow=ShadowLimits(),
    )  # fmt: skip
    with socket.socket() as listening:
        boot = Boot(0, listening.fileno(), "", 1.0, b"k" * 32, Snapshot(1, (guarded,)))
        worker = Worker(boot, loop, Plain(loop, accelerated=False))
        stage = Stage(worker, loop, ports)
        await stage.begin()
        for event in order:
            await stage.play(event)
        await stage.end()
        written = stage.transport.take()
        budget = worker.services.by_name["rain"].budget
        assert (budget.pairs, budget.held) == (0, 0), "nothing is held any more"
        await worker.stop()
    return stage, written


def _whole(prediction: bytes) -> Event:
    return INCUMBENT, HEAD % (len(prediction), prediction)


@given(stories())
@example(([_whole(b"[1.0]"), (CANDIDATE, HEAD % (6, b"[1.05]"))], b"[1.0]", b"[1.05]"))
@example(([(CANDIDATE, CHUNKED % (6, b"[1.05]")), _whole(b"[1.0]")], b"[1.0]", b"[1.05]"))
@example(([_whole(b"[1.0]"), (CLIENT, None), (CANDIDATE, HEAD % (6, b"[1.05]"))], b"[1.0]", b"[1.05]"))
@settings(deadline=None, max_examples=100)
def test_the_client_gets_one_answer_and_the_candidates_only_if_it_agrees(
    story: tuple[list[Event], bytes | None, bytes | None],
) -> None:
    order, incumbent, candidate = story
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        stage, written = runner.run(tell(order))
    numbers = [_number(body) for body in (incumbent, candidate)]
    close = None not in numbers and abs(numbers[0] - numbers[1]) <= 0.1  # type: ignore[operator]
    agrees = close or (incumbent is not None and incumbent == candidate)
    served_candidate = b"x-pointsman-arm: candidate" in written
    assert written.count(b"HTTP/1.1 ") <= 1
    assert agrees or not served_candidate
    if stage.left:
        assert len(stage.pairs) <= 1
    else:
        assert written.count(b"HTTP/1.1 ") == len(stage.pairs) == 1
        held = b"transfer-encoding" not in written
        assert served_candidate == (agrees and held), "and whenever it agrees with an answer that was held"
        wanted = candidate if served_candidate else incumbent
        if wanted is not None:
            assert _body(written) == wanted
    for pair in stage.pairs:
        assert (pair.served is Arm.CANDIDATE) == served_candidate


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        chunks = ChunkDecoder()
        body = b"".join(chunks.feed(body))
        assert chunks.done
        return body
    assert b"content-length: %d" % len(body) in head
    return body


def _number(body: bytes | None) -> float | None:
    if body is None or b"nonsense" in body:
        return None
    return float(body.strip(b"[ ]"))
