"""Client traffic: days replayed in order, each as one prediction asked for by one of many users.

Open loop: a request is due when the rate says so, whether or not earlier answers came, and its latency counts
from when it was due. A slow gateway therefore shows as latency instead of as less traffic. Connections are
kept alive, and nothing is sent twice: a request that fails, for whatever reason, is a failed request.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from shadow.tasks import Tasks

CONNECTIONS = 48
TIMEOUT = 10.0
"""Seconds from due to answered, after which a client gives up."""


class BrokenAnswerError(Exception):
    """An answer that is not whole, not HTTP, or not V2."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got for one day: `at` wall clock and `latency` in seconds, `probability` of rain."""

    at: float
    day: int
    arm: str
    version: str
    probability: float
    latency: float


@dataclass(frozen=True, slots=True)
class Due:
    """One request that has to be sent; `since` on the loop's clock, `day` an index into the replayed days."""

    day: int
    since: float
    message: bytes


@dataclass(slots=True)
class Counts:
    """Requests sent out, and the failed ones by reason."""

    requests: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()


def request_body(row: Sequence[float]) -> bytes:
    """One day's features as a V2 inference request."""
    tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}
    return orjson.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]})


def rain_probability(body: bytes) -> float:
    """The probability of rain in a V2 answer. Raises BrokenAnswerError."""
    try:
        outputs = {output["name"]: output["data"] for output in orjson.loads(body)["outputs"]}
        return float(outputs["predict_proba"][1])
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise BrokenAnswerError(f"not a V2 answer: {error!r}") from error


class Traffic:
    """Clients that replay `bodies` against `host:port` at `rate` requests a second until `stop`."""

    def __init__(
        self,
        bodies: Sequence[bytes],
        host: str,
        port: int,
        path: str,
        *,
        rate: float,
        users: int,
        seen: Callable[[Answer], None],
        report: Callable[[str, BaseException], None],
        seed: int = 1949,
    ) -> None:
        self.rate = rate
        self.counts = Counts()
        self._bodies = bodies
        self._host, self._port = host, port
        self._head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        self._draw = random.Random(seed)
        self._users = users
        self._seen = seen
        self._tasks = Tasks(report)
        self._sent = 0
        self._stopping = False
        self._due: asyncio.Queue[Due | None] = asyncio.Queue()

    @property
    def day(self) -> int:
        """Index of the day that is sent next."""
        return self._sent % len(self._bodies)

    def start(self) -> None:
        """Begin sending, on the running loop."""
        self._dispatcher = self._tasks.spawn(self._dispatch(), "traffic")
        self._clients = [self._tasks.spawn(self._client(), f"client {n}") for n in range(CONNECTIONS)]

    async def stop(self) -> None:
        """Send nothing new, wait for the answers that are still due, close the connections."""
        self._stopping = True
        await asyncio.gather(self._dispatcher, return_exceptions=True)
        for _ in self._clients:
            self._due.put_nowait(None)
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def abort(self) -> None:
        """Leave at once."""
        await self._tasks.cancel()

    async def _dispatch(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while not self._stopping:
            while due <= clock():
                self._due.put_nowait(self._next(due))
                due += 1 / self.rate
            await asyncio.sleep(max(due - clock(), 0.001))

    def _next(self, since: float) -> Due:
        day = self.day
        body = self._bodies[day]
        user = self._draw.randrange(self._users)
        self._sent += 1
        self.counts.requests += 1
        head = f"{self._head}x-user-id: user-{user:05d}\r\ncontent-length: {len(body)}\r\n\r\n"
        return Due(day, since, head.encode("ascii") + body)

    async def _client(self) -> None:
        connection: Connection | None = None
        try:
            while (due := await self._due.get()) is not None:
                try:
                    async with asyncio.timeout_at(due.since + TIMEOUT):
                        if connection is None:
                            connection = await Connection.open(self._host, self._port)
                        self._answered(due, *await connection.ask(due.message))
                except _NO_ANSWER as error:
                    self.counts.failures[_in_words(error)] += 1
                    if connection is not None:
                        connection.close()
                    connection = None
                else:
                    if connection.ends:
                        connection.close()
                        connection = None
        finally:
            if connection is not None:
                connection.close()

    def _answered(self, due: Due, status: int, headers: dict[str, str], body: bytes) -> None:
        if status != 200:
            self.counts.failures[f"status {status}"] += 1
            return
        probability = rain_probability(body)
        self.counts.answered += 1
        latency = asyncio.get_running_loop().time() - due.since
        arm, version = headers.get("x-pointsman-arm", ""), headers.get("x-pointsman-version", "")
        self._seen(Answer(time.time(), due.day, arm, version, probability, latency))


_NO_ANSWER = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, BrokenAnswerError)
"""A timeout is an OSError. Whatever it was, it is counted, and the client goes on with a new connection."""


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"{type(error).__name__}: {error}"


class Connection:
    """One kept-alive HTTP/1.1 connection, one request at a time. `ends`: the server closes it now."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.ends = False

    @staticmethod
    async def open(host: str, port: int) -> Connection:
        return Connection(*await asyncio.open_connection(host, port))

    async def ask(self, message: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body. Raises OSError, IncompleteReadError or BrokenAnswerError."""
        self._writer.write(message)
        status, headers = read_head(await self._reader.readuntil(b"\r\n\r\n"))
        body = await self._reader.readexactly(int(headers["content-length"]))
        self.ends = headers.get("connection", "").lower() == "close"
        return status, headers, body

    def close(self) -> None:
        self._writer.close()


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer that says its length. Raises BrokenAnswerError."""
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise BrokenAnswerError(f"not HTTP: {first[:60]!r}")
    headers = {
        name.lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }
    if not headers.get("content-length", "").isdigit():
        raise BrokenAnswerError("the answer does not say its length")
    return int(words[1]), headers


def share(arms: Counter[str]) -> float:
    """What part of the answers the candidate gave; 0 when there are none."""
    total = arms.total()
    return arms["candidate"] / total if total else 0.0
