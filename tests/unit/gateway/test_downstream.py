"""How clients reach a worker: PROXY protocol, unix sockets, bounds, and what is shed under pressure."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from domain.errors import ConfigError
from gateway import sockets
from gateway.boot import ReopenLogs
from gateway.pressure import Pressure, Stage
from gateway.proxy_protocol import SIGNATURE
from settings.schema import (
    AccessLogSettings,
    Address,
    Downstream,
    Limits,
    Timeouts,
    UnixAddress,
)
from tests.support.gateway import Client, Received, Running, endpoint, eventually, gateway, post
from tests.support.upstream import ScriptedUpstream, response, saying, silence


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 50)

    asyncio.run(bounded())


async def _event(running: Running, name: str, count: int) -> None:
    def heard() -> int:
        return sum(batch.events.get(name, 0) for batch in running.control.batches)

    await eventually(lambda: heard() >= count, f"{name} is counted")
    assert heard() == count


# ---- PROXY protocol and unix sockets ----------------------------------------------------------------------


def _header(peer: str) -> bytes:
    addresses = socket.inet_aton(peer) + socket.inet_aton("10.0.0.9") + struct.pack(">HH", 40000, 443)
    return SIGNATURE + b"\x21\x11" + struct.pack(">H", len(addresses)) + addresses


@pytest.mark.parametrize("split", [False, True])
def test_a_trusted_peer_says_for_whom_it_connects(split: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            downstream = Downstream(proxied_by=("127.0.0.0/8",))
            async with gateway(tmp_path, endpoint(one.port), downstream=downstream) as running:
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                data = _header("203.0.113.7") + post()
                for piece in [data[at : at + 1] for at in range(40)] + [data[40:]] if split else [data]:
                    writer.write(piece)
                    await writer.drain()
                    if split:
                        await asyncio.sleep(0)
                assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
                assert one.heard[0].fields["x-forwarded-for"] == "203.0.113.7"
                writer.close()

    _run(scenario)


@pytest.mark.parametrize("start", [b"PROXY TCP4 203.0.113.7 10.0.0.9 1 2\r\n", post(), b"\x00" * 16])
def test_a_trusted_peer_without_a_header_of_version_2_is_let_go(start: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        downstream = Downstream(proxied_by=("127.0.0.1/32",))
        async with gateway(tmp_path, endpoint(1), downstream=downstream) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(start)
            with contextlib.suppress(ConnectionResetError):  # it is closed with bytes of ours unread
                assert await reader.read() == b""
            writer.close()
            await _event(running, "refused_proxy_header", 1)

    _run(scenario)


def test_a_header_from_an_untrusted_peer_is_no_header(tmp_path: Path) -> None:
    async def scenario() -> None:
        downstream = Downstream(proxied_by=("203.0.113.0/24",))
        async with gateway(tmp_path, endpoint(1), downstream=downstream) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(_header("203.0.113.7") + post())
            assert b" 400 " in await reader.readline()
            writer.close()

    _run(scenario)


def test_a_unix_socket_is_served_and_has_no_client_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            address = UnixAddress(str(tmp_path / "p.sock"))
            async with gateway(tmp_path, endpoint(one.port), address=address):
                reader, writer = await asyncio.open_unix_connection(address.path)
                writer.write(post())
                assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
                assert "x-forwarded-for" not in one.heard[0].fields
                writer.close()

    _run(scenario)


def test_what_a_killed_process_left_at_the_path_is_no_obstacle_and_a_living_one_is(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "p.sock"))
    (first,) = sockets.bind(address, 1)
    with pytest.raises(ConfigError, match="cannot be listened on"):
        sockets.bind(address, 1)
    first.close()
    (second,) = sockets.bind(address, 1)
    second.close()
    sockets.remove(address)
    assert not Path(address.path).exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:

    path = tmp_path / "precious"
    path.write_text("kept")
    with pytest.raises(ConfigError, match="cannot be listened on"):
        sockets.bind(UnixAddress(str(path)), 1)
    assert path.read_text() == "kept"


# ---- bounds -----------------------------------------------------------------------------------------------


def test_one_address_has_as_many_connections_as_it_may_and_a_place_that_is_free_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        downstream = Downstream(limits=Limits(connections_per_client=2))
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port), downstream=downstream) as running:
                kept = [await running.connect() for _ in range(2)]
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                assert await reader.read() == b""
                writer.close()
                await _event(running, "refused_per_client", 1)
                kept[0].close()
                await eventually(lambda: len(running.worker.clients) == 1, "one has left")
                assert b" 200 OK" in await running.ask(post())
                kept[1].close()

    _run(scenario)


def test_at_the_limit_an_idle_connection_makes_room_and_a_busy_one_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        downstream = Downstream(limits=Limits(connections=2))
        async with ScriptedUpstream(silence) as one:
            async with gateway(tmp_path, endpoint(one.port), downstream=downstream) as running:
                busy, idle = await running.connect(), await running.connect()
                busy.writer.write(post())
                await eventually(lambda: one.heard, "it is being answered")
                third = await running.connect()
                assert await idle.reader.read() == b"", "the idle one was closed"
                third.writer.write(post())
                await eventually(lambda: len(one.heard) == 2, "the third is served")
                assert len(running.worker.clients) == 2
                for client in (busy, idle, third):
                    client.close()

    _run(scenario)


def test_timeouts_are_the_configured_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        downstream = Downstream(timeouts=Timeouts(head=0.2, body=0.2, idle=0.2))
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port), downstream=downstream) as running:
                slow_head, slow_body, idle = [await running.connect() for _ in range(3)]
                slow_head.writer.write(post()[:20])
                slow_body.writer.write(post(b"12345")[:-1])
                assert b" 408 " in await slow_head.reader.read()
                assert b" 408 " in await slow_body.reader.read()
                assert await idle.reader.read() == b""
                for client in (slow_head, slow_body, idle):
                    client.close()

    _run(scenario)


class Descriptors:
    """A listening socket whose accept fails for want of file descriptors, `failures` times."""

    def __init__(self, listening: socket.socket, failures: int) -> None:
        self._listening = listening
        self.failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listening.accept()

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        self._listening.close()


def test_without_descriptors_accepting_pauses_and_nobody_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port)) as running:
                before = await running.connect()
                listener = running.worker._listener
                assert listener is not None
                short = Descriptors(listener._socket, 3)
                listener._socket = short  # type: ignore[assignment]
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                writer.write(post())
                before.writer.write(post())
                assert (await before.response()).status == 200, "who was there is served"
                assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
                assert short.failures == 0
                await _event(running, "accept_paused", 3)
                writer.close()
                before.close()

    _run(scenario)


@pytest.mark.parametrize("whose", ["the endpoint's", "the worker's"])
def test_over_the_bound_in_flight_a_request_gets_503_and_the_connection_goes_on(
    whose: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        own = 2 if whose == "the endpoint's" else None
        downstream = Downstream(limits=Limits(max_in_flight=None if own else 2))
        async with ScriptedUpstream(silence) as one:
            bounded = endpoint(one.port, max_in_flight=own)
            async with gateway(tmp_path, bounded, downstream=downstream) as running:
                held = [await running.connect() for _ in range(2)]
                for client in held:
                    client.writer.write(post())
                await eventually(lambda: len(one.heard) == 2, "two are being answered")
                third = await running.connect()
                for _ in range(2):
                    third.writer.write(post())
                    refused = await third.response()
                    assert (refused.status, refused.fields["retry-after"]) == (503, "1")
                one.answer = saying(response(b"ok"))
                _reset(held[0])
                await eventually(lambda: running.worker.gates["rain"].in_flight == 1, "a place is free")
                third.writer.write(post())
                assert (await third.response()).status == 200
                await _event(running, "request_shed", 2)
                third.close()
                _reset(held[1])
                await eventually(lambda: running.worker.gates["rain"].in_flight == 0, "and all are")

    _run(scenario)


def _reset(client: Client) -> None:
    """Go away at once: closing alone would leave a half-open connection that still reads."""
    linger = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()


def test_near_the_bound_mirrors_are_left_out_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(silence) as one, ScriptedUpstream(saying(response(b"ok"))) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port, max_in_flight=5)) as running:
                clients = [await running.connect() for _ in range(5)]
                for number, client in enumerate(clients, 1):
                    client.writer.write(post())
                    await eventually(lambda number=number: len(one.heard) == number, "it is being answered")
                await eventually(lambda: len(two.heard) == 3, "three were mirrored")

                def dropped() -> int:
                    counts = [count for batch in running.control.batches for count in batch.mirrors]
                    return sum(count.count for count in counts if count.outcome == "dropped")

                await eventually(lambda: dropped() == 2, "two were not")
                for client in clients:
                    client.close()

    _run(scenario)


# ---- memory pressure --------------------------------------------------------------------------------------


class Dictated(Pressure):
    """A pressure that is what the test says."""

    def __init__(self) -> None:
        super().__init__(1)

    def look(self, resident: int) -> Stage:
        assert resident > 0
        return self.stage


async def _reach(running: Running, stage: Stage) -> None:
    if not isinstance(running.worker._pressure, Dictated):
        running.worker._pressure = Dictated()
    running.worker._pressure.stage = stage
    await eventually(lambda: running.worker._stage is stage, f"{stage.name} is in force")


def test_under_pressure_mirrors_go_first_then_kept_connections_then_requests_then_connections(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"ok"))) as one, ScriptedUpstream(silence) as two:
            async with gateway(tmp_path, endpoint(one.port, two.port)) as running:
                client = await running.connect()
                await _reach(running, Stage.MIRRORS)
                assert (await _ask(client)).status == 200
                await _reach(running, Stage.NOTHING)
                assert (await _ask(client)).status == 200
                await eventually(lambda: len(two.heard) == 1, "mirrored again, and only now")
                await _reach(running, Stage.KEEP_ALIVE)
                answer = await _ask(client)
                assert (answer.status, answer.fields["connection"]) == (200, "close")
                client.close()
                await _reach(running, Stage.REQUESTS)
                client = await running.connect()
                refused = await _ask(client)
                assert (refused.status, refused.fields["retry-after"]) == (503, "1")
                client.close()
                await _reach(running, Stage.CONNECTIONS)
                waiting, late = await asyncio.open_connection("127.0.0.1", running.port)
                late.write(post())
                await asyncio.sleep(0.2)
                heard = len(one.heard)
                await _reach(running, Stage.NOTHING)
                await eventually(lambda: len(one.heard) == heard + 1, "who waited in the queue is served")
                assert b" 200 OK" in await waiting.readuntil(b"\r\n\r\n")
                late.close()

    _run(scenario)


async def _ask(client: Client) -> Received:
    client.writer.write(post())
    return await client.response()


# ---- access log -------------------------------------------------------------------------------------------


def test_answered_requests_are_in_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def scenario() -> None:
        downstream = Downstream(access_log=AccessLogSettings(str(path), 10_000))
        async with ScriptedUpstream(saying(response(b"ok"))) as one:
            async with gateway(tmp_path, endpoint(one.port), downstream=downstream) as running:
                await running.ask(post(b"12345", fields=b"\r\nX-Request-Id: r-1"))
                running.worker.obey(ReopenLogs())

    _run(scenario)
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["status"], line["endpoint"], line["version"], line["arm"]) == (
        200,
        "rain",
        "rain-1",
        "incumbent",
    )
    assert (line["peer"], line["received"], line["request_id"]) == ("127.0.0.1", 5, "r-1")
    assert "u1" not in path.read_text(), "the unit is nobody's business"


def test_a_worker_that_is_asked_for_nothing_of_this_makes_plain_exchanges(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, endpoint(1), address=Address("127.0.0.1", 0)) as running:
            assert running.worker.services.by_name["rain"].exchange.__name__ == "Exchange"

    _run(scenario)
