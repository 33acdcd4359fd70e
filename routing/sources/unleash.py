"""Flags from an Unleash server: polled by Unleash's own SDK, in the control process only.

`AsyncUnleashClient` polls; a cache of ours is told every new state, which is what workers get. Three things
are not left to the SDK (version 6.9, docs/adr/0007-unleash.md says how they were found):

* its transport, which has no bounds: `ClientFeatures` is asked instead, and the SDK never holds the token;
* its word that it is initialised, which it gives when the server is down: `problem` says what is true;
* its engine, which would parse the whole state at every poll: it is given an empty one, for nobody asks it.

A state is a candidate until the flags that endpoints name have been compiled from it. One that does not
compile is refused whole, and the last good one stays. What a fetch costs is paid off the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from UnleashClient._transport import FetchResult
from UnleashClient.cache import BaseCache
from UnleashClient.clients.async_unleash_client import AsyncUnleashClient
from UnleashClient.constants import FEATURES_URL
from UnleashClient.utils import InstanceAllowType

from domain.errors import ConfigError, PointsmanError, StateUnavailable
from routing.excerpt import Excerpt, excerpt
from routing.exposure import check
from routing.sources.client_features import ClientFeatures
from settings.schema import UnleashSettings

WHOLE_EVERY = 300.0
"""Seconds after which a document is fetched whole again, whatever its ETag: a proxy may say 304 for ever."""

LONGEST_PAUSE = 10.0
"""Seconds that polling rests at most after failures."""

CHANGED, SAME, REFUSED, FAILED = "changed", "same", "refused", "failed"
OUTCOMES = (CHANGED, SAME, REFUSED, FAILED)

_NOTHING = '{"version":2,"features":[]}'


class UnleashFlags:
    """The flags `names` of one Unleash environment and project.

    `took` gets each new document, on the event loop; `fetched` is called after every fetch; `monotonic` gives
    seconds.

    Attributes:
        problem: why the last fetch gave nothing to serve, None when it did.
        missing: the names that Unleash did not have.
        fetches: by outcome.
        document: what is served, in client-features format; None before the first.
        heard_at: when Unleash last confirmed what is served; None before it ever did.
        changed_at: when what is served last changed; None before the first.
    """

    def __init__(
        self,
        server: UnleashSettings,
        features: ClientFeatures,
        names: Collection[str],
        took: Callable[[bytes], object],
        fetched: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.server = server
        self.problem: PointsmanError | None = StateUnavailable("Unleash has not been asked yet")
        self.missing: frozenset[str] = frozenset()
        self.fetches: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.document: bytes | None = None
        self.heard_at: float | None = None
        self.changed_at: float | None = None
        self._features = features
        self._names = frozenset(names)
        self._took = took
        self._fetched = fetched
        self._monotonic = monotonic
        self._fetching = asyncio.Lock()
        self._etag = ""
        self._whole_at = -WHOLE_EVERY

        self._refusal: ConfigError | None = None
        self._failures = 0
        self._resting_until = 0.0
        self._made_at = monotonic()
        self._client = AsyncUnleashClient(
            url=server.url,
            app_name=server.app_name,
            environment=server.environment,
            refresh_interval=server.poll,  # type: ignore[arg-type] # the scheduler takes any number of seconds
            disable_metrics=True,
            disable_registration=True,
            project_name=server.project,
            cache=_NewStates(self._take),
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
        )
        self._client._transport = _Transport(self.fetch, features.close)  # type: ignore[assignment] # see above: the SDK's has no bounds

    async def start(self) -> None:
        """Fetch once, well or not, and poll from then on."""
        await self._client.initialize_client()

    async def close(self) -> None:
        """Poll no more."""
        await self._client.destroy()

    async def refresh(self) -> bytes:
        """Fetch now; answers the document in force.

        Raises StateUnavailable, or ConfigError for a document that is refused.
        """
        document = await self.fetch(patient=False)
        if document is not None:
            self._take(document)
        if self.problem is not None:
            raise self.problem
        assert self.document is not None  # noqa: S101 - a fetch without a problem has found one
        return self.document

    @property
    def confirmed_age(self) -> float:
        """Seconds since Unleash confirmed what is served, or since the start if it never did."""
        return self._monotonic() - (self._made_at if self.heard_at is None else self.heard_at)

    @property
    def changed_age(self) -> float | None:
        """Seconds since what is served last changed; None before the first document."""
        return None if self.changed_at is None else self._monotonic() - self.changed_at

    async def fetch(self, *, patient: bool = True) -> bytes | None:
        """The document that is new, compiled once already; None when there is nothing new to serve.

        A patient fetch rests for a while after failures. The caller must take the document before it awaits
        anything else.
        """
        async with self._fetching:
            if patient and self._monotonic() < self._resting_until:
                return None
            try:
                found = await self._ask()
            except PointsmanError as error:
                self._failed(error)
                self._fetched()
                return None
            self._failures, self._resting_until = 0, 0.0
            self.problem = None
            self.heard_at = self._monotonic()
            self.fetches[SAME if found is None else CHANGED] += 1
            self._fetched()
            return found

    async def _ask(self) -> bytes | None:
        whole = self._monotonic() - self._whole_at >= WHOLE_EVERY
        answer = await self._features.fetch("" if whole else self._etag)
        if answer.document is None:
            if self._refusal is not None:
                raise self._refusal
            return None
        self._whole_at, self._etag = self._monotonic(), answer.etag
        try:
            found = await asyncio.to_thread(_compiled, answer.document, self._names)
        except ConfigError as error:
            self._refusal = ConfigError(f"Unleash: {error.path}", error.value, error.allowed)
            raise self._refusal from error
        self._refusal = None
        self.missing = found.missing
        return None if found.document == self.document else found.document

    def _failed(self, error: PointsmanError) -> None:
        self.problem = error
        self.fetches[REFUSED if isinstance(error, ConfigError) else FAILED] += 1
        if not isinstance(error, ConfigError):
            # An ETag that led to a failure is not asked by again: the answer may be the proxy's.
            self._whole_at = -WHOLE_EVERY
            pause = min(LONGEST_PAUSE, self.server.poll * 2**self._failures)
            self._failures = min(self._failures + 1, 16)
            self._resting_until = self._monotonic() + pause

    def _take(self, document: bytes) -> None:
        self.document = document
        self.changed_at = self._monotonic()
        self._took(document)


def _compiled(document: bytes, names: frozenset[str]) -> Excerpt:
    found = excerpt(document, names)
    check(found.document)
    return found


class _Transport:
    """What the SDK's poller asks, in place of its own transport."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes | None]], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._fetch = fetch
        self._close = close

    async def fetch_features(self, etag: str = "") -> FetchResult:
        document = await self._fetch()
        # No ETag is given away: the one there is belongs to the whole document, not to its excerpt.
        return FetchResult(None if document is None else document.decode(), "")

    async def aclose(self) -> None:
        await self._close()


class _NewStates(BaseCache):
    """The SDK's cache: hands each new state on and holds none, so that the SDK's engine has none to parse."""

    def __init__(self, took: Callable[[bytes], None]) -> None:
        self._took = took

    def set(self, key: str, value: Any) -> None:
        if key == FEATURES_URL:
            self._took(value.encode())

    def mset(self, data: dict[str, Any]) -> None:
        for key, value in data.items():
            self.set(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        return _NOTHING if key == FEATURES_URL else default

    def exists(self, key: str) -> bool:
        return key == FEATURES_URL

    def destroy(self) -> None:
        """Nothing is held."""
