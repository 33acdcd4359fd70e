"""A registry asked over HTTP: within bounds, at one host, and every failure by its name."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable, Iterator

import pytest

from domain.errors import StateUnavailable
from registry import rest
from registry.rest import Answer, Rest
from settings.registries import RegistryServer as Address
from tests.support.registry_server import RegistryServer, Reply

Serve = Callable[[Reply], RegistryServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[RegistryServer] = []

    def server(reply: Reply) -> RegistryServer:
        made.append(RegistryServer(lambda asked: reply))
        return made[-1]

    yield server
    for one in made:
        one.stop()


def ask(server: RegistryServer, secret: str | None = None, user: str | None = None) -> Answer:
    async def scenario() -> Answer:
        one = Rest("Registry", Address(server.url, "VARIABLE" if secret else None, user), secret)
        try:
            return await one.get("api/x", {"name": "a b&c"})
        finally:
            await one.close()

    return asyncio.run(scenario())


def test_an_answer_is_its_status_and_its_document(serve: Serve) -> None:
    server = serve(Reply({"a": 1}, 404, (("x-error-code", "Gone"),)))
    assert ask(server) == Answer(404, {"a": 1}, "Gone")
    assert server.asked[0].path == "/api/x?name=a+b%26c"
    assert "authorization" not in server.asked[0].fields


def test_a_token_is_sent_as_bearer_and_a_password_with_its_user(serve: Serve) -> None:
    server = serve(Reply({}))
    ask(server, "hush")
    ask(server, "hush", "ada")
    sent = [one.fields["authorization"] for one in server.asked]
    assert sent == ["Bearer hush", f"Basic {base64.b64encode(b'ada:hush').decode()}"]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply({}, 302, (("location", "http://169.254.169.254/latest"),)), "not followed"),
        (Reply({}, 401), "does not let us in (HTTP 401)"),
        (Reply({}, 403), "does not let us in (HTTP 403)"),
        (Reply({}, 429), "HTTP 429"),
        (Reply({}, 503), "HTTP 503"),
        (Reply(b"<html>"), "no JSON"),
        (Reply(b'"' + b"x" * (rest.LARGEST + 1) + b'"'), "more than"),
        (Reply(zlib.compress(b"{}"), 200, (("content-encoding", "deflate"),)), "was not asked for"),
    ],
)
def test_what_is_no_answer_is_told_by_name(serve: Serve, reply: Reply, told: str) -> None:
    server = serve(reply)
    with pytest.raises(StateUnavailable) as error:
        ask(server, "hush")
    assert told in str(error.value)
    assert server.url in str(error.value)
    assert "hush" not in str(error.value)
    assert len(server.asked) == 1


def test_a_refused_token_is_told_by_its_variable(serve: Serve) -> None:
    with pytest.raises(StateUnavailable, match="VARIABLE"):
        ask(serve(Reply({}, 401)), "hush")


def test_a_server_that_never_answers_is_left_in_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "DEADLINE", 0.2)
    server = serve(Reply({}))
    server.hold = True
    with pytest.raises(StateUnavailable, match=r"took longer than 0\.2 s"):
        ask(server)


def test_nobody_there_is_told_as_such(serve: Serve) -> None:
    server = serve(Reply({}))
    server.stop()
    with pytest.raises(StateUnavailable, match="cannot be reached"):
        ask(server)


def test_a_server_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "DEADLINE", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass  # whoever asked is gone, as it should be
        writer.transport.abort()
        left.set()

    left = asyncio.Event()

    async def scenario() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        one = Rest("Registry", Address(f"http://127.0.0.1:{port}"), None)
        with pytest.raises(StateUnavailable, match="took longer"):
            await one.get("api/x")
        await one.close()
        await left.wait()
        server.close()

    asyncio.run(scenario())
