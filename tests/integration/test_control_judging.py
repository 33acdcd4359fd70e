"""Judging as the control process does it: noise, labels, counts, cohorts, servers, and hostile answers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

from domain.observation import Pair
from shadow.wire import RequestCounts, ServerReport
from tests.support.control import FakeWorker, Here, batch, here, pair

CLASSES = {"kind": "classification", "labels": ["dry", "rain"]}


def classified(number: int, incumbent: bytes, candidate: bytes, **more: Any) -> Pair:
    one = pair(number, **more)
    return one._replace(
        incumbent=one.incumbent._replace(body=incumbent), candidate=one.candidate._replace(body=candidate)
    )


async def metric(control: Here, name: str) -> dict[str, float]:
    """The samples of one metric by their labels as written."""
    text = (await control.client.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith(name) and not line.startswith("#")]
    return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}


def test_an_endpoint_shows_bounds_what_a_pass_takes_and_where_it_diverges(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint: dict[str, Any] = {
            "cohorts": ["header:x-country", "feature:age"],
            "guards": {"flips": {"rate": "40%"}},
        }
        async with here(tmp_path, **endpoint) as control:
            worker = await FakeWorker().connect(control.link)
            rain = worker.snapshot.endpoint("rain")
            assert (rain.cohorts, rain.keep_request) == (("x-country",), True)
            generator = random.Random(1)
            pairs = []
            for number in range(1500):
                age = generator.uniform(0, 100)
                bad = age > 90
                pairs.append(
                    pair(
                        number, 0.9 if bad else 0.5, generation=worker.snapshot.generation,
                        request=json.dumps({"age": age}).encode(), cohorts=("NZ" if bad else "AU",),
                    )
                )  # fmt: skip
            await worker.send(pairs, 1)
            shown = await control.endpoint()
            (guard,) = shown["guards"]
            assert 0 < guard["bound_low"] < guard["estimate"] < guard["bound_high"] < 0.4
            assert (guard["pairs_needed"], guard["certified"], guard["verdict"]) == (0, True, "pass")
            assert shown["cohorts"][0]["cohort"] == "header:x-country=NZ"
            assert shown["cohorts"][0]["certain"]
            assert any(one["cohort"].startswith("feature:age >") for one in shown["cohorts"])
            (needed,) = (await metric(control, "pointsman_guard_pairs_needed")).values()
            assert needed == 0
            assert len(await metric(control, "pointsman_guard_bound_low")) == 1
            await worker.close()

    asyncio.run(scenario())


def test_pairs_are_shown_with_their_differences_and_their_noise(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint: dict[str, Any] = {"compare": {"kind": "json"}, "shadow": {"noise_share": "50%"}}
        async with here(tmp_path, **endpoint) as control:
            worker = await FakeWorker().connect(control.link)
            assert worker.snapshot.endpoint("rain").shadow.noise_share == 5000
            told = b'{"answer": "It will rain today", "n": [1, 2]}'
            other = b'{"answer": "It will snow today", "n": [1, 3]}'
            one = classified(1, told, other, generation=worker.snapshot.generation)
            await worker.send([one._replace(repeat=one.incumbent)] * 3, 1)
            answer = await control.client.get("/api/v1/endpoints/rain/pairs?worst=1")
            (shown,) = answer.json()["pairs"]
            assert shown["noise"] == {"score": 0.0, "flip": False}
            assert shown["paths"] == ["/answer", "/n/*"]
            words, number = shown["diff"]
            assert words["text"] == [["=", "It will "], ["-", "rain"], ["+", "snow"], ["=", " today"]]
            assert number == {"path": "/n/1", "incumbent": 2, "candidate": 3}
            paths = (await control.endpoint())["paths"]
            assert [one["path"] for one in paths] == ["/answer", "/n/*"]
            assert paths[0]["arms"]["differing"] == paths[0]["noise"]["comparisons"] == 3
            await worker.close()

    asyncio.run(scenario())


def test_labels_are_joined_told_to_be_unknown_and_trip_on_a_drop_of_accuracy(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint: dict[str, Any] = {
            "compare": CLASSES, "guards": {"accuracy": {"drop": "1%"}}, "cohorts": ["header:x-country"]
        }  # fmt: skip
        async with here(tmp_path, **endpoint) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            pairs = [
                classified(n, b"[0.1, 0.9]", b"[0.8, 0.2]", generation=generation, cohorts=("NZ",))
                for n in range(400)
            ]
            await worker.send(pairs, 1)
            assert not (await control.endpoint())["switch"]["tripped"], "flips are not guarded here"
            some = [
                {"request_id": "r1", "label": "rain", "at": "2026-01-01T00:00:00Z"},
                {"request_id": "never seen", "label": "rain"},
                {"request_id": "r2", "label": ["rain", "dry"]},
            ]
            answer = (await control.client.post("/api/v1/labels", json=some)).json()
            assert (answer["joined"], answer["unknown"]) == (1, ["never seen"])
            assert answer["refused"] == [{"request_id": "r2", "detail": "2 labels for a prediction of 1 row"}]
            again = (await control.client.post("/api/v1/labels", json=some[:1])).json()
            assert (again["joined"], again["repeated"]) == (0, 1)
            rest = [{"request_id": f"r{n}", "label": 1} for n in range(2, 400)]
            assert (await control.client.post("/api/v1/labels", json=rest)).json()["joined"] == 398
            await worker.until(lambda: worker.snapshot.endpoint("rain").tripped)
            shown = await control.endpoint()
            assert shown["switch"]["kills"][0]["actor"] == "guard:accuracy"
            assert shown["accuracy"][0] == {"cohort": "", "labels": 399, "incumbent": 1.0, "candidate": 0.0}
            accuracy = await metric(control, "pointsman_accuracy")
            assert accuracy['{cohort="header:x-country=NZ",endpoint="rain",version="rain-1"}'] == 1.0
            delays = await metric(control, "pointsman_label_delay_seconds_count")
            assert list(delays.values()) == [399]
            bad: list[Any] = [[], [{"request_id": "", "label": 1}], [{"request_id": "r", "label": {}}], {}]
            for nonsense in bad:
                refused = await control.client.post("/api/v1/labels", json=nonsense)
                assert refused.status_code == 422
            await worker.close()

    asyncio.run(scenario())


def test_where_nothing_is_mirrored_errors_trip_by_the_counts_of_each_arm(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint: dict[str, Any] = {
            "shadow": {"share": "0%"}, "guards": {"errors": {"excess": "1%"}},
            "plan": [{"mode": "canary", "weight": "10%"}],
        }  # fmt: skip
        async with here(tmp_path, **endpoint) as control:
            worker = await FakeWorker().connect(control.link)
            sequence = 0
            while not worker.snapshot.endpoint("rain").tripped:
                sequence += 1
                requests = [
                    RequestCounts("rain", "rain-1", "incumbent", 200, 90, [0] * 15, 0.1),
                    RequestCounts("rain", "rain-2", "candidate", 200, 9, [0] * 15, 0.1),
                    RequestCounts("rain", "rain-2", "candidate", 0, 3, [0] * 15, 0.1),
                ]
                worker.say(batch(sequence, [], requests=requests))
                await worker.until(lambda: worker.acknowledged >= sequence)  # noqa: B023 - awaited at once
                assert sequence < 100
            kills = (await control.endpoint())["switch"]["kills"]
            assert kills[0]["actor"] == "guard:errors_unpaired"
            await worker.close()

    asyncio.run(scenario())


def test_what_workers_know_of_servers_is_measured_while_they_are_connected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            bad = ServerReport("http://127.0.0.1:9002", {"refused": 3, "sideways": 9}, 1, True, False, True)
            good = ServerReport("http://127.0.0.1:9001", {}, 0, False, None, False)
            stranger = ServerReport("http://10.0.0.1:1", {"refused": 1}, 0, True, None, False)
            worker.say(batch(1, [], servers=[bad, good, stranger]))
            worker.say(batch(2, [], servers=[bad, good]))
            await worker.until(lambda: worker.acknowledged == 2)
            failures = await metric(control, "pointsman_connect_failures_total")
            assert failures == {'{kind="refused",server="http://127.0.0.1:9002"}': 6.0}
            ejections = await metric(control, "pointsman_server_ejections_total")
            assert ejections['{server="http://127.0.0.1:9002"}'] == 2.0
            out = await metric(control, "pointsman_server_out")
            assert sum(count for labels, count in out.items() if "9002" in labels) == 3
            assert [count for labels, count in out.items() if "9001" in labels] == [0.0, 0.0, 0.0]
            await worker.close()
            await control.until(lambda: not control.control.link.workers)
            assert await metric(control, "pointsman_server_out") == {}

    asyncio.run(scenario())


def test_while_a_hostile_answer_is_compared_kills_and_health_checks_are_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path, compare={"kind": "json"}) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            hearing = control.control.hearing
            await worker.send([classified(0, b"[1]", b"x" * 100_000, generation=generation)], 1)
            assert (await control.endpoint())["pairs"]["judged"] == 1
            process = hearing._aside._process
            assert process is not None, "it is compared in another process"
            os.kill(process.pid, signal.SIGSTOP)
            worker.say(batch(2, [classified(1, b"[1]", b"x" * 100_000, generation=generation)]))
            await control.until(hearing._aside._turn.locked)
            assert (await control.client.get("/healthz")).status_code == 200
            killed = await control.client.post("/api/v1/endpoints/rain/kill", json={"reason": "hostile"})
            assert killed.status_code == 200
            assert worker.snapshot.endpoint("rain").tripped
            assert worker.acknowledged == 1
            os.kill(process.pid, signal.SIGCONT)
            await worker.until(lambda: worker.acknowledged == 2)
            shown = await control.endpoint()
            assert (shown["pairs"]["judged"], shown["pairs"]["stale"]) == (1, 1), "the trial had ended"
            await worker.close()

    asyncio.run(scenario())


def test_batches_that_wait_are_judged_together_and_each_is_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker().connect(control.link)
            generation = worker.snapshot.generation
            many = [
                batch(n + 1, [pair(40 * n + k, generation=generation) for k in range(40)]) for n in range(30)
            ]
            worker.say(*many)
            await worker.until(lambda: worker.acknowledged == 30)
            assert (await control.endpoint())["pairs"]["judged"] == 1200
            await worker.close()

    asyncio.run(scenario())
