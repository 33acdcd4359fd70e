"""The SDK's poller on our transport, against a server that answers badly in every way."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from domain.errors import ConfigError, PointsmanError, StateUnavailable
from routing.sources import client_features
from routing.sources.client_features import ClientFeatures
from routing.sources.unleash import CHANGED, FAILED, REFUSED, SAME, WHOLE_EVERY, UnleashFlags
from settings.schema import UnleashSettings
from tests.support.unleash_stub import TOKEN, Asked, Stub, feature, features, status, stub

GOOD = features(feature())
Scenario = Callable[["World"], Awaitable[None]]


class World:
    """A stub, the flags that follow it, a clock that a test turns, and what the flags gave."""

    def __init__(self, server: Stub, poll: float) -> None:
        self.server = server
        self.now = 1000.0
        self.taken: list[dict[str, Any]] = []
        self.fetched = 0
        where = UnleashSettings(server.url, "UNLEASH_TOKEN", "development", poll=poll)
        self.flags = UnleashFlags(
            where, ClientFeatures(where, TOKEN), {"canary"}, self._took, self._fetched, lambda: self.now
        )

    def _took(self, document: bytes) -> None:
        self.taken.append(json.loads(document))

    def _fetched(self) -> None:
        self.fetched += 1

    async def refreshed(self) -> PointsmanError | None:
        try:
            await self.flags.refresh()
        except PointsmanError as error:
            return error
        return None

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the SDK's poller has no event
                await asyncio.sleep(0.005)


def run(scenario: Scenario, poll: float = 3600.0) -> None:
    async def there() -> None:
        async with stub() as server:
            world = World(server, poll)
            try:
                await scenario(world)
            finally:
                await world.flags.close()

    asyncio.run(there())


def test_the_sdk_polls_and_every_new_state_is_taken_once() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        assert world.flags.problem is None
        await world.until(lambda: world.fetched >= 3)
        assert len(world.taken) == 1
        world.server.serve(features(feature(enabled=False)))
        await world.until(lambda: len(world.taken) == 2)
        assert [state["features"][0]["enabled"] for state in world.taken] == [True, False]
        assert world.flags.fetches[CHANGED] == 2

    run(scenario, poll=0.02)


def test_unleash_is_asked_as_its_specification_says_and_gets_the_token_only_there() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        (asked,) = world.server.asked
        assert (asked.method, asked.target) == ("GET", "/api/client/features?project=default")
        assert asked.headers["authorization"] == TOKEN
        assert asked.headers["unleash-client-spec"] == "6.1.0"
        assert asked.headers["accept-encoding"] == "identity"
        assert TOKEN not in repr(vars(world.flags._client._config))
        assert TOKEN not in repr(world.flags._features)

    run(scenario)


def test_an_unchanged_document_is_not_sent_again() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        for _ in range(3):
            assert await world.refreshed() is None
        assert "if-none-match" not in world.server.asked[0].headers
        assert world.server.asked[2].headers["if-none-match"]
        assert world.flags.fetches == {CHANGED: 1, SAME: 2, REFUSED: 0, FAILED: 0}
        assert len(world.taken) == 1

    run(scenario)


def test_a_change_elsewhere_in_the_project_is_no_change_here() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        world.server.serve(features(feature("other"), feature()))
        assert await world.refreshed() is None
        assert world.flags.fetches[SAME] == 1

    run(scenario)


async def _garbage(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff" * 100 + b"\r\n\r\n")
    writer.close()


async def _cut(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + GOOD[:20])
    writer.close()


async def _endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


async def _dripping(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


NOT_FLAGS = [
    (status(500), "HTTP 500"),
    (status(429), "HTTP 429"),
    (status(302, b"", "location: http://127.0.0.1:1/"), "HTTP 302"),
    (status(304), "was not asked that"),
    (status(401), "does not know the token in UNLEASH_TOKEN"),
    (status(403), "backend token of environment 'development'"),
    (status(200, gzip.compress(GOOD), "content-encoding: gzip"), "'gzip', which was not asked for"),
    (_garbage, "cannot be reached"),
    (_cut, "cannot be reached"),
    (_endless, "bytes of flags"),
    (_dripping, "took longer than"),
    (_silent, "took longer than"),
]
NOT_A_DOCUMENT = [
    (b"<html>gateway</html>", "not JSON"),
    (b"", "not JSON"),
    (b"[]", "JSON object"),
    (b'{"version":2}', "flags.features"),
    (
        features(feature(rollout="50%")),
        r"features\[canary\].strategies\[0 flexibleRollout\].parameters.rollout",
    ),
    (features(feature(), feature()), "unique"),
]


@pytest.mark.parametrize(("answer", "reason"), NOT_FLAGS)
def test_an_answer_that_is_no_flags_keeps_the_last_good_ones_and_says_why(
    answer: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_features, "DEADLINE", 0.3)
    monkeypatch.setattr(client_features, "LARGEST", 1_000_000)

    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        world.now += WHOLE_EVERY
        world.server.answer = answer
        problem = await world.refreshed()
        assert isinstance(problem, StateUnavailable)
        assert reason in str(problem)
        assert TOKEN not in str(problem)
        assert world.flags.problem is problem
        assert len(world.taken) == 1
        assert world.flags.confirmed_age == WHOLE_EVERY
        world.server.serve(GOOD)
        assert await world.refreshed() is None
        assert world.flags.confirmed_age == 0
        assert len(world.taken) == 1

    run(scenario)


@pytest.mark.parametrize(("document", "reason"), NOT_A_DOCUMENT)
def test_a_document_that_does_not_compile_is_refused_whole_and_read_once(
    document: bytes, reason: str
) -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        world.server.serve(document)
        for _ in range(2):
            problem = await world.refreshed()
            assert isinstance(problem, ConfigError)
            with pytest.raises(ConfigError, match=reason):
                raise problem
        assert world.flags.fetches[REFUSED] == 2
        assert "if-none-match" in world.server.asked[-1].headers, "the second answer was a 304"
        assert len(world.taken) == 1

    run(scenario)


def test_nothing_has_changed_for_ever_is_found_out() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(GOOD)
        await world.flags.start()
        world.server.answer = status(304)
        world.now += WHOLE_EVERY / 2
        assert await world.refreshed() is None
        assert world.flags.changed_age == WHOLE_EVERY / 2
        world.now += WHOLE_EVERY / 2
        assert isinstance(await world.refreshed(), StateUnavailable)

    run(scenario)


def test_a_server_that_is_away_at_the_start_leaves_nothing_ready_and_is_found_when_it_comes() -> None:
    async def scenario(world: World) -> None:
        await world.flags.start()
        assert isinstance(world.flags.problem, StateUnavailable)
        assert world.flags._client.is_initialized, "as the SDK sees it"
        assert world.taken == []
        world.server.serve(GOOD)
        world.now += 3600
        await world.until(lambda: bool(world.taken))
        assert world.flags.problem is None

    run(scenario, poll=0.02)


def test_polling_rests_after_failures_and_a_refresh_does_not() -> None:
    async def scenario(world: World) -> None:
        await world.flags.start()
        for _ in range(5):
            assert await world.flags.fetch() is None
        assert len(world.server.asked) == 1
        await world.refreshed()
        assert len(world.server.asked) == 2
        world.now += 10.0
        await world.flags.fetch()
        assert len(world.server.asked) == 3

    run(scenario)


def test_a_flag_that_unleash_does_not_have_is_missing() -> None:
    async def scenario(world: World) -> None:
        world.server.serve(features(feature("other")))
        await world.flags.start()
        assert world.flags.problem is None
        assert world.flags.missing == {"canary"}
        assert world.taken[0]["features"] == []

    run(scenario)
