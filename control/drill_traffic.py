"""Requests that a drill sends itself: bodies from a file, through the data plane, as any client would.

They leave by a timetable (`gates.load`), so that a gateway in trouble is not spared, and each is a unit of
its own where a header says who asks: one unit has one vote. Nothing but the drill's own count rests on their
answers.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
import orjson

from domain.errors import ConfigError
from domain.snapshot import UnitKind
from gates import load
from settings.schema import Address, EndpointSettings, Settings

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes."""
MOST_CONNECTIONS = 64
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def bodies(settings: EndpointSettings) -> tuple[bytes, ...]:
    """The bodies that the drills of this endpoint send; none where they run on the traffic there is.

    Raises ConfigError when the file cannot be used.
    """
    named = settings.drills.requests
    if named is None:
        return ()
    path = f"endpoints.{settings.name}.drills.requests"
    try:
        with Path(named).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(path, named, f"a file that can be read ({error.strerror or error})") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(path, named, f"a file of at most {LARGEST_FILE} bytes")
    found = [line for line in content.splitlines() if line.strip()]
    for number, line in enumerate(found, 1):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ConfigError(path, named, f"one JSON document a line; line {number}: {error}") from error
        if len(line) > settings.max_body:
            raise ConfigError(path, named, f"line {number} is longer than max_body, {settings.max_body}")
    if not found:
        raise ConfigError(path, named, "a file with one request's body a line; this one has none")
    return tuple(found)


class OwnTraffic:
    """Sends `found` to the endpoint, `rps` a second."""

    def __init__(
        self, settings: Settings, endpoint: EndpointSettings, drill: str, found: tuple[bytes, ...]
    ) -> None:
        """Raises ConfigError when the data plane cannot be reached this way."""
        self._found = found
        self._rps = endpoint.drills.rps
        self._lasts = endpoint.drills.lasts
        self._timeout = endpoint.timeout + 1.0
        self._path = endpoint.path
        self._drill = drill
        header = endpoint.unit.kind is UnitKind.HEADER
        self._unit = endpoint.unit.name if header else None
        self._url, self._socket = _place(settings, endpoint)

    async def run(self) -> None:
        """Until cancelled, or the drill's time is over."""
        transport = httpx.AsyncHTTPTransport(
            uds=self._socket,
            # The listener is our own, on this machine, and what it proves is no matter here.
            verify=False,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        )
        async with httpx.AsyncClient(transport=transport, timeout=self._timeout, trust_env=False) as client:

            async def send(number: int) -> bool:
                headers = {"content-type": "application/json"}
                if self._unit is not None:
                    headers[self._unit] = f"drill-{self._drill[:12]}-{number}"
                body = self._found[number % len(self._found)]
                try:
                    answer = await client.post(self._url + self._path, content=body, headers=headers)
                except httpx.HTTPError:
                    return False  # the gateway counts it, and so does the load
                return answer.status_code < 500

            with suppress(TimeoutError):
                async with asyncio.timeout(self._lasts + self._timeout):
                    await load.run([send], self._rps, self._lasts)


def _place(settings: Settings, endpoint: EndpointSettings) -> tuple[str, str | None]:
    """Where the data plane is: a URL, and the path of its unix socket if it is one."""
    path = f"endpoints.{endpoint.name}.drills.requests"
    if settings.downstream.proxied_by:
        allowed = "the data plane expects the PROXY protocol, which a drill does not speak: leave it out"
        raise ConfigError(path, endpoint.drills.requests, allowed)
    scheme = "https" if settings.downstream.tls else "http"
    listen = settings.listen
    if not isinstance(listen, Address):
        return f"{scheme}://pointsman", listen.path
    if listen.port == 0:
        raise ConfigError(path, endpoint.drills.requests, "needs a fixed port to send to: see the key listen")
    return f"{scheme}://{Address(WILDCARDS.get(listen.host, listen.host), listen.port)}", None
