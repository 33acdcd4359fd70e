"""A registry's REST API, asked within bounds: so long, so many bytes, one host, every failure by name.

Only the configured base URL is ever asked: what a registry answers can name no other host, for redirects are
not followed and addresses in answers are kept as text. Bytes are asked for uncompressed, so that the bound
holds for what arrives.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

import httpx
import orjson

from domain.errors import StateUnavailable
from settings.registries import RegistryServer

DEADLINE = 5.0
"""Seconds for a whole answer."""

CONNECT = 2.0
"""Seconds for a connection."""

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer."""

_REFUSED = (401, 403)


class Answer(NamedTuple):
    """`document` is what the JSON says, None where the body is none; `code`: its word for an error."""

    status: int
    document: object
    code: str = ""


class Rest:
    """The API of one server; `name` is what errors call it, `secret` its token or password."""

    def __init__(
        self,
        name: str,
        server: RegistryServer,
        secret: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = server.url
        self._who = f"{name} at {server.url}"
        self._token_env = server.token_env
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "pointsman"}
        if secret is not None and server.user is not None:
            headers["authorization"] = f"Basic {b64encode(f'{server.user}:{secret}'.encode()).decode()}"
        elif secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(DEADLINE, connect=CONNECT),
            follow_redirects=False,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<Rest {self._who}>"

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """What `GET` answers, whatever its status below 500. Raises StateUnavailable."""
        return await self._ask(self._client.build_request("GET", f"{self.url}/{path}", params=params))

    async def post(self, path: str, document: object) -> Answer:
        """As `get`, with a JSON body."""
        headers = {"content-type": "application/json"}
        body = orjson.dumps(document)
        return await self._ask(
            self._client.build_request("POST", f"{self.url}/{path}", content=body, headers=headers)
        )

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def _ask(self, request: httpx.Request) -> Answer:
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await self._client.send(request, stream=True)
                try:
                    return await self._read(answer)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise StateUnavailable(f"{self._who} cannot be reached: {reason}") from error
        except TimeoutError as error:
            raise StateUnavailable(f"{self._who} took longer than {DEADLINE:g} s to answer") from error

    async def _read(self, answer: httpx.Response) -> Answer:
        status = answer.status_code
        if status in _REFUSED:
            how = "a token is needed" if self._token_env is None else f"look at {self._token_env}"
            raise StateUnavailable(f"{self._who} does not let us in (HTTP {status}): {how}")
        if 300 <= status < 400:
            where = answer.headers.get("location", "")[:200]
            raise StateUnavailable(f"{self._who} sends us elsewhere, which is not followed: {where!r}")
        if status >= 500 or status == 429:
            raise StateUnavailable(f"{self._who} answers HTTP {status}")
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise StateUnavailable(f"{self._who} sends {encoding[:40]!r}, which was not asked for")
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > LARGEST:
                raise StateUnavailable(f"{self._who} sends more than {LARGEST} bytes")
        try:
            document = await asyncio.to_thread(orjson.loads, bytes(body))
        except orjson.JSONDecodeError as error:
            if status == 200:
                raise StateUnavailable(f"{self._who} answers with what is no JSON") from error
            document = None
        return Answer(status, document, answer.headers.get("x-error-code", "")[:100])
