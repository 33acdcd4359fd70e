"""A version's real model servers, asked as the gateway asks them.

Every request says that it is a mirror (`x-pointsman-mirror: 1`): a gate must not cause what a client's
request may. Proxies of the environment are not used and redirects are not followed: what is measured is the
very server that the configuration names.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httpx
import orjson

from domain.errors import GateError
from domain.media import JSON, Media
from domain.routing import Upstream, Version

HEADERS = {"content-type": "application/json", "accept": "application/json", "x-pointsman-mirror": "1"}

MOST_CONNECTIONS = 256

LARGEST = 256 * 1024 * 1024
"""Bytes of an answer."""

_INFER = "/infer"


class Reply(NamedTuple):
    """An answer of a model server."""

    status: int
    body: bytes
    media: Media
    server: str

    @property
    def ok(self) -> bool:
        """A 2xx status."""
        return 200 <= self.status < 300

    def brief(self) -> str:
        """For messages: the status and the beginning of the body."""
        return f"{self.status} {self.body[:200].decode('utf-8', 'replace')!r}"


class ModelServer:
    """The servers of `version`, in turn. An asynchronous context manager."""

    def __init__(self, version: Version, path: str, timeout: float) -> None:
        """`path` is the endpoint's; `timeout` in seconds, for a whole answer.

        Raises GateError when the certificates that the configuration names cannot be read.
        """
        self.version = version
        self.path = version.path or path
        self._upstreams = itertools.cycle(version.upstreams)
        name = version.upstreams[0].policy.trust.server_name
        self._extensions = {} if name is None else {"sni_hostname": name}
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            verify=_trust(version.upstreams[0]),
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    def __str__(self) -> str:
        return self.version.name

    async def predict(self, body: bytes) -> Reply:
        """The answer of the next server. Raises GateError when none comes."""
        return await self._ask("POST", next(self._upstreams), self.path, body)

    async def metadata(self) -> object:
        """The model's metadata (V2, "Model Metadata") as JSON; None where there are none."""
        if not self.path.endswith(_INFER):
            return None
        reply = await self._ask("GET", next(self._upstreams), self.path.removesuffix(_INFER), None)
        if not reply.ok:
            return None
        try:
            found: object = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise GateError(f"{reply.server} answers metadata that are no JSON: {error}") from error
        return found

    async def demand_ready(self, place: str | None) -> None:
        """Raises GateError unless every server answers `GET place`, after its URL's prefix, with a 2xx;
        without a place any answer of each will do."""
        for upstream in self.version.upstreams:
            reply = await self._ask("GET", upstream, place or "/", None)
            if place is not None and not reply.ok:
                raise GateError(f"{reply.server} ({self.version.name}) answers {reply.brief()}")

    async def text(self, place: str) -> str:
        """What `GET place` answers, a path on every server or a URL. Raises GateError unless it is 2xx."""
        if urlsplit(place).scheme:
            reply = await self._request("GET", place, None)
        else:
            reply = await self._ask("GET", next(self._upstreams), place, None, root=True)
        if not reply.ok:
            raise GateError(f"{reply.server} answers {reply.brief()}")
        return reply.body.decode("utf-8", "replace")

    async def _ask(
        self, method: str, upstream: Upstream, path: str, body: bytes | None, *, root: bool = False
    ) -> Reply:
        prefix = "" if root else upstream.prefix
        scheme = "https" if upstream.tls else "http"
        return await self._request(method, f"{scheme}://{upstream.authority}{prefix}{path}", body)

    async def _request(self, method: str, url: str, body: bytes | None) -> Reply:
        try:
            # The client's own timeout bounds each read: a server that drips would never be too late.
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream(
                    method, url, content=body, headers=HEADERS, extensions=self._extensions
                ) as answer,
            ):
                content = await _content(answer)
        except TimeoutError as error:
            why = f"none within {self._timeout:g} s"
            raise GateError(f"{url} ({self.version.name}) gives no answer: {why}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise GateError(f"{url} ({self.version.name}) gives no answer: {why}") from error
        # httpx has undone the content coding.
        length = answer.headers.get("inference-header-content-length", "")
        media = Media.from_fields(answer.headers.get("content-type", ""), "", length) if length else JSON
        return Reply(answer.status_code, content, media, url)


async def _content(answer: httpx.Response) -> bytes:
    """The whole body. Raises GateError when it is too long."""
    parts, length = [], 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        length += len(part)
        if length > LARGEST:
            raise GateError(f"{answer.url} answers with more than {LARGEST} bytes")
    return b"".join(parts)


def _trust(upstream: Upstream) -> ssl.SSLContext | bool:
    trust = upstream.policy.trust
    if not upstream.tls:
        return True
    try:
        context = ssl.create_default_context(cafile=trust.ca)
        if trust.certificate is not None:
            context.load_cert_chain(trust.certificate, trust.key)
    except (OSError, ssl.SSLError) as error:
        raise GateError(f"the certificates for {upstream} cannot be read: {error}") from error
    return context
