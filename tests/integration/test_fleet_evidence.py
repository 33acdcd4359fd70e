"""Evidence of several replicas is one: the same bits everywhere, each pair once, one kill a breach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from killswitch.evidence import Increment
from killswitch.evidence_log import Evidence, Moved, Sent
from killswitch.increments import GuardIncrement, Increments
from killswitch.rise import Segment
from killswitch.stores.redis_log import RedisLog
from tests.support.control import batch, pair
from tests.support.fleet import Replica, fleet, replica
from tests.support.redis_server import RedisServer


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 100)

    asyncio.run(bounded())


def _joined(one: Replica) -> bool:
    return one.joined


def test_evidence_adds_up_to_the_same_bits_and_the_release_moves_once_for_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url) as replicas:
            await replicas.all(_joined)
            await replicas.send(50, rounds=4)
            await replicas.until(lambda: replicas.agreed(600))
            await replicas.all(lambda one: one.judge.progress.stage == 1)
            assert len({one.judge.progress.since for one in replicas.replicas}) == 1
            weights = {one.worker.snapshot.endpoint("rain").weight for one in replicas.replicas}
            assert weights == {2500}

    _run(scenario)


def test_a_breach_is_one_kill_and_a_rearm_begins_the_evidence_again_everywhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url) as replicas:
            await replicas.all(_joined)
            await replicas.send(20)
            await replicas.send(10, bad=1.0)
            await replicas.all(lambda one: one.board.tripped("rain"))
            kills = {frozenset(one.board.kill_state("rain").kills) for one in replicas.replicas}
            assert len(kills) == 1
            (kill,) = kills.pop()
            assert kill.actor.startswith("guard:")
            assert (await replicas.replicas[1].post("rearm", reason="fixed", kills=[kill.id]))[0] == 200
            await replicas.all(lambda one: not one.board.tripped("rain"))
            await replicas.all(_joined)
            await replicas.send(5)
            await replicas.until(lambda: replicas.agreed(15))
            assert {one.judge.progress.stage for one in replicas.replicas} == {0}

    _run(scenario)


def test_many_small_batches_are_few_entries_and_no_pair_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            one = replicas.replicas[0]
            copy = one.membership.evidence.copy("rain")
            assert copy is not None
            before = copy.index
            now = one.board.snapshot.generation
            batches = [
                batch(number, [pair(number, generation=now)], one.worker.session) for number in range(1, 401)
            ]
            one.worker.say(*batches)
            await replicas.until(lambda: replicas.agreed(400))
            assert 1 <= copy.index - before <= 100

    _run(scenario)


class Slow:
    """A store whose checkpoints come when `gate` opens; everything else is the real one's."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def standing(self, *which: Any) -> Any:
        found = await self._store.standing(*which)
        self.asked.set()
        await self.gate.wait()
        return found


def test_a_checkpoint_that_comes_after_a_rearm_brings_no_old_stage_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            await replicas.send(50, rounds=4)
            await replicas.all(lambda one: one.judge.progress.stage == 1)
            one = replicas.replicas[1]
            evidence = one.membership.evidence
            follower = evidence._follower
            slow: Any = Slow(follower._store)
            follower._store = slow
            evidence.look = asyncio.Event().wait  # nothing else tells it that the trial is another one
            trial = evidence._trials.of("rain")
            assert trial is not None
            evidence._trials.apply(trial, trial.copy.lost())
            joining = asyncio.get_running_loop().create_task(follower.follow(trial))
            await slow.asked.wait()
            status, answer = await one.post("kill", reason="bad")
            assert status == 200
            assert (await one.post("rearm", reason="fixed", kills=[answer["kill"]]))[0] == 200
            slow.gate.set()
            await joining
            assert one.judge.progress.stage == 0
            assert one.worker.snapshot.endpoint("rain").weight == 0

    _run(scenario)


def test_apart_each_goes_on_alone_and_afterwards_every_pair_counts_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url) as replicas:
            await replicas.all(_joined)
            await replicas.send(10, rounds=2)
            await replicas.until(lambda: replicas.agreed(60))
            await server.save()
            await replicas.send(10, bad=0.02, rounds=2)
            await replicas.until(lambda: replicas.agreed(120))
            server.kill()
            await replicas.send(10, rounds=3)
            assert {one.judge.tally.judged for one in replicas.replicas} == {150}
            assert {one.judge.progress.stage for one in replicas.replicas} == {0}
            await server.start()  # as a failover that lost the latest writes
            await replicas.until(lambda: replicas.agreed(210))
            await replicas.send(10)
            await replicas.until(lambda: replicas.agreed(240))

    _run(scenario)


def test_cut_off_a_replica_trips_on_its_own_evidence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            server.kill()
            one, two = replicas.replicas
            bad = [pair(n, 0.9, generation=one.board.snapshot.generation) for n in range(60)]
            await one.send(bad)
            await replicas.until(lambda: one.board.tripped("rain"))
            assert not two.board.tripped("rain")
            await server.start(with_data=False)
            await replicas.until(lambda: two.board.tripped("rain"))

    _run(scenario)


def test_a_replica_that_restarts_or_joins_has_the_evidence_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            await replicas.send(20, bad=0.02)
            async with replica(tmp_path, server.url, 5) as late:
                await replicas.until(lambda: late.joined)
                replicas.replicas.append(late)
                await replicas.until(lambda: replicas.agreed(40))
                await replicas.send(10)
                await replicas.until(lambda: replicas.agreed(70))
                replicas.replicas.pop()
            server.kill()
            async with replica(tmp_path, server.url, 5) as alone:
                await alone.send([pair(n, generation=alone.board.snapshot.generation) for n in range(10)])
                assert alone.judge.tally.judged == 80
            await server.start(with_data=False)
            async with replica(tmp_path, server.url, 5) as back:
                replicas.replicas.append(back)
                await replicas.until(lambda: replicas.agreed(80))

    _run(scenario)


def test_entries_that_fit_no_guard_and_no_plan_are_counted_and_others_follow(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            await replicas.send(10)
            await replicas.until(lambda: replicas.agreed(20))
            one = replicas.replicas[0]
            trial = one.membership.evidence._trials.of("rain")
            assert trial is not None
            assert trial.copy.epoch is not None
            three = np.zeros(3)
            bets = GuardIncrement(Increment((0.0, 0.0, 0.0), 1, 0.0, 0.0), Segment(three, three, None), None)
            # As a release would write them that bets otherwise.
            misfit = Evidence(1.0, (Increments({"flips": bets}),))
            entries: tuple[Evidence | Moved, ...] = misfit, Moved(0, 0, 999, 1.0)
            logs = RedisLog(one.membership.client)
            for number, entry in enumerate(entries, 1):
                sent = Sent("other", number, entry)
                assert (await logs.append(trial.name, trial.copy.epoch, sent)).kind == "ok"
            await replicas.all(lambda each: each.membership.evidence.garbage == 1)
            await replicas.send(10)
            await replicas.until(lambda: replicas.agreed(40))
            assert {each.judge.progress.stage for each in replicas.replicas} == {0}
            for each in replicas.replicas:
                running = {task.get_name() for task in each.here.control._tasks._running}
                assert {"listening to evidence", "evidence logs"} <= running

    _run(scenario)


def test_a_batch_that_a_worker_sends_again_after_a_crash_counts_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RedisServer() as server, fleet(tmp_path, server.url, 2) as replicas:
            await replicas.all(_joined)
            one = replicas.replicas[0]
            await replicas.send(10)
            await replicas.until(lambda: replicas.agreed(20))
            evidence = one.membership.evidence
            assert evidence.holds("rain", one.worker.session, 1)
            assert not evidence.holds("rain", one.worker.session, 2)
            # A new life knows it from the log, though its disk knew nothing of it.
            async with replica(tmp_path, server.url, 6) as other:
                await replicas.until(lambda: other.joined)
                await replicas.until(lambda: other.membership.evidence.holds("rain", one.worker.session, 1))

    _run(scenario)
