"""A drill in the data plane: whose answers are spoilt, how, for how long, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.observation import Outcome
from domain.routing import Arm, Mode
from domain.snapshot import Drill, Endpoint, Fault, Snapshot
from shadow.wire import DrillReport
from tests.support.gateway import (
    Received,
    Running,
    build,
    endpoint,
    eventually,
    gateway,
    post,
    serving_candidate,
)
from tests.support.upstream import Answer, Heard, ScriptedUpstream, response, saying

BODY = json.dumps({"outputs": [{"name": "p", "shape": [1, 2], "data": [0.9, 0.1]}]}).encode()
FLIPPED = [0.1, 0.9]


def _run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def drill(fault: Fault = Fault.FLIP, *, served: bool = True, lasts: float = 600.0, **more: Any) -> Drill:
    return Drill("d1", fault, 10_000, served, time.monotonic() + lasts, **more)


def rehearsing(one: Endpoint, **how: Any) -> Endpoint:
    return replace(one, drill=drill(**how))


async def ask(running: Running, *, fields: bytes = b"") -> Received:
    client = await running.connect()
    client.writer.write(post(b"[7]", fields=fields))
    found = await client.response()
    client.close()
    return found


def data(body: bytes) -> list[float]:
    found: list[float] = json.loads(body)["outputs"][0]["data"]
    return found


def reports(running: Running) -> list[DrillReport]:
    return [report for batch in running.control.batches for report in batch.drills]


def test_a_served_drill_flips_what_the_client_gets_and_says_so_on_both_sides(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
            gateway(tmp_path, rehearsing(serving_candidate(one.port, two.port))) as running,
        ):
            got = await ask(running, fields=b"\r\nX-Pointsman-Drill: mine\r\nAccept-Encoding: gzip")
            assert (got.status, data(got.body)) == (200, FLIPPED)
            assert got.fields["x-pointsman-drill"] == "d1"
            assert int(got.fields["content-length"]) == len(got.body)
            await eventually(lambda: running.control.pairs, "the pair arrives")
            assert two.heard[0].fields["x-pointsman-drill"] == "d1"
            assert "accept-encoding" not in two.heard[0].fields
            assert "x-pointsman-drill" not in one.heard[0].fields
            pair = running.control.pairs[0]
            assert data(pair.candidate.body) == FLIPPED
            assert data(pair.incumbent.body) == [0.9, 0.1]
            await eventually(lambda: reports(running), "the drill is told of")
            told = reports(running)[-1]
            assert (told.drill, told.spoilt, told.served, told.left) == ("d1", 1, 1, 0)
            assert 0 < told.first == told.last == told.first_served <= time.monotonic()

    _run(scenario)


def test_a_drill_on_mirrors_never_touches_what_a_client_gets(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
        ):
            served_by_incumbent = rehearsing(endpoint(one.port, two.port), served=False)
            async with gateway(tmp_path, served_by_incumbent) as running:
                assert (await ask(running)).body == BODY
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert data(running.control.pairs[0].candidate.body) == FLIPPED
                await eventually(lambda: reports(running), "the drill is told of")
                assert (reports(running)[-1].spoilt, reports(running)[-1].served) == (1, 0)
                served_by_candidate = rehearsing(serving_candidate(one.port, two.port), served=False)
                running.control.publish(build((served_by_candidate,), generation=2))
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                got = await ask(running)
                assert got.body == BODY
                assert "x-pointsman-drill" not in got.fields

    _run(scenario)


def test_a_guarded_endpoint_is_left_alone_by_a_drill_on_mirrors(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
        ):
            guarded = serving_candidate(one.port, two.port, compare=b'{"kind":"classification"}')
            guarded = rehearsing(replace(guarded, mode=Mode.GUARDED), served=False)
            async with gateway(tmp_path, guarded) as running:
                assert (await ask(running)).body == BODY
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[0].candidate.body == BODY

    _run(scenario)


def test_a_drill_ends_by_itself_when_nobody_is_left_to_end_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
            gateway(tmp_path, rehearsing(serving_candidate(one.port, two.port), lasts=0.6)) as running,
        ):
            assert data((await ask(running)).body) == FLIPPED
            await running.control.stop()
            rehearsed = running.worker.services.by_name["rain"].endpoint.drill
            assert rehearsed is not None
            await asyncio.sleep(max(0.0, rehearsed.until - time.monotonic()))
            assert (await ask(running)).body == BODY

    _run(scenario)


def test_a_drill_whose_time_is_over_is_not_even_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
            gateway(tmp_path, rehearsing(serving_candidate(one.port, two.port), lasts=-1.0)) as running,
        ):
            got = await ask(running)
            assert (got.body, "x-pointsman-drill" in got.fields) == (BODY, False)

    _run(scenario)


def test_the_next_snapshot_without_a_drill_ends_it_and_the_breaker_it_opened(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            plain = serving_candidate(one.port, two.port, breaker=2)
            async with gateway(tmp_path, rehearsing(plain, fault=Fault.ERROR)) as running:
                assert [(await ask(running)).status for _ in range(2)] == [500, 500]
                await eventually(lambda: running.control.breakers, "the breaker opened")
                running.control.publish(build((plain,), generation=2))
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                assert (await ask(running)).body == b"[1]"

    _run(scenario)


def test_a_tripped_endpoint_has_no_drill_and_what_it_did_is_still_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
        ):
            plain = serving_candidate(one.port, two.port)
            async with gateway(tmp_path, rehearsing(plain)) as running:
                await ask(running)
                tripped = replace(plain, tripped=True, mode=Mode.SHADOW, weight=0)
                running.control.publish(Snapshot(2, (tripped,)))
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                assert (await ask(running)).fields["x-pointsman-arm"] == "incumbent"
                await eventually(lambda: reports(running), "the drill is told of")
                assert reports(running)[-1].spoilt == 1

    _run(scenario)


@pytest.mark.parametrize(
    ("fault", "status", "readable"),
    [(Fault.ERROR, 500, True), (Fault.JSON, 200, False), (Fault.NOISE, 200, True)],
)
def test_each_fault_takes_the_place_of_the_answer(
    tmp_path: Path, fault: Fault, status: int, *, readable: bool
) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
            gateway(
                tmp_path, rehearsing(serving_candidate(one.port, two.port), fault=fault, amount=1.0)
            ) as running,
        ):
            got = await ask(running)
            assert (got.status, got.fields["x-pointsman-drill"]) == (status, "d1")
            assert got.body != BODY
            try:
                json.loads(got.body)
            except ValueError:
                assert not readable
            else:
                assert readable

    _run(scenario)


def test_latency_is_seen_by_the_client_and_by_the_pair(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
        ):
            late = {"fault": Fault.LATENCY, "amount": 0.2}
            async with gateway(
                tmp_path, rehearsing(serving_candidate(one.port, two.port), **late)
            ) as running:
                assert (await ask(running)).body == BODY
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[0].candidate.latency >= 0.2
                running.control.publish(
                    build((rehearsing(endpoint(one.port, two.port), **late),), generation=2)
                )
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                await ask(running)
                await eventually(lambda: len(running.control.pairs) == 2, "the second pair arrives")
                assert running.control.pairs[1].candidate.latency >= 0.2

    _run(scenario)


def test_latency_beyond_the_timeout_costs_the_client_only_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            slow = serving_candidate(one.port, two.port, timeout=0.4)
            async with gateway(tmp_path, rehearsing(slow, fault=Fault.LATENCY, amount=30.0)) as running:
                assert (await ask(running)).body == b"[0]"
                mirrored = rehearsing(
                    endpoint(one.port, two.port, timeout=0.4), fault=Fault.LATENCY, amount=30.0
                )
                running.control.publish(build((mirrored,), generation=2))
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                await ask(running)
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[-1].candidate.outcome is Outcome.TIMEOUT

    _run(scenario)


def test_a_client_that_leaves_a_late_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
        ):
            late = rehearsing(serving_candidate(one.port, two.port), fault=Fault.LATENCY, amount=0.3)
            async with gateway(tmp_path, late) as running:
                client = await running.connect()
                client.writer.write(post(b"[7]"))
                faults = running.worker._drills._known["d1"]
                await eventually(lambda: faults.waiting, "the request waits")
                client.server_side.transport.abort()
                await eventually(lambda: not faults.waiting, "it has gone")
                await asyncio.sleep(0.4)
                assert not two.heard, "nobody is asked for a client that has left"
                client.close()

    _run(scenario)


def chunked(body: bytes) -> Answer:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return answer


@pytest.mark.parametrize("served", [True, False])
def test_an_answer_in_chunks_is_altered_once_it_is_whole(tmp_path: Path, *, served: bool) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(chunked(BODY)) as two,
        ):
            plain = (serving_candidate if served else endpoint)(one.port, two.port)
            async with gateway(tmp_path, rehearsing(plain, served=served)) as running:
                got = await ask(running)
                assert data(got.body) == (FLIPPED if served else [0.9, 0.1])
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert data(running.control.pairs[0].candidate.body) == FLIPPED

    _run(scenario)


@pytest.mark.parametrize("answer", [saying(response(b"not json")), chunked(b"not json")])
def test_what_cannot_be_altered_passes_as_it_is_and_is_counted(tmp_path: Path, answer: Answer) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(answer) as two,
            gateway(tmp_path, rehearsing(serving_candidate(one.port, two.port))) as running,
        ):
            assert (await ask(running)).body == b"not json"
            await eventually(lambda: reports(running), "the drill is told of")
            told = reports(running)[-1]
            assert (told.spoilt, told.left) == (0, 1)

    _run(scenario)


def test_a_candidate_that_serves_for_a_drill_is_out_after_its_time_until_a_snapshot_says_so(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            plain = serving_candidate(one.port, two.port)
            over = replace(plain, drill=drill(Fault.LATENCY, lasts=-1.0))
            async with gateway(tmp_path, over) as running:
                service = running.worker.services.by_name["rain"]
                await eventually(lambda: service.route.decide("u", None).arm is Arm.INCUMBENT, "it is out")
                assert (await ask(running)).body == b"[0]"
                running.control.publish(build((plain,), generation=2))
                await eventually(lambda: 2 in running.control.applied, "the snapshot is applied")
                assert (await ask(running)).body == b"[1]"

    _run(scenario)


def test_an_endpoint_without_a_drill_has_the_plain_servers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(BODY))) as one,
            ScriptedUpstream(saying(response(BODY))) as two,
            gateway(tmp_path, serving_candidate(one.port, two.port)) as running,
        ):
            candidate = running.worker.services.by_name["rain"].candidate
            assert candidate is not None
            assert type(candidate.servers).__name__ == "Servers"

    _run(scenario)
