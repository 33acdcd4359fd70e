"""One suite for every flag platform that is asked unit by unit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from domain.exposure import Question
from routing.sources.evaluator import Evaluation, Evaluator
from tests.support.flag_platforms import PLATFORMS, Platform, platform

PATIENCE = 20.0


@pytest.fixture(params=PLATFORMS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Platform]:
    with platform(request.param, tmp_path) as one:
        one.set({"canary": ["anna"]})
        yield one


@asynccontextmanager
async def started(one: Platform, known: Mapping[str, str] | None = None) -> AsyncIterator[Evaluator]:
    evaluator = one.evaluator(known=known)
    await evaluator.start()
    try:
        yield evaluator
    finally:
        await evaluator.close()


async def exposed(evaluator: Evaluator, *units: str, flag: str = "canary") -> list[bool | None]:
    return [one.exposed for one in await evaluator.evaluate([Question(flag, unit) for unit in units])]


def test_units_are_exposed_as_the_platform_says(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served) as evaluator:
            assert await exposed(evaluator, "anna", "bo", "anna") == [True, False, True]

    asyncio.run(scenario())


def test_a_flag_that_is_not_there_exposes_nobody_and_says_so(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served) as evaluator:
            (found,) = await evaluator.evaluate([Question("missing", "anna")])
            assert found.exposed is False
            assert "FLAG_NOT_FOUND" in found.problem

    asyncio.run(scenario())


def test_a_change_at_the_platform_is_answered(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served) as evaluator:
            assert await exposed(evaluator, "anna", "bo") == [True, False]
            await asyncio.to_thread(served.set, {"canary": ["bo"]})
            async with asyncio.timeout(PATIENCE):
                while await exposed(evaluator, "anna", "bo") != [False, True]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_fields_of_the_request_and_of_the_place_do_not_disturb(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served, {"environment": "production", "appName": "pointsman"}) as evaluator:
            question = Question("canary", "anna", (("country", "se"),))
            assert await evaluator.evaluate([question]) == [Evaluation(True)]

    asyncio.run(scenario())


def test_many_units_at_once_have_each_its_own_answer(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served) as evaluator:
            units = [f"u{number}" for number in range(40)]
            found = await exposed(evaluator, *units, "anna")
            assert found == [False] * 40 + [True]

    asyncio.run(scenario())


def test_what_is_closed_answers_nothing_and_can_be_closed_again(served: Platform) -> None:
    async def scenario() -> None:
        evaluator = served.evaluator()
        assert await exposed(evaluator, "anna") == [None], "not started"
        await evaluator.start()
        await evaluator.close()
        assert await exposed(evaluator, "anna") == [None]
        await evaluator.close()

    asyncio.run(scenario())


def test_a_platform_can_be_followed_again_in_another_loop(served: Platform) -> None:
    async def scenario() -> None:
        async with started(served) as evaluator:
            assert await exposed(evaluator, "anna") == [True]

    asyncio.run(scenario())
    asyncio.run(scenario())


@pytest.mark.parametrize("served", ["flagd", "launchdarkly relay"], indirect=True)
def test_a_platform_that_tells_of_changes_has_them_told(served: Platform) -> None:

    async def scenario() -> None:
        changed = threading.Event()
        evaluator = served.evaluator(changed.set)
        await evaluator.start()
        try:
            changed.clear()
            await asyncio.to_thread(served.set, {"canary": ["bo"]})
            assert await asyncio.to_thread(changed.wait, PATIENCE)
        finally:
            await evaluator.close()

    asyncio.run(scenario())
