"""Unleash's client-features endpoint, asked within bounds: so long, so many bytes, and every failure by name.

The SDK's own transport has no bound on an answer's length and none on its whole duration (a server that drips
one byte a second holds it for ever), follows redirects, and reports a refused token as it reports a server
that is away. Bytes are asked for uncompressed, so that the bound holds for what arrives.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from domain.errors import StateUnavailable
from routing.document import LARGEST
from settings.schema import UnleashSettings

DEADLINE = 4.0
"""Seconds for a whole fetch."""

CONNECT = 1.0
"""Seconds for a connection."""

SPECIFICATION = "6.1.0"
"""The version of Unleash's client specification that is understood; segments come by it."""

_TOKENS = {401: "does not know", 403: "does not allow reading flags with"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`document` is None when nothing has changed since the one with the given ETag."""

    document: bytes | None
    etag: str


class ClientFeatures:
    """`GET {url}/client/features` of one project, by one token."""

    def __init__(
        self, server: UnleashSettings, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._server = server
        self._client = httpx.AsyncClient(
            headers={
                "authorization": token,
                "accept": "application/json",
                "accept-encoding": "identity",
                "unleash-client-spec": SPECIFICATION,
                "unleash-appname": server.app_name,
                "unleash-interval": str(round(server.poll * 1000)),
            },
            timeout=httpx.Timeout(DEADLINE, connect=CONNECT),
            follow_redirects=False,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<ClientFeatures {self._server.url} {self._server.environment}>"

    async def fetch(self, etag: str) -> Answer:
        """The flags now; `etag` is of the document that is held, empty for none.

        Raises StateUnavailable for whatever is no such answer, with what to do about it.
        """
        url = f"{self._server.url}/client/features"
        headers = {"if-none-match": etag} if etag else {}
        try:
            async with asyncio.timeout(DEADLINE):
                request = self._client.build_request(
                    "GET", url, params={"project": self._server.project}, headers=headers
                )
                answer = await self._client.send(request, stream=True)
                try:
                    return await self._read(answer, etag)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise StateUnavailable(f"Unleash at {self._server.url} cannot be reached: {reason}") from error
        except TimeoutError as error:
            raise StateUnavailable(
                f"Unleash at {self._server.url} took longer than {DEADLINE:g} s to answer"
            ) from error

    async def close(self) -> None:
        """Let the connection go."""
        await self._client.aclose()

    async def _read(self, answer: httpx.Response, etag: str) -> Answer:
        if answer.status_code == 304:
            if not etag:
                raise StateUnavailable(f"{self._who} says that nothing has changed, and was not asked that")
            return Answer(None, etag)
        if answer.status_code in _TOKENS:
            raise StateUnavailable(
                f"{self._who} {_TOKENS[answer.status_code]} the token in {self._server.token_env} "
                f"(HTTP {answer.status_code}): give a backend token of environment "
                f"{self._server.environment!r}"
            )
        if answer.status_code != 200:
            raise StateUnavailable(f"{self._who} answers HTTP {answer.status_code} where flags should be")
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise StateUnavailable(f"{self._who} sends {encoding[:40]!r}, which was not asked for")
        return Answer(await self._body(answer), answer.headers.get("etag", ""))

    async def _body(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > LARGEST:
                raise StateUnavailable(f"{self._who} sends more than {LARGEST} bytes of flags")
        return bytes(body)

    @property
    def _who(self) -> str:
        return f"Unleash at {self._server.url}"
