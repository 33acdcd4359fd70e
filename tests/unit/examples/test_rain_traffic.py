"""Client traffic against small servers that answer well, badly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest

from examples.rain.traffic import (
    Answer,
    BrokenAnswerError,
    Counts,
    Traffic,
    rain_probability,
    read_head,
    request_body,
)

BODY = b'{"outputs":[{"name":"predict_proba","datatype":"FP64","shape":[1,2],"data":[0.25,0.75]}]}'
GOOD = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
    b"X-Pointsman-Arm: candidate\r\nX-Pointsman-Version: rain-2\r\n\r\n%s"
) % (len(BODY), BODY)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(message: bytes, *, close: bool = False, seen: list[bytes] | None = None) -> Handler:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                if seen is not None:
                    seen.append(head + body)
                writer.write(message)
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()

    return serve


def play(handler: Handler, requests: int = 30) -> tuple[Counts, list[Answer]]:
    """Traffic until about `requests` were sent and all of them have ended."""

    async def run() -> tuple[Counts, list[Answer]]:
        answers: list[Answer] = []
        faults: list[BaseException] = []
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bodies = [request_body([1.0, 2.0]), request_body([3.0, 4.0])]
        traffic = Traffic(
            bodies, "127.0.0.1", port, "/infer", rate=1000, users=50, seen=answers.append,
            report=lambda name, error: faults.append(error),
        )  # fmt: skip
        traffic.start()
        await asyncio.sleep(requests / 1000)
        await traffic.stop()
        assert traffic.counts.requests >= 1
        server.close()
        await server.wait_closed()
        assert not faults
        return traffic.counts, answers

    return asyncio.run(run())


def test_every_request_is_answered_and_says_who_answered() -> None:
    counts, answers = play(answering(GOOD))
    assert counts.failed == 0
    assert counts.requests == counts.answered == len(answers)
    assert {(a.arm, a.version, a.probability) for a in answers} == {("candidate", "rain-2", 0.75)}


def test_days_are_replayed_by_many_users() -> None:
    seen: list[bytes] = []
    play(answering(GOOD, seen=seen), requests=100)
    assert {orjson.loads(m.partition(b"\r\n\r\n")[2])["inputs"][0]["data"][0] for m in seen} == {1.0, 3.0}
    users = {m.split(b"x-user-id: ")[1].split(b"\r\n")[0] for m in seen}
    assert len(users) > 10


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}", "status 502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not a V2 answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{}", "IncompleteReadError"),
        (b"", "IncompleteReadError"),
        (b"SSH-2.0\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "does not say its length"),
    ],
    ids=["status", "body", "cut", "closed", "not-http", "no-length"],
)
def test_whatever_is_not_a_whole_good_answer_is_a_failed_request(message: bytes, reason: str) -> None:
    counts, answers = play(answering(message, close=True))
    assert answers == []
    assert counts.failed == counts.requests
    assert all(reason in words for words in counts.failures)


def test_an_announced_close_costs_no_request() -> None:
    closing = GOOD.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n")
    counts, _ = play(answering(closing, close=True))
    assert (counts.failed, counts.answered) == (0, counts.requests)


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_a_head_that_is_none_is_said_to_be_none(head: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        read_head(head)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"outputs":[{"name":"predict_proba","data":[1]}]}'])
def test_a_body_without_a_probability_is_broken(body: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        rain_probability(body)
