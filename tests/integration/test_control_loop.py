"""The hot loop of the control process: workers' pairs in, evidence, a trip, and what workers are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from domain.routing import Arm, Mode
from shadow.wire import BreakerOpened
from tests.support.control import FakeWorker, batch, here, pair


def test_a_worker_is_greeted_with_the_snapshot_in_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            rain = worker.snapshot.endpoint("rain")
            assert (rain.tripped, rain.mode, rain.weight) == (False, Mode.SHADOW, 0)
            assert b"canary" in worker.snapshot.flags
            await worker.close()

    asyncio.run(scenario())


def test_good_pairs_move_the_release_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            await worker.send([pair(n, generation=generation) for n in range(600)], 1)
            await worker.until(lambda: worker.snapshot.endpoint("rain").mode is Mode.CANARY)
            assert worker.snapshot.endpoint("rain").weight == 2500
            shown = await control.endpoint()
            assert shown["release"]["stage"] == 1
            assert shown["verdict"] == "pass"
            await worker.close()

    asyncio.run(scenario())


def test_bad_pairs_trip_the_switch_and_the_story_has_its_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            await worker.send([pair(n, generation=generation) for n in range(300)], 1)
            bad = [pair(n, 0.9, generation=generation, served=Arm.CANDIDATE) for n in range(300, 400)]
            worker.say(batch(2, bad))
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            await control.until(
                lambda: bool(control.control.switchboard.judges["rain"].last_trip.confirmed_at)
            )
            shown = await control.endpoint()
            trip = shown["last_trip"]
            assert shown["switch"]["tripped"]
            assert shown["switch"]["kills"][0]["actor"] == trip["cause"] == "guard:flips"
            assert trip["first_bad_at"] < trip["last_bad_served_at"] < trip["breach_at"] <= trip["trip_at"]
            assert trip["trip_ms"] > 0
            assert trip["detection_pairs"] > 0
            assert trip["estimate"] > trip["tolerance"] == 0.01
            assert trip["evidence"] >= 1000
            assert "flips" in trip["sentence"]
            late = pair(999, 0.9, generation=generation, served=Arm.CANDIDATE, at=2_000_000_000.0)
            await worker.send([late], 3)
            shown = await control.endpoint()
            assert shown["last_trip"]["last_bad_served_at"].startswith("2033-")
            assert shown["pairs"]["stale"] >= 1
            await worker.close()

    asyncio.run(scenario())


def test_every_pair_counts_once_however_often_its_batch_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            pairs = [pair(n, generation=worker.snapshot.generation) for n in range(10)]
            worker.say(batch(1, pairs), batch(1, pairs))
            await worker.until(lambda: worker.acknowledged == 1)
            await worker.close()
            worker = await FakeWorker().connect(control.link)
            worker.say(batch(1, pairs))
            await worker.send(pairs, 2)
            assert (await control.endpoint())["pairs"]["judged"] == 20
            await worker.close()

    asyncio.run(scenario())


def test_a_workers_breaker_is_latched_for_the_fleet_but_not_from_before_a_rearm(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            one = await FakeWorker(0, "a").connect(control.link)
            two = await FakeWorker(1, "b").connect(control.link)
            opened = BreakerOpened("rain", "rain-2", two.snapshot.generation, 5, "connection refused")
            two.say(opened)
            await one.until(lambda: one.snapshot.endpoint("rain").tripped)
            shown = await control.endpoint()
            assert shown["switch"]["kills"][0]["actor"] == "breaker:worker-1"
            assert shown["switch"]["breakers"] == [{"worker": 1, "reason": "connection refused"}]
            assert (
                await control.client.post("/api/v1/endpoints/rain/rearm", json={"reason": "up"})
            ).status_code == 200
            two.say(opened)
            await two.send([], 1)
            assert not (await control.endpoint())["switch"]["tripped"]
            await one.close()
            await two.close()

    asyncio.run(scenario())
