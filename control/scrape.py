"""The model servers' own metrics, read through the gateway: one place to scrape for both.

Every server whose version has `metrics` is asked every few seconds, a few at a time, each for so long and so
many bytes. What it says is held as text under its endpoint, version and URL until the next round, and stands
on a page of its own (`GET /metrics/models`): whatever a model server does, the gateway's own page is whole.
A server that is down, slow, or says what is no metrics, has `pointsman_scrape_up` 0 and nothing on the page.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control.clock import Clock
from control.log import note
from control.switchboard import Switchboard
from domain.routing import Trust, Version
from monitoring import scraped
from monitoring.scraped import Scraped
from settings.schema import Settings

PERIOD = 15.0
"""Seconds between two rounds."""
PATIENCE = 5.0
"""Seconds that a server has for its whole page."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a page."""
MOST_TOGETHER = 100_000
"""Samples of all servers."""
AT_ONCE = 8

HEADERS = {
    "accept": "text/plain;version=0.0.4",
    "accept-encoding": "identity",
    "user-agent": "pointsman",
}
LABELS = ("endpoint", "version", "server")

log = logging.getLogger("pointsman.scrape")


class Place(NamedTuple):
    """Where one server's metrics are, and what it takes to trust it."""

    endpoint: str
    version: str
    server: str
    url: str
    trust: Trust

    @property
    def labels(self) -> dict[str, str]:
        return dict(zip(LABELS, self[:3], strict=True))


class Visit(NamedTuple):
    """What came of asking one server: its metrics, or why there are none; seconds."""

    found: Scraped | None
    failure: str | None
    seconds: float


class ScrapeError(Exception):
    """There are no metrics to be had; the message says why."""


class Scraper(Collector):
    """`visits` has the latest of every place."""

    def __init__(self, board: Switchboard, clock: Clock) -> None:
        self.visits: dict[Place, Visit] = {}
        self._board = board
        self._clock = clock
        self._clients: dict[Trust, httpx.AsyncClient] = {}

    async def run(self) -> None:
        """Ask for ever."""
        try:
            while True:
                try:
                    await self.round()
                except Exception:
                    # Whatever one server's answer does to a library, the next round asks them all again.
                    log.exception("model servers not asked")
                await asyncio.sleep(PERIOD)
        finally:
            for client in self._clients.values():
                await client.aclose()

    async def round(self) -> None:
        """Ask every server once."""
        asked = places(self._board.settings)
        slots = asyncio.Semaphore(AT_ONCE)
        visits = await asyncio.gather(*(self._visit(place, slots) for place in asked))
        bounded = dict(zip(asked, _together(visits), strict=True))
        for place, visit in bounded.items():
            before = self.visits.get(place)
            if visit.failure is not None and (before is None or before.failure is None):
                told = {**place.labels, "url": place.url, "reason": visit.failure}
                note(log, logging.WARNING, "no metrics of a model server", **told)
        self.visits = bounded

    def pages(self) -> Iterator[str]:
        """What all servers said, a part a metric."""
        return scraped.page(visit.found for visit in self.visits.values() if visit.found is not None)

    def collect(self) -> Iterator[Metric]:
        """How asking went."""
        up = GaugeMetricFamily("pointsman_scrape_up", "1 where a model server gave metrics.", labels=LABELS)
        seconds = GaugeMetricFamily("pointsman_scrape_seconds", "How long its page took.", labels=LABELS)
        samples = GaugeMetricFamily("pointsman_scrape_samples", "Samples taken of it.", labels=LABELS)
        left_out = GaugeMetricFamily("pointsman_scrape_left_out", "Samples not taken.", labels=LABELS)
        for place, visit in self.visits.items():
            labels = place[:3]
            found = visit.found
            up.add_metric(labels, float(found is not None))
            seconds.add_metric(labels, visit.seconds)
            samples.add_metric(labels, 0 if found is None else found.samples)
            left_out.add_metric(labels, 0 if found is None else found.left_out)
        yield from (up, seconds, samples, left_out)

    async def _visit(self, place: Place, slots: asyncio.Semaphore) -> Visit:
        async with slots:
            began = self._clock.monotonic()
            try:
                page = await self._page(place)
                found = await asyncio.to_thread(scraped.read, page, place.labels)
            except (ScrapeError, ValueError) as error:
                return Visit(None, str(error), self._clock.monotonic() - began)
            return Visit(found, None, self._clock.monotonic() - began)

    async def _page(self, place: Place) -> str:
        try:
            client = await self._client(place.trust)
            name = place.trust.server_name
            extensions = {} if name is None else {"sni_hostname": name}
            # The client's own timeout bounds each read: a server that drips would never be too late.
            async with (
                asyncio.timeout(PATIENCE),
                client.stream("GET", place.url, headers=HEADERS, extensions=extensions) as answer,
            ):
                content = await _content(answer)
        except TimeoutError as error:
            raise ScrapeError(f"no whole page within {PATIENCE:g} s") from error
        except (OSError, ssl.SSLError, httpx.HTTPError, httpx.InvalidURL) as error:
            await self._forget(place.trust)
            raise ScrapeError(str(error) or type(error).__name__) from error
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ScrapeError("the page is not UTF-8") from error

    async def _client(self, trust: Trust) -> httpx.AsyncClient:
        client = self._clients.get(trust)
        if client is None:
            context = await asyncio.to_thread(_context, trust)
            client = self._clients.setdefault(
                trust,
                httpx.AsyncClient(
                    verify=context,
                    # Kept for ever, and sent to the next server on the same host, if any were taken.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                    timeout=PATIENCE,
                    trust_env=False,
                    follow_redirects=False,
                    limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
                ),
            )
        return client

    async def _forget(self, trust: Trust) -> None:
        """Certificates may have been replaced: read them again the next time."""
        if trust != Trust():
            self._clients.pop(trust, None)


def places(settings: Settings) -> list[Place]:
    """Every place that `settings` name, each once."""
    found: dict[Place, None] = {}
    for endpoint in settings.endpoints:
        for version, where in (
            (endpoint.incumbent, endpoint.incumbent_metrics),
            (endpoint.candidate, endpoint.candidate_metrics),
        ):
            if version is not None and where is not None:
                found |= dict.fromkeys(_places(endpoint.name, version, where))
    return list(found)


def _places(endpoint: str, version: Version, where: str) -> Iterator[Place]:
    if not where.startswith("/"):
        parts = urlsplit(where)
        trust = version.upstreams[0].policy.trust if parts.scheme == "https" else Trust()
        yield Place(endpoint, version.name, f"{parts.scheme}://{parts.netloc}", where, trust)
        return
    for upstream in version.upstreams:
        scheme = "https" if upstream.tls else "http"
        url = f"{scheme}://{upstream.authority}{where}"
        yield Place(endpoint, version.name, str(upstream), url, upstream.policy.trust)


def _together(visits: list[Visit]) -> Iterator[Visit]:
    """`visits`, of which those that are one too many have failed."""
    samples = 0
    for visit in visits:
        if visit.found is None:
            yield visit
        elif samples + visit.found.samples > MOST_TOGETHER:
            yield Visit(None, f"all servers together give more than {MOST_TOGETHER} samples", visit.seconds)
        else:
            samples += visit.found.samples
            yield visit


def _context(trust: Trust) -> ssl.SSLContext:
    """Raises OSError or SSLError when a file cannot be used."""
    context = ssl.create_default_context(cafile=trust.ca)
    if trust.certificate is not None:
        context.load_cert_chain(trust.certificate, trust.key)
    return context


async def _content(answer: httpx.Response) -> bytes:
    """The whole body. Raises ScrapeError where it is none to be read."""
    if answer.status_code != 200:
        raise ScrapeError(f"it answers HTTP {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ScrapeError("it answers in a content coding, and was asked for none")
    parts: list[bytes] = []
    length = 0
    async for part in answer.aiter_raw():
        parts.append(part)
        length += len(part)
        if length > LARGEST:
            raise ScrapeError(f"the page has more than {LARGEST} bytes")
    return b"".join(parts)
