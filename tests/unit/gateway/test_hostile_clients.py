"""Clients, servers and control processes at their worst: what they may cost, and whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domain.observation import Outcome
from domain.routing import Upstream
from gateway.head import RequestGrammar
from gateway.log import report
from gateway.service import ServedEndpoint
from shadow.tasks import Tasks
from shadow.wire import Publish
from tests.support.gateway import (
    PATH,
    Client,
    Running,
    build,
    endpoint,
    eventually,
    gateway,
    post,
    serving_candidate,
    version,
)
from tests.support.upstream import Heard, ScriptedUpstream, response, saying, silence

CHUNKED = b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


def _rain(running: Running) -> ServedEndpoint:
    return running.worker.services.by_name["rain"]


def _counted(running: Running, status: int) -> int:
    return sum(
        count.requests
        for batch in running.control.batches
        for count in batch.requests
        if count.status == status
    )


def _slowly(data: bytes, seconds: float) -> object:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(data)
        await writer.drain()

    return answer


# ---- bodies that stream ---------------------------------------------------------------------------------


def test_a_streamed_body_is_whole_when_its_server_is_connected_to_late(tmp_path: Path) -> None:
    """Many chunks in one read, the collecting limit inside it, and no idle connection yet."""
    pieces = [bytes([65 + number % 26]) * 10_000 for number in range(60)]

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
                client.feed(CHUNKED + coded + b"0\r\n\r\n", size=150_000)
                assert (await client.response()).status == 200
                client.close()
            assert one.heard[0].body == b"".join(pieces)

    _run(scenario)


def test_a_pipelined_large_body_is_whole(tmp_path: Path) -> None:
    """It begins among the bytes held while the request before it was answered."""
    body = bytes(range(256)) * 8_000

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok", fields=b"\r\nconnection: close"))) as one:
            async with gateway(tmp_path, endpoint(one.port, max_body=4_000_000)) as running:
                client = await running.connect()
                data = post(b"first") + post(body)
                client.server_side.data_received(data[:300_000])
                client.writer.write(data[300_000:])
                assert (await client.response()).status == 200
                assert (await client.response()).status == 200
                client.close()
            assert [heard.body for heard in one.heard] == [b"first", body]

    _run(scenario)


@pytest.mark.parametrize("arm", ["incumbent", "candidate"])
def test_a_slow_upload_is_nobodys_timeout_but_the_clients(arm: str, tmp_path: Path) -> None:
    body = b"x" * 400_000

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            made = endpoint if arm == "incumbent" else serving_candidate
            served = made(one.port, two.port, timeout=0.4, breaker=1)
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                request = post(body)
                client.writer.write(request[:300_000])
                await asyncio.sleep(1.0)
                client.writer.write(request[300_000:])
                received = await client.response()
                client.close()
                assert not _rain(running).breaker.opened, "a client cannot take the candidate out"
                assert (received.status, received.fields["x-pointsman-arm"]) == (200, arm)

    _run(scenario)


def test_a_candidate_that_hangs_on_a_streamed_body_leaves_the_incumbent_its_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        slow = _slowly(response(b"[0]"), 0.3)
        async with ScriptedUpstream(slow) as one, ScriptedUpstream(silence) as two:  # type: ignore[arg-type]
            async with gateway(
                tmp_path, serving_candidate(one.port, two.port, timeout=1.2, breaker=0)
            ) as running:
                client = await running.connect()
                client.writer.write(post(b"x" * 900_000))
                received = await client.response()
                assert (received.status, received.body) == (200, b"[0]")
                client.close()

    _run(scenario)


def test_a_candidate_that_dies_during_the_upload_leaves_no_pair_open(tmp_path: Path) -> None:
    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        dead = await asyncio.start_server(dying, "127.0.0.1", 0)
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            serving = serving_candidate(one.port, dead.sockets[0].getsockname()[1], breaker=0)
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                request = post(b"x" * 400_000)
                client.writer.write(request[:300_000])
                await eventually(lambda: _in_flight(running, one.port), "the incumbent took over")
                client.writer.write(request[300_000:])
                assert (await client.response()).body == b"[0]"
                await eventually(lambda: not _rain(running).budget.pairs, "every pair ends")
                assert _rain(running).budget.held == 0
                client.close()
        dead.close()

    _run(scenario)


def _in_flight(running: Running, port: int) -> bool:
    pools = _rain(running).incumbent.servers.pools
    return any(pool.in_flight for pool in pools if pool.upstream == Upstream("127.0.0.1", port))


def test_an_answer_that_began_before_the_mirror_is_never_judged_as_empty(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await reader.readexactly(400_000)
        writer.write(b"world")
        await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with ScriptedUpstream(saying(response(b"helloworld"))) as two:
            served = endpoint(server.sockets[0].getsockname()[1], two.port)
            async with gateway(tmp_path, served) as running:
                client = await running.connect()
                request = post(b"x" * 400_000)
                client.writer.write(request[:300_000])
                await client.reader.readuntil(b"hello")
                client.writer.write(request[300_000:])
                assert await client.reader.readexactly(5) == b"world"
                await asyncio.sleep(0.5)
                bodies = {pair.incumbent.body for pair in running.control.pairs if pair.incumbent.ok}
                assert bodies <= {b"helloworld"}
                assert not _rain(running).budget.pairs
                client.close()
        server.close()

    _run(scenario)


# ---- clients that do not read ---------------------------------------------------------------------------


def test_a_client_that_never_reads_is_not_read_either(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"x" * 20_000))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]
                batch = post() * 200
                writing = Tasks(report).spawn(_write_for_ever(client.writer, batch), "writing")
                await asyncio.sleep(2.0)
                writing.cancel()
                unread = client.server_side.transport.get_write_buffer_size()
                held = len(client.server_side._held)
                await _gone(running, client)
                assert unread < 1_000_000
                assert held < 1_000_000

    _run(scenario)


async def _gone(running: Running, client: Client) -> None:
    client.writer.transport.abort()
    await eventually(lambda: not running.worker.clients, "the client is gone")
    await asyncio.sleep(0.1)  # for its server to notice


async def _write_for_ever(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


def test_a_second_large_answer_is_not_held_either(tmp_path: Path) -> None:
    """The client stopped reading during the answer before: nothing tells the second exchange again."""

    async def torrent(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.body == b"small":
            writer.write(response(b"x" * 200_000))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()

    async def scenario() -> None:
        async with ScriptedUpstream(torrent) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=15.0)) as running:
                client = await running.connect()
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]
                client.writer.write(post(b"small") * 60 + post(b"large"))
                await asyncio.sleep(1.5)
                held = client.server_side.transport.get_write_buffer_size()
                await _gone(running, client)
                assert held < (4 << 20)

    _run(scenario)


# ---- snapshots that change under way --------------------------------------------------------------------


def test_who_waits_for_a_connection_is_served_after_its_server_left_the_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(_slowly(response(b"[0]"), 0.2)) as one,  # type: ignore[arg-type]
            ScriptedUpstream(saying(response(b"[9]"))) as nine,
        ):
            async with gateway(tmp_path, endpoint(one.port, timeout=1.0)) as running:
                client = await running.connect()
                client.server_side.data_received(post())  # asked; its connection is being made
                worker = running.worker
                changed = replace(endpoint(nine.port), incumbent=version("rain-9", nine.port))
                worker._publish(Publish(build([changed], generation=2)))
                received = await client.response()
                client.close()
                assert (received.status, received.body) == (200, b"[0]")
                assert one.connections < 5

    _run(scenario)


def test_a_request_whose_endpoint_was_removed_during_its_upload_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=0.3)) as running:
                client = await running.connect()
                request = post(b"[1, 2]")
                client.feed(request[:-2], size=1000)
                running.control.publish(build([], generation=2))
                await eventually(lambda: running.control.applied, "the snapshot is confirmed")
                await asyncio.sleep(0.15)
                client.writer.write(request[-2:])
                received = await asyncio.wait_for(client.response(), 3)
                assert received.status in (200, 404, 502, 503)
                assert one.connections < 5
                client.close()

    _run(scenario)


def test_a_failover_to_a_server_that_left_the_snapshot_ends_in_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(silence) as one,
            ScriptedUpstream(silence) as two,
            ScriptedUpstream(saying(response(b"[9]"))) as nine,
        ):
            serving = serving_candidate(one.port, two.port, timeout=0.6, breaker=0)
            serving = replace(serving, shadow=replace(serving.shadow, share=0))
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                client.writer.write(post())
                await eventually(lambda: two.heard, "the candidate is asked")
                running.control.publish(build([endpoint(nine.port)], generation=2))
                await eventually(lambda: running.control.applied, "the snapshot is confirmed")
                received = await asyncio.wait_for(client.response(), 4)
                assert received.status in (200, 502, 504)
                assert one.connections < 5
                client.close()

    _run(scenario)


# ---- candidates at their worst --------------------------------------------------------------------------


@pytest.mark.parametrize(("falls_silent", "outcome"), [(False, Outcome.OVERSIZE), (True, Outcome.TIMEOUT)])
def test_a_mirrored_stream_ends_by_the_timeout_and_only_silence_is_blamed(
    falls_silent: bool, outcome: Outcome, tmp_path: Path
) -> None:
    async def trickle(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(30 if falls_silent else 0.02)

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, ScriptedUpstream(trickle) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port, timeout=0.3, breaker=0)) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"[0]"
                await asyncio.sleep(1.5)
                client.close()
                assert [pair.candidate.outcome for pair in running.control.pairs] == [outcome]
                assert not _rain(running).budget.pairs

    _run(scenario)


def test_a_candidate_that_dies_of_every_second_request_is_seen_to(tmp_path: Path) -> None:
    async def every_second(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(two.heard) % 2:
            writer.write(response(b"[0]"))
        else:
            writer.close()

    two = ScriptedUpstream(every_second)

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, two:
            async with gateway(tmp_path, endpoint(one.port, two.port, breaker=0)) as running:
                client = await running.connect()
                for asked in range(1, 21):
                    client.writer.write(post())
                    assert (await client.response()).body == b"[0]"
                    await eventually(lambda: len(two.heard) == asked, "the mirror is out")  # noqa: B023
                    await asyncio.sleep(0.02)
                await eventually(lambda: len(running.control.pairs) >= 10, "pairs arrive")
                client.close()
                outcomes = [pair.candidate.outcome for pair in running.control.pairs]
                assert outcomes.count(Outcome.PROTOCOL) == 10, "each death is evidence"

    _run(scenario)


# ---- heads ----------------------------------------------------------------------------------------------


def test_a_connection_field_of_many_options_costs_no_more_than_any_other_field() -> None:
    letters = [bytes([c]) for c in b"abcdefghijklmnopqrstuvwxyz"]
    options = b",".join(a + b + c for a in letters[:12] for b in letters for c in letters)
    filler = b"\r\n".join(b"y%02d: " % number + b"z" * 330 for number in range(90))
    head = b"POST /x HTTP/1.1\r\nHost: m\r\nConnection: " + options + b"\r\n" + filler
    began = time.process_time()
    RequestGrammar().parse(head)
    assert time.process_time() - began < 0.1


def test_long_names_are_not_remembered() -> None:
    grammar = RequestGrammar()
    for number in range(300):
        grammar.parse(b"GET /x HTTP/1.1\r\nHost: m\r\n%b%d: 1" % (b"n" * 60_000, number))
    assert sum(map(len, grammar._names.kinds)) < 1_000_000


@pytest.mark.parametrize(
    "field",
    [
        b"X_Pointsman_Mirror: 1",
        b"X-Pointsman_Mirror: 1",
        b"x-POINTSMAN-mirror:1",
        b"X_Forwarded_For: 6.6.6.6",
        b"Transfer_Encoding: chunked",
        b"Content_Length: 3",
    ],
)
def test_a_name_that_some_servers_read_as_ours_is_not_passed_on(field: bytes) -> None:
    head = RequestGrammar().parse(b"GET /x HTTP/1.1\r\nHost: m\r\n" + field)
    assert field.partition(b":")[0] not in head.fields


def test_who_expects_100_and_gets_an_error_sends_its_next_request_on_a_new_connection(tmp_path: Path) -> None:
    """The client need not send the body after a final answer: whatever comes next could be either."""

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                expecting = b"\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n"
                client.writer.write(b"POST /no HTTP/1.1" + expecting)
                received = await client.response()
                assert received.status == 404
                assert received.fields.get("connection") == "close"
                client.close()

    _run(scenario)


# ---- the link and the end -------------------------------------------------------------------------------


def test_a_control_process_that_hangs_up_at_once_is_not_called_without_pause(tmp_path: Path) -> None:
    calls = 0

    async def hang_up_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            server = await asyncio.start_unix_server(hang_up_at_once, str(tmp_path / "link.sock"))
            async with gateway(tmp_path, endpoint(one.port), control=False) as running:
                await asyncio.sleep(1.0)
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).status == 200
                client.close()
                server.close()
            assert calls < 60

    _run(scenario)


def test_a_control_process_that_never_reads_does_not_keep_a_worker_from_ending(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"x" * 100_000))) as one,
            ScriptedUpstream(saying(response(b"y" * 100_000))) as two,
        ):
            deafs: list[asyncio.StreamWriter] = []

            async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                deafs.append(writer)
                writer.transport.pause_reading()  # type: ignore[attr-defined]

            server = await asyncio.start_unix_server(deaf, str(tmp_path / "link.sock"))
            async with gateway(tmp_path, endpoint(one.port, two.port), control=False) as running:
                await eventually(lambda: running.worker._link.connected, "linked")
                client = await running.connect()
                for _ in range(30):
                    client.writer.write(post())
                    assert (await client.response()).status == 200
                await eventually(lambda: not _rain(running).budget.pairs, "pairs end")
                client.close()
                try:
                    await asyncio.wait_for(running.worker.stop(), 6)
                finally:
                    if running.worker._link._transport is not None:
                        running.worker._link._transport.abort()
                    for writer in deafs:
                        writer.transport.abort()
                    server.close()

    _run(scenario)


def test_a_draining_worker_without_clients_still_accepts_for_a_moment(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                worker = running.worker
                worker.drain()
                draining = Tasks(report).spawn(worker.drained(), "draining")
                await asyncio.sleep(0.1)
                assert not draining.done()
                assert b" 200 OK" in await running.ask(post())
                await draining

    _run(scenario)


# ---- what holds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_http_1_0_client_that_keeps_alive_reads_the_next_answer_after_one_without_a_body(
    status: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(b"HTTP/1.1 %b\r\n\r\n" % status.encode())) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                for _ in range(3):
                    client.writer.write(b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % PATH.encode())
                    received = await client.response()
                    assert received.fields["connection"] == "keep-alive"
                one.answer = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")
                client.writer.write(b"HEAD %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % PATH.encode())
                received = await client.response(head_only=True)
                assert received.fields["content-length"] == "500"
                one.answer = saying(response(b"last"))
                client.writer.write(b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % PATH.encode())
                assert (await client.response()).body == b"last"
                client.close()
            assert one.connections == 1

    _run(scenario)


def test_clients_that_leave_at_every_moment_leave_nothing_behind_and_are_counted_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(_slowly(response(b"[0]"), 0.05)) as one,  # type: ignore[arg-type]
            ScriptedUpstream(_slowly(response(b"[1]"), 0.02)) as two,  # type: ignore[arg-type]
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port)) as running:
                request = post(b"x" * 300_000)
                cuts = [len(request) * part // 10 for part in range(2, 11)]
                for number, cut in enumerate(cuts * 2):
                    client = await running.connect()
                    client.writer.write(request[:cut])
                    await asyncio.sleep(0.005 * (number % 4))
                    client.writer.transport.abort()
                await eventually(lambda: not running.worker.clients, "every client is gone")
                await eventually(lambda: not _rain(running).budget.pairs, "every pair ends")
                assert _rain(running).budget.held == 0
                await eventually(
                    lambda: _counted(running, 499) + _counted(running, 200) == len(cuts) * 2, "counted once"
                )
                await asyncio.sleep(0.4)
                assert _counted(running, 499) + _counted(running, 200) == len(cuts) * 2

    _run(scenario)


def test_a_refused_upload_is_answered_once_and_its_server_let_go(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port, max_body=500_000)) as running:
                for ending in (b"zz\r\n", b"40000\r\n" + b"x" * 0x40000 + b"\r\n"):
                    client = await running.connect()
                    client.writer.write(CHUNKED + b"40000\r\n" + b"x" * 0x40000 + b"\r\n1\r\nx\r\n")
                    await eventually(lambda: two.connections, "the candidate is asked")
                    client.writer.write(ending)
                    received = await client.response()
                    assert received.status in (400, 413)
                    client.writer.write(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
                    assert await client.reader.read() == b"", "nothing behind it is answered"
                    client.close()
                assert not _rain(running).budget.pairs
                assert not _rain(running).breaker.failures
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"[1]"
                client.close()

    _run(scenario)


def test_a_half_closed_client_gets_every_pipelined_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(_slowly(response(b"ok"), 0.01)) as one:  # type: ignore[arg-type]
            async with gateway(tmp_path, endpoint(one.port)) as running:
                answer = await running.ask(post() * 5 + post()[:-1])
                assert answer.count(b"HTTP/1.1 200 ") == 5
                await eventually(lambda: not running.worker.clients, "and is let go")

    _run(scenario)


def test_a_large_body_after_100_continue_arrives_whole(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4_000

    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                client = await running.connect()
                request = post(body, fields=b"\r\nExpect: 100-continue")
                head = request[: -len(body)]
                client.writer.write(head)
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.writer.write(body)
                assert (await client.response()).status == 200
                client.writer.write(post(b"next"))
                assert (await client.response()).status == 200
                client.close()
            assert [heard.body for heard in one.heard] == [body, b"next"]
            assert "expect" not in one.heard[0].fields

    _run(scenario)
