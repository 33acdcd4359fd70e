"""The model server's HTTP: whole, byte by byte, several requests on one connection, and what it refuses."""

from __future__ import annotations

import asyncio

import pytest

from examples.model_server.http import Answer, Exchanges

POST = b"POST /echo?x=1 HTTP/1.1\r\nhost: model\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n"
WHOLE = POST + b"content-length: 5\r\n\r\nabcde"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\nPOST /echo abcde"


def echo(method: str, path: str, body: bytes) -> Answer:
    return Answer(200, f"{method} {path} ".encode() + body)


def talk(*pieces: bytes) -> bytes:
    """What the server sends back to a client that sends `pieces` and then its end."""

    async def run() -> bytes:
        server = await asyncio.start_server(
            Exchanges(echo, str.encode).serve, "127.0.0.1", 0, limit=32 * 1024
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    return asyncio.run(run())


@pytest.mark.parametrize("request_", [WHOLE, CHUNKED], ids=["length", "chunked"])
def test_a_request_is_the_same_whole_and_byte_by_byte(request_: bytes) -> None:
    assert talk(request_) == OK
    assert talk(*(request_[at : at + 1] for at in range(len(request_)))) == OK


def test_requests_on_one_connection_are_answered_in_order() -> None:
    assert talk(WHOLE + CHUNKED + WHOLE) == 3 * OK


def test_head_gets_no_body_and_close_closes() -> None:
    answer = talk(b"HEAD /v2 HTTP/1.1\r\nconnection: close\r\n\r\n" + WHOLE)
    assert answer.endswith(b"content-length: 9\r\nconnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1


def test_expect_is_answered_before_the_body() -> None:
    answer = talk(POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n", b"abcde")
    assert answer == b"HTTP/1.1 100 Continue\r\n\r\n" + OK


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (POST + b"content-length: -1\r\n\r\n", 400),
        (POST + b"content-length: 99999999\r\n\r\n", 413),
        (POST + b"content-length: " + b"9" * 40 + b"\r\n\r\n", 413),
        (POST + b"transfer-encoding: gzip\r\n\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\n\r\nffffff0\r\n", 413),
        (b"GET / HTTP/1.1\r\nx: " + bytes(40 * 1024), 431),
    ],
)
def test_what_cannot_be_served_is_refused_and_the_connection_ends(broken: bytes, status: int) -> None:
    answer = talk(broken)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer


def test_a_client_that_leaves_in_the_middle_gets_nothing() -> None:
    assert talk(WHOLE[:-1]) == b""
    assert talk(b"") == b""
