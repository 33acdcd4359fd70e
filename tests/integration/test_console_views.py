"""What consoles ask for each second: shared, at most a second old, and never behind a switch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control.clock import Clock
from shadow.wire import LATENCY_BOUNDS, RequestCounts
from tests.support.control import FakeWorker, Here, batch, document, here, pair, write


class Standstill:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


def counts(arm: str, status: int, requests: int) -> RequestCounts:
    buckets = [0] * (len(LATENCY_BOUNDS) + 1)
    buckets[3] = requests
    return RequestCounts(
        "rain", f"rain-{1 if arm == 'incumbent' else 2}", arm, status, requests, buckets, 0.1
    )


def with_worker(
    folder: Path, steps: Callable[[Here, FakeWorker, Standstill], Awaitable[None]], **endpoint: Any
) -> None:
    async def story() -> None:
        time = Standstill()
        async with here(folder, clock=time.clock(), **endpoint) as started:
            worker = await FakeWorker().connect(started.link)
            try:
                await steps(started, worker, time)
            finally:
                await worker.close()

    asyncio.run(story())


async def overview(started: Here) -> Any:
    answer = await started.client.get("/api/v1/overview")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def judged(
    started: Here, worker: FakeWorker, time: Standstill, y: float = 0.5, count: int = 40
) -> None:
    """Hear `count` pairs of now; the candidate predicts `y`."""
    generation = started.control.switchboard.snapshot.generation
    before = started.control.switchboard.judge("rain").tally.judged
    pairs = [pair(before + one, y, generation=generation, at=time.now - 1) for one in range(count)]
    worker.say(batch(before + 1, pairs, requests=[counts("incumbent", 200, 18), counts("incumbent", 503, 2)]))
    await started.until(lambda: started.control.switchboard.judge("rain").tally.judged > before)


def test_it_is_worked_out_once_however_many_ask(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        found = started.control.panel.overview
        before = found.worked_out
        await asyncio.gather(*(overview(started) for _ in range(20)))
        assert found.worked_out == before + 1
        first = await started.client.get("/api/v1/overview")
        again = await started.client.get("/api/v1/overview", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        time.now += 1.0
        await asyncio.gather(*(overview(started) for _ in range(20)))
        assert found.worked_out == before + 2

    with_worker(tmp_path, steps)


def test_a_kill_is_shown_at_once_by_what_was_worked_out_before_it(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        view = "/api/v1/endpoints/rain?cached=true"
        (row,) = (await overview(started))["endpoints"]
        tag = (await started.client.get(view)).headers["etag"]
        again = await started.client.get(view, headers={"if-none-match": tag})
        assert again.status_code == 304
        assert (row["attention"], row["switch"]["tripped"]) == ("trial", False)
        kill = await started.client.post("/api/v1/endpoints/rain/kill", json={"reason": "it smells"})
        assert kill.status_code == 200
        (row,) = (await overview(started))["endpoints"]
        assert (row["attention"], row["switch"]["tripped"]) == ("out", True)
        assert (row["switch"]["kills"], row["switch"]["reason"]) == (1, "it smells")
        seen = await started.client.get(view, headers={"if-none-match": tag})
        assert seen.json()["switch"]["tripped"]

    with_worker(tmp_path, steps)


def test_what_needs_somebody_comes_first(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        await judged(started, worker, time)
        (row,) = (await overview(started))["endpoints"]
        assert row["attention"] == "trial"
        await judged(started, worker, time, y=0.9, count=3)  # not yet enough for a trip
        time.now += 10
        (row,) = (await overview(started))["endpoints"]
        assert (row["attention"], row["switch"]["tripped"]) == ("watch", False)
        assert row["guards"][0]["guard"] == "flips"
        assert 0.5 <= row["guards"][0]["closeness"] < 1

    with_worker(tmp_path, steps)


def test_an_endpoint_without_a_candidate_needs_nobody(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        (row,) = (await overview(started))["endpoints"]
        assert (row["attention"], row["candidate"]) == ("none", None)

    configuration = document(tmp_path, candidate=None)
    for key in ("plan", "guards", "flag"):
        del configuration["endpoints"]["rain"][key]
    write(tmp_path, configuration)
    with_worker(tmp_path, steps)


def test_a_sample_tells_what_both_arms_did(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        sampler = started.control.sampler
        await sampler.sample()
        await judged(started, worker, time)
        time.now += 2.0
        await sampler.sample()
        told = (await started.client.get("/api/v1/endpoints/rain/history")).json()
        columns = told["columns"]
        assert columns["incumbent"]["requests"][-1] == 10.0  # 20 in two seconds
        assert columns["incumbent"]["errors"][-1] == 1.0
        assert columns["incumbent"]["p95"][-1] == columns["candidate"]["p95"][-1] == 0.002
        assert columns["divergence"][-1] == 0.0
        assert columns["guards"]["flips"]["estimate"][-1] == 0.0
        assert columns["guards"]["flips"]["low"][-1] <= 0.0 <= columns["guards"]["flips"]["high"][-1]
        assert len(told["at"]) == told["next"] == 2
        row = (await overview(started))["endpoints"][0]
        assert row["flow"]["incumbent"]["requests"] == 5.0  # the mean of both samples
        newer = (await started.client.get(f"/api/v1/endpoints/rain/history?after={told['next']}")).json()
        assert newer["at"] == []

    with_worker(tmp_path, steps)


def test_a_trip_leaves_its_mark_on_the_curves(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        await started.client.post("/api/v1/endpoints/rain/kill", json={"reason": "it smells"})
        await started.control.sampler.sample()
        told = (await started.client.get("/api/v1/endpoints/rain/history")).json()
        assert [(one["kind"], one["text"]) for one in told["marks"]] == [("trip", "candidate out: operator")]
        assert told["columns"]["tripped"] == [1.0]

    with_worker(tmp_path, steps)


def test_arms_without_pairs_are_timed_by_what_clients_got(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        await started.control.sampler.sample()
        worker.say(batch(1, [], requests=[counts("incumbent", 200, 10)]))
        await started.until(lambda: bool(started.control.switchboard.tallies.requests))
        time.now += 2.0
        await started.control.sampler.sample()
        columns = (await started.client.get("/api/v1/endpoints/rain/history")).json()["columns"]
        low, high = LATENCY_BOUNDS[2], LATENCY_BOUNDS[3]
        assert low <= columns["incumbent"]["p50"][-1] <= high
        assert "p50" not in columns["candidate"]

    with_worker(tmp_path, steps)


def test_a_bad_question_names_its_field(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        for query in ("span=week", "after=-1", "after=x"):
            answer = await started.client.get(f"/api/v1/endpoints/rain/history?{query}")
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == f"query.{query.partition('=')[0]}"
        assert (await started.client.get("/api/v1/endpoints/snow/history")).status_code == 404
        assert (await started.client.get("/api/v1/endpoints/snow?cached=true")).status_code == 404

    with_worker(tmp_path, steps)


def test_whoever_asks_is_told_who_they_are(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        told = (await started.client.get("/api/v1/whoami")).json()
        assert told == {
            "name": "operator", "authentication": "", "role": "admin", "endpoints": {}, "expires": None
        }  # fmt: skip

    with_worker(tmp_path, steps)


def test_the_page_and_all_it_names_are_there(tmp_path: Path) -> None:
    async def steps(started: Here, worker: FakeWorker, time: Standstill) -> None:
        page = await started.client.get("/")
        assert page.headers["cache-control"] == "no-cache"
        named = [part.split('"')[0] for part in page.text.split('="')[1:] if part.startswith("assets/")]
        assert len(named) > 5
        for one in named:
            asset = await started.client.get(f"/{one}")
            assert asset.status_code == 200, one
            assert "immutable" in asset.headers["cache-control"]
            assert "script-src 'self'" in asset.headers["content-security-policy"]
        digest = named[0].split("/")[1]
        for wrong in (f"/assets/{digest}/../site.py", f"/assets/{digest}/index.html", "/assets/0/main.js"):
            assert (await started.client.get(wrong)).status_code == 404

    with_worker(tmp_path, steps)
