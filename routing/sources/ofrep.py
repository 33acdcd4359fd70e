"""Flags over OpenFeature's remote evaluation protocol (OFREP): one POST for one unit of one flag.

Every answer is bounded in time and in bytes, and redirects are not followed. Source: OFREP 0.2,
`POST /ofrep/v1/evaluate/flags/{key}`; 404 is a flag that is not there, 400 a question that cannot be
answered, 429 a request to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from domain.exposure import Question
from routing.sources.evaluator import Evaluation
from settings.schema import OpenFeatureSettings

T = TypeVar("T")

LARGEST = 64 * 1024
"""Bytes of an answer."""

AT_ONCE = 32
"""Questions that are under way at once."""

LONGEST_WAIT = 60.0
"""Seconds that a server may ask us to wait."""

_CODES = frozenset({"PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL"})
"""Of a refusal only these are told: its other text is the server's own and may hold the unit."""


class _Flag(msgspec.Struct):
    value: object = None
    variant: str | None = None


class _Refusal(msgspec.Struct):
    code: str = msgspec.field(default="", name="errorCode")


class OfrepEvaluator:
    """The server at `server.url`. `known` are attributes that go with every question."""

    def __init__(
        self,
        server: OpenFeatureSettings,
        token: str | None,
        known: Mapping[str, str],
        monotonic: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._server = server
        self._headers = {"accept": "application/json", "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._known = dict(known)
        self._monotonic = monotonic
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._rests_until = 0.0

    def __repr__(self) -> str:
        return f"<OfrepEvaluator {self._server.url}>"

    async def start(self) -> None:
        """Connections are made when they are needed: a server that is away is away until it answers."""
        self._client = httpx.AsyncClient(
            headers=self._headers,
            timeout=self._server.timeout,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            transport=self._transport,
        )

    async def close(self) -> None:
        """See Evaluator."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def evaluate(self, questions: Sequence[Question]) -> list[Evaluation]:
        """See Evaluator."""
        return list(await asyncio.gather(*map(self._in_turn, questions)))

    async def _in_turn(self, question: Question) -> Evaluation:
        async with self._turns:
            if self._client is None:
                return Evaluation(None, "it is closed")
            if self._monotonic() < self._rests_until:
                return Evaluation(None, f"{self._who} asked us to wait (HTTP 429)")
            try:
                async with asyncio.timeout(self._server.timeout):
                    return await self._ask(self._client, question)
            except TimeoutError:
                return Evaluation(None, f"{self._who} took longer than {self._server.timeout:g} s to answer")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return Evaluation(
                    None, f"{self._who} cannot be reached: {str(error) or type(error).__name__}"
                )

    async def _ask(self, client: httpx.AsyncClient, question: Question) -> Evaluation:
        attributes = {**self._known, **dict(question.fields), "targetingKey": question.unit}
        url = f"{self._server.url}/ofrep/v1/evaluate/flags/{quote(question.flag, safe='')}"
        async with client.stream("POST", url, json={"context": attributes}) as answer:
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > LARGEST:
                    return Evaluation(None, f"{self._who} sends more than {LARGEST} bytes for one flag")
            return self._read(answer, bytes(body), question.flag)

    def _read(self, answer: httpx.Response, body: bytes, flag: str) -> Evaluation:
        status = answer.status_code
        if status == 200:
            return self._flag(body, flag)
        if status == 404:
            return Evaluation(False, f"FLAG_NOT_FOUND: {self._who} has no flag {flag!r}")
        if status == 400:
            refusal = _decoded(body, _Refusal) or _Refusal()
            return Evaluation(False, refusal.code if refusal.code in _CODES else "HTTP 400")
        if status in (401, 403):
            where = self._server.token_env or "flags.openfeature.token_env"
            return Evaluation(None, f"{self._who} does not take the token in {where} (HTTP {status})")
        if status == 429:
            self._rests_until = self._monotonic() + _wait(answer.headers.get("retry-after"))
        return Evaluation(None, f"{self._who} answers HTTP {status}")

    def _flag(self, body: bytes, flag: str) -> Evaluation:
        found = _decoded(body, _Flag)
        if found is None:
            return Evaluation(None, f"{self._who} sends what is no evaluation of a flag")
        wanted = self._server.variant
        if wanted is not None:
            return Evaluation(wanted in (found.variant, found.value))
        if isinstance(found.value, bool):
            return Evaluation(found.value)
        return Evaluation(
            False,
            f"TYPE_MISMATCH: flag {flag!r} is no boolean; name the variant that exposes in "
            "flags.openfeature.variant",
        )

    @property
    def _who(self) -> str:
        return f"OFREP at {self._server.url}"


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _wait(given: str | None) -> float:
    """Seconds of a Retry-After; a date counts as a second."""
    if given is None or not given.isascii() or not given.isdigit():
        return 1.0
    return min(float(given), LONGEST_WAIT)
