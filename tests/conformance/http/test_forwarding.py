"""What the model server sees of a request and the client of an answer: fields kept, taken out and set."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.gateway import PATH, endpoint, gateway, post
from tests.support.grammars import GRAMMARS, use
from tests.support.upstream import Heard, ScriptedUpstream, response, saying


@pytest.fixture(autouse=True, params=GRAMMARS)
def _grammar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, request.param)


async def _forwarded(folder: Path, request: bytes) -> Heard:
    async with ScriptedUpstream(saying(response(b"[1]"))) as upstream:
        async with gateway(folder, endpoint(upstream.port)) as running:
            client = await running.connect()
            client.writer.write(request)
            assert (await client.response()).status == 200
            client.close()
        return upstream.heard[0]


def test_hop_by_hop_fields_end_here(tmp_path: Path) -> None:
    fields = (
        b"\r\nConnection: keep-alive, X-Nominated\r\nX-Nominated: secret\r\nKeep-Alive: 5\r\nTE: trailers"
        b"\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nTrailer: x-t\r\nX-Kept: 1"
    )
    heard = asyncio.run(_forwarded(tmp_path, post(fields=fields)))
    gone = {"connection", "x-nominated", "keep-alive", "te", "upgrade", "proxy-connection", "trailer"}
    assert not gone & heard.fields.keys()
    assert heard.fields["x-kept"] == "1"


def test_a_connection_field_cannot_take_away_what_the_body_means(tmp_path: Path) -> None:
    fields = b"\r\nConnection: content-type, content-length, host\r\nContent-Type: application/json"
    heard = asyncio.run(_forwarded(tmp_path, post(b"[0]", fields=fields)))
    assert heard.fields["content-type"] == "application/json"
    assert heard.body == b"[0]"


def test_a_client_cannot_set_what_the_gateway_says(tmp_path: Path) -> None:
    fields = (
        b"\r\nX-Pointsman-Mirror: 1\r\nX-Pointsman-Arm: candidate\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6"
        b"\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https"
    )
    heard = asyncio.run(_forwarded(tmp_path, post(fields=fields)))
    assert "x-pointsman-mirror" not in heard.fields
    assert "x-pointsman-arm" not in heard.fields
    assert "forwarded" not in heard.fields
    assert "x-real-ip" not in heard.fields
    assert heard.fields["x-forwarded-for"] == "127.0.0.1"
    assert heard.fields["x-forwarded-proto"] == "http"
    assert heard.fields["via"].startswith("1.1 pointsman-")


def test_the_host_is_the_servers_own(tmp_path: Path) -> None:
    heard = asyncio.run(_forwarded(tmp_path, post()))
    assert heard.fields["host"].startswith("127.0.0.1:")


def test_a_trailer_never_becomes_a_field(tmp_path: Path) -> None:
    request = (
        b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[0]\r\n0\r\nAuthorization: admin\r\n\r\n"
        % PATH.encode()
    )
    heard = asyncio.run(_forwarded(tmp_path, request))
    assert "authorization" not in heard.fields
    assert heard.body == b"[0]"


def test_framing_is_written_anew(tmp_path: Path) -> None:
    request = b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: 0003\r\n\r\n[0]" % PATH.encode()
    assert asyncio.run(_forwarded(tmp_path, request)).fields["content-length"] == "3"


def test_an_absolute_target_becomes_a_path_and_the_query_stays(tmp_path: Path) -> None:
    request = b"GET http://evil.example%b?a=1 HTTP/1.1\r\nHost: m\r\n\r\n" % PATH.encode()
    assert asyncio.run(_forwarded(tmp_path, request)).line == b"GET %b?a=1 HTTP/1.1" % PATH.encode()


def test_a_valid_request_id_is_kept_and_another_is_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]", fields=b"\r\nx-request-id: theirs"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                ids = []
                for fields in (b"\r\nX-Request-Id: abc-1", b"\r\nX-Request-Id: no spaces", b""):
                    client.writer.write(post(fields=fields))
                    ids.append((await client.response()).fields["x-request-id"])
                client.close()
            assert ids[0] == "abc-1"
            assert len({*ids, "no spaces", "theirs"}) == 5
            assert [heard.fields["x-request-id"] for heard in upstream.heard] == ids

    asyncio.run(scenario())


def test_what_served_is_said_and_nobody_else_can_say_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        fields = b"\r\nX-Pointsman-Arm: candidate\r\nConnection: keep-alive\r\nX-Model: 1"
        async with ScriptedUpstream(saying(response(b"[1]", fields=fields))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                answer = await client.response()
                client.close()
        assert answer.fields["x-pointsman-arm"] == "incumbent"
        assert answer.fields["x-pointsman-version"] == "rain-1"
        assert answer.fields["x-model"] == "1"
        assert "connection" not in answer.fields

    asyncio.run(scenario())


def test_expect_is_answered_here_and_not_forwarded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                client = await running.connect()
                request = post(b"[0]", fields=b"\r\nExpect: 100-continue")
                client.writer.write(request[:-3])
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.writer.write(request[-3:])
                assert (await client.response()).status == 200
                client.close()
            assert "expect" not in upstream.heard[0].fields
            assert upstream.heard[0].body == b"[0]"

    asyncio.run(scenario())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02 if heard.body == b"0" else 0)
        writer.write(response(heard.body))

    async def scenario() -> None:
        async with ScriptedUpstream(echo) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                requests = b"".join(post(b"%d" % n) for n in range(50))
                answer = await running.ask(requests)
        bodies = [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 ")[1:]]
        assert bodies == [b"%d" % n for n in range(50)]

    asyncio.run(scenario())


def test_many_pipelined_errors_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[1]"))) as upstream:
            async with gateway(tmp_path, endpoint(upstream.port)) as running:
                answer = await running.ask(b"GET /x HTTP/1.1\r\nHost: m\r\n\r\n" * 3000)
        assert answer.count(b"HTTP/1.1 404") == 3000

    asyncio.run(scenario())
