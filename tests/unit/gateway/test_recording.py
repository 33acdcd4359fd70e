"""Requests that are recorded: what a worker hands to the log, however a request ends."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from domain.observation import Outcome
from domain.routing import FULL_WEIGHT, Mode
from domain.snapshot import Endpoint, Recording, ShadowLimits
from gateway import records
from gateway.exchange import Exchange
from gateway.recording import LONGEST, RecordedExchange
from gateway.records import MOST_STREAMED
from monitoring.log.wire import Context, Entry, Kept, Records, decode_to_log, frame
from settings.schema import CompareSettings
from shadow.wire import FrameBuffer
from tests.support.gateway import Running, build, endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import Answer, ScriptedUpstream, hang_up, response, saying, silence

ALL = Recording(FULL_WEIGHT, False, b"{}")
REQUIRED = Recording(FULL_WEIGHT, True, b"{}")
COMPARE = json.dumps(asdict(CompareSettings("regression", output="/0"))).encode()
Script = Callable[[Running, "Log"], Awaitable[None]]


class Log:
    """The log's end of the socket: keeps what it hears, and acknowledges it while it does so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledges = True
        self.batches: list[Records] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = FrameBuffer()
        try:
            while data := await reader.read(1 << 20):
                for payload in frames.feed(data):
                    message = decode_to_log(payload)
                    assert isinstance(message, Records)
                    self.batches.append(message)
                    if self.acknowledges:
                        writer.write(frame(Kept(message.session, message.sequence)))
        except ConnectionError:
            pass
        finally:
            writer.close()

    @property
    def found(self) -> list[tuple[Context, Entry]]:
        """Every entry, those of batches that came twice once."""
        seen = {(batch.session, batch.sequence): batch for batch in self.batches}
        return [
            (section.context, entry)
            for batch in seen.values()
            for section in batch.sections
            for entry in section.entries
        ]

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entry in self.found]


@asynccontextmanager
async def _logged(folder: Path, *endpoints: Endpoint) -> AsyncIterator[tuple[Running, Log]]:
    log = Log(folder / "log.sock")
    await log.start()
    try:
        async with gateway(folder, *endpoints, log=str(log.path)) as running:
            yield running, log
    finally:
        await log.stop()


def _play(
    folder: Path, one: Answer, two: Answer | None, script: Script, made: Any = endpoint, **changes: Any
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(one) as first, ScriptedUpstream(two or silence) as second:
            rain = made(first.port, None if two is None else second.port, **{"record": ALL, **changes})
            async with _logged(folder, rain) as (running, log):
                await script(running, log)

    asyncio.run(asyncio.wait_for(scenario(), 30))


async def _ask(running: Running, body: bytes = b"[7]", fields: bytes = b"") -> bytes:
    client = await running.connect()
    client.writer.write(post(body, fields=fields))
    answer = await client.response()
    client.close()
    return answer.body


async def _entry(log: Log) -> Entry:
    await eventually(lambda: log.entries, "the record arrives")
    assert len(log.entries) == 1
    return log.entries[0]


def test_a_request_is_handed_over_with_its_answer_and_the_decision(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        assert await _ask(running, fields=b"\r\nX-Request-Id: r-1\r\nX-Country: ch") == b"[0]"
        entry = await _entry(log)
        assert (entry.request_id, entry.unit, entry.candidate, entry.status) == (b"r-1", "u1", False, 200)
        assert (entry.request, entry.answer, entry.request_media) == (b"[7]", b"[0]", "")
        assert (entry.reason, entry.cohorts, entry.mirrored) == ("no candidate", ("ch",), None)
        ((context, _),) = log.found
        assert (context.endpoint, context.generation, context.incumbent, context.reading) == (
            "rain", 1, "rain-1", b"{}",
        )  # fmt: skip

    _play(tmp_path, saying(response(b"[0]")), None, script, cohorts=("x-country",))


def test_a_mirrored_request_has_one_record_with_both_answers(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        await _ask(running)
        entry = await _entry(log)
        assert entry.mirrored is not None
        assert (entry.answer, entry.mirrored.version, entry.mirrored.body) == (b"[0]", "rain-2", b"[1]")
        assert not running.worker._records.waiting  # type: ignore[union-attr]

    _play(tmp_path, saying(response(b"[0]")), saying(response(b"[1]")), script)


def test_a_mirror_that_never_answers_holds_its_record_until_the_timeout_and_no_longer(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        await _ask(running)
        entry = await _entry(log)
        assert entry.mirrored is not None
        assert (entry.mirrored.outcome, entry.mirrored.status) == (Outcome.TIMEOUT, 0)

    _play(tmp_path, saying(response(b"[0]")), silence, script, timeout=0.2)


def test_a_record_that_was_given_up_is_not_made_again_when_its_other_arm_ends(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        outbox = running.worker._records
        assert outbox is not None
        await _ask(running)
        await eventually(lambda: outbox.waiting, "it waits for the other arm")
        outbox.give_up_waiting()
        await eventually(lambda: not running.worker.services.by_name["rain"].budget.pairs, "that ends")
        await _ask(running)
        await eventually(lambda: not outbox.waiting and not outbox.size, "both are kept")
        assert [entry.mirrored is None for entry in log.entries] == [True, False]

    _play(tmp_path, saying(response(b"[0]")), silence, script, timeout=0.2)


def test_the_candidate_s_answer_is_recorded_as_its_own(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        assert await _ask(running) == b"[1]"
        entry = await _entry(log)
        assert (entry.candidate, entry.answer, entry.reason) == (True, b"[1]", "inside the plan's weight")
        assert entry.mirrored is not None
        assert (entry.mirrored.version, entry.mirrored.body) == ("rain-1", b"[0]")

    _play(tmp_path, saying(response(b"[0]")), saying(response(b"[1]")), script, serving_candidate)


def test_after_a_failover_the_incumbent_s_answer_is_recorded(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        assert await _ask(running) == b"[0]"
        entry = await _entry(log)
        assert (entry.candidate, entry.answer, entry.status) == (False, b"[0]", 200)

    _play(
        tmp_path, saying(response(b"[0]")), hang_up, script, serving_candidate, shadow=ShadowLimits(share=0)
    )


def test_a_guarded_request_s_record_has_the_answer_that_was_served(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        assert await _ask(running) == b"[1.0]"
        entry = await _entry(log)
        assert (entry.candidate, entry.answer) == (True, b"[1.0]")
        assert entry.mirrored is not None
        assert (entry.mirrored.version, entry.mirrored.body) == ("rain-1", b"[1]")

    _play(
        tmp_path, saying(response(b"[1]")), saying(response(b"[1.0]")), script,
        mode=Mode.GUARDED, weight=FULL_WEIGHT, protocol="json", compare=COMPARE,
    )  # fmt: skip


def test_an_answer_in_chunks_is_recorded_whole(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"

    async def script(running: Running, log: Log) -> None:
        assert await _ask(running) == b"[1,2]"
        assert (await _entry(log)).answer == b"[1,2]"

    _play(tmp_path, saying(chunked), None, script)


def test_answers_that_come_in_pieces_are_kept_within_one_bound_for_all_of_them(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"

    async def script(running: Running, log: Log) -> None:
        outbox = running.worker._records
        assert outbox is not None
        assert outbox.hold(MOST_STREAMED - 4)  # by others
        assert await _ask(running) == b"[1,2]"
        entry = await _entry(log)
        assert (entry.answer, entry.status, outbox.streamed) == (None, 200, MOST_STREAMED - 4)
        outbox.let_go(4)
        assert await _ask(running) == b"[1,2]"
        await eventually(lambda: len(log.entries) == 2, "the next record arrives")
        assert (log.entries[1].answer, outbox.streamed) == (b"[1,2]", MOST_STREAMED - 8)

    _play(tmp_path, saying(chunked), None, script)


def test_bodies_that_are_too_long_are_recorded_as_such(tmp_path: Path) -> None:
    long = b"[" + b" " * LONGEST + b"]"

    async def script(running: Running, log: Log) -> None:
        assert await _ask(running, long) == long
        entry = await _entry(log)
        assert (entry.request, entry.answer, entry.status) == (None, None, 200)

    _play(tmp_path, saying(response(long)), None, script)


def test_a_request_s_coding_travels_with_it(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        await _ask(running, fields=b"\r\nContent-Encoding: gzip\r\nContent-Type: application/json")
        assert (await _entry(log)).request_media == "application/json\ngzip\n"

    _play(tmp_path, saying(response(b"[0]")), None, script)


def test_a_client_that_leaves_has_a_record_too(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        client = await running.connect()
        client.writer.write(post(b"[7]"))
        await eventually(lambda: client.server_side._exchange, "it is asked")
        reset = struct.pack("ii", 1, 0)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.writer.transport.abort()
        entry = await _entry(log)
        assert (entry.status, entry.answer) == (499, b"")

    _play(tmp_path, silence, None, script)


def test_a_server_that_fails_has_a_record_with_what_the_client_got(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        await _ask(running)
        entry = await _entry(log)
        assert (entry.status, entry.answer) == (502, b"")

    _play(tmp_path, hang_up, None, script)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (FULL_WEIGHT, 5)])
def test_a_share_of_the_requests_is_recorded(tmp_path: Path, share: int, count: int) -> None:
    async def script(running: Running, log: Log) -> None:
        for _ in range(5):
            await _ask(running)
        await eventually(lambda: len(log.entries) == count, "they arrive")

    _play(tmp_path, saying(response(b"[0]")), None, script, record=Recording(share, False, b"{}"))


def test_an_endpoint_without_a_log_serves_plain_exchanges(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        worker = running.worker
        assert worker.services.by_name["rain"].exchange is Exchange
        rain = worker.services.by_name["rain"].endpoint
        running.control.publish(build([replace(rain, record=ALL)], generation=2))
        await eventually(lambda: worker.services.generation == 2, "the snapshot is served")
        assert worker.services.by_name["rain"].exchange is RecordedExchange
        await _ask(running)
        await eventually(lambda: log.entries, "the record arrives")
        running.control.publish(build([rain], generation=3))
        await eventually(lambda: worker.services.generation == 3, "the snapshot is served")
        assert worker.services.by_name["rain"].exchange is Exchange

    _play(tmp_path, saying(response(b"[0]")), None, script, record=None)


def test_what_is_not_acknowledged_comes_again_to_the_log_s_next_process(tmp_path: Path) -> None:
    async def script(running: Running, log: Log) -> None:
        log.acknowledges = False
        await _ask(running)
        await eventually(lambda: log.entries, "the record arrives")
        await log.stop()
        log.batches.clear()
        await _ask(running)
        log.acknowledges = True
        await log.start()
        await eventually(lambda: len(log.entries) == 2, "both arrive")
        await eventually(lambda: running.worker._records.size == 0, "both are forgotten")  # type: ignore[union-attr]

    _play(tmp_path, saying(response(b"[0]")), None, script)


def test_a_log_that_is_down_costs_no_client_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LATE", 0.1)

    async def script(running: Running, log: Log) -> None:
        await log.stop()
        await asyncio.sleep(0.3)
        for _ in range(10):
            assert await _ask(running) == b"[0]"

    _play(tmp_path, saying(response(b"[0]")), None, script)


def test_a_request_whose_record_is_required_is_refused_while_the_log_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LATE", 0.1)

    async def script(running: Running, log: Log) -> None:
        assert await _ask(running) == b"[0]"
        await log.stop()
        outbox = running.worker._records
        assert outbox is not None
        await eventually(lambda: outbox.refuses, "it is known that nothing is kept")
        problem = json.loads(await _ask(running))
        assert problem["status"] == 503
        assert "its record could not be kept" in problem["detail"]
        await log.start()
        await eventually(lambda: not outbox.refuses, "it is known that all is well")
        assert await _ask(running) == b"[0]"
        await eventually(lambda: len(log.entries) == 2, "those that were let in are recorded")

    _play(tmp_path, saying(response(b"[0]")), None, script, record=REQUIRED)


def test_a_worker_that_ends_hands_over_what_it_has_first(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.sock")

    async def scenario() -> None:
        await log.start()
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, ScriptedUpstream(silence) as two:
            rain = endpoint(one.port, two.port, record=ALL)
            async with gateway(tmp_path, rain, log=str(log.path)) as running:
                await _ask(running)
        await log.stop()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    (entry,) = log.entries
    assert (entry.answer, entry.mirrored) == (b"[0]", None)


def test_records_that_a_worker_ends_with_unacknowledged_are_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with _logged(tmp_path, endpoint(one.port, record=ALL)) as (running, log):
                log.acknowledges = False
                for _ in range(3):
                    await running.ask(post(b"[7]"))
                await eventually(lambda: len(log.entries) == 3, "the log has heard of them")
            told = [dict(batch.events).get("record_unacknowledged", 0) for batch in running.control.batches]
            assert sum(told) == 3

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize("traced", [True, False])
def test_the_trace_context_goes_to_the_log_only_where_spans_are_made(tmp_path: Path, traced: bool) -> None:
    async def script(running: Running, log: Log) -> None:
        await running.ask(post(b"[7]", fields=b"\r\nTraceparent: 00-a-b-01\r\nX-Country: eu"))
        await running.ask(post(b"[7]"))
        await eventually(lambda: len(log.entries) == 2, "both are recorded")
        cohorts = [one.cohorts for one in log.entries]
        assert cohorts == ([("eu", "00-a-b-01"), (None, None)] if traced else [("eu",), (None,)])

    record = Recording(FULL_WEIGHT, False, b"{}", traced)
    _play(tmp_path, saying(response(b"[0]")), None, script, record=record, cohorts=("x-country",))
