"""Mirrors, pairs and the candidate's failures: the experiment never hurts the client."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest

from domain.observation import Outcome
from domain.routing import Arm
from domain.snapshot import ShadowLimits
from tests.support.gateway import build, endpoint, eventually, gateway, post, serving_candidate
from tests.support.upstream import Heard, ScriptedUpstream, hang_up, response, saying, silence


def _run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_mirrored_request_becomes_a_pair_of_both_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with gateway(tmp_path, endpoint(one.port, two.port)) as running:
                client = await running.connect()
                client.writer.write(post(b"[7]", fields=b"\r\nX-Request-Id: r-1"))
                assert (await client.response()).body == b"[0]"
                await eventually(lambda: running.control.pairs, "the pair arrives")
                client.close()
                pair = running.control.pairs[0]
        assert (pair.request_id, pair.endpoint, pair.served, pair.generation) == (
            "r-1",
            "rain",
            Arm.INCUMBENT,
            1,
        )
        assert (pair.incumbent.version, pair.incumbent.body) == ("rain-1", b"[0]")
        assert (pair.candidate.version, pair.candidate.body) == ("rain-2", b"[1]")
        assert pair.candidate.outcome is Outcome.ANSWERED
        assert pair.unit != 0
        assert two.heard[0].fields["x-pointsman-mirror"] == "1"
        assert "x-pointsman-mirror" not in one.heard[0].fields
        assert two.heard[0].body == one.heard[0].body == b"[7]"

    _run(scenario)


def test_the_candidate_serves_and_the_incumbent_is_mirrored(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port)) as running:
                client = await running.connect()
                client.writer.write(post())
                answer = await client.response()
                assert (answer.body, answer.fields["x-pointsman-arm"]) == (b"[1]", "candidate")
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[0].served is Arm.CANDIDATE
                assert one.heard[0].fields["x-pointsman-mirror"] == "1"
                client.close()

    _run(scenario)


def test_a_tripped_endpoint_asks_and_mirrors_the_incumbent_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            tripped = serving_candidate(one.port, two.port, tripped=True)
            async with gateway(tmp_path, tripped) as running:
                client = await running.connect()
                for _ in range(5):
                    client.writer.write(post())
                    assert (await client.response()).fields["x-pointsman-arm"] == "incumbent"
                client.close()
            assert not two.heard

    _run(scenario)


def test_a_new_snapshot_is_served_by_the_next_request_and_confirmed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            serving = serving_candidate(one.port, two.port)
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                client.writer.write(post())
                assert (await client.response()).body == b"[1]"
                running.control.publish(build([replace(serving, tripped=True)], generation=5))
                await eventually(lambda: 5 in running.control.applied, "the snapshot is confirmed")
                running.control.publish(build([serving], generation=4))
                await eventually(lambda: len(running.control.applied) == 2, "the stale one is answered")
                assert running.control.applied == [5, 5], "a stale snapshot never undoes a newer one"
                client.writer.write(post())
                assert (await client.response()).body == b"[0]"
                client.close()

    _run(scenario)


def test_a_candidate_that_was_taken_out_is_asked_no_more_until_a_newer_snapshot_says_so(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            serving = serving_candidate(one.port, two.port)
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                running.control.publish(build([serving], generation=4))
                await eventually(lambda: 4 in running.control.applied, "the snapshot is confirmed")
                for generation in (3, 4):
                    running.control.take_out("rain", generation)
                running.control.take_out("no such endpoint", 9)
                running.control.publish(build([serving], generation=4))
                await eventually(lambda: len(running.control.applied) == 2, "what came before is read")
                client.writer.write(post())
                assert (await client.response()).body == b"[1]", "an older word never undoes a newer snapshot"
                asked = len(two.heard)
                running.control.take_out("rain", 5)
                running.control.publish(build([serving], generation=4))
                await eventually(lambda: len(running.control.applied) == 3, "what came before is read")
                for _ in range(5):
                    client.writer.write(post())
                    assert (await client.response()).body == b"[0]"
                assert len(two.heard) == asked
                assert 5 not in running.control.applied, "the snapshot is what is confirmed"
                running.control.publish(build([serving], generation=6))
                await eventually(lambda: 6 in running.control.applied, "the next snapshot is confirmed")
                client.writer.write(post())
                assert (await client.response()).body == b"[1]"
                client.close()

    _run(scenario)


def test_a_request_whose_body_was_still_coming_is_decided_by_the_snapshot_in_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            serving = serving_candidate(one.port, two.port)
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                request = post(b"[1, 2]")
                client.feed(request[:-2], size=1000)
                running.control.publish(build([replace(serving, tripped=True)], generation=2))
                await eventually(lambda: running.control.applied, "the snapshot is confirmed")
                client.writer.write(request[-2:])
                assert (await client.response()).fields["x-pointsman-arm"] == "incumbent"
                client.close()

    _run(scenario)


@pytest.mark.parametrize("failure", ["refuses", "hangs", "closes", "garbage", "floods"])
def test_a_client_of_a_failing_candidate_is_answered_by_the_incumbent(failure: str, tmp_path: Path) -> None:
    answers = {
        "refuses": hang_up,
        "hangs": silence,
        "closes": hang_up,
        "garbage": saying(b"\x00\x01\x02"),
        "floods": saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000),
    }

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(answers[failure]) as two,
        ):
            if failure == "refuses":
                await two.stop()
            async with gateway(
                tmp_path, serving_candidate(one.port, two.port, timeout=0.4, breaker=0)
            ) as running:
                client = await running.connect()
                for _ in range(3):
                    client.writer.write(post(b"[5]"))
                    answer = await client.response()
                    assert (answer.status, answer.body) == (200, b"[0]")
                    assert answer.fields["x-pointsman-arm"] == "incumbent"
                await eventually(lambda: len(running.control.pairs) == 3, "the failures are handed over")
                assert all(pair.candidate.outcome.blames_the_arm for pair in running.control.pairs)
                assert all(pair.incumbent.ok for pair in running.control.pairs)
                client.close()

    _run(scenario)


@pytest.mark.parametrize("failure", ["refuses", "hangs", "closes", "endless"])
def test_a_failing_mirror_is_never_seen_by_the_client(failure: str, tmp_path: Path) -> None:
    async def endless(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    answers = {"refuses": hang_up, "hangs": silence, "closes": hang_up, "endless": endless}

    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(answers[failure]) as two,
        ):
            if failure == "refuses":
                await two.stop()
            shadowed = endpoint(one.port, two.port, timeout=0.3, max_body=100_000, breaker=0)
            async with gateway(tmp_path, shadowed) as running:
                client = await running.connect()
                for _ in range(5):
                    client.writer.write(post())
                    assert (await client.response()).body == b"[0]"
                await eventually(lambda: len(running.control.pairs) == 5, "every pair ends")
                outcomes = {pair.candidate.outcome for pair in running.control.pairs}
                client.close()
        wanted = {
            "refuses": Outcome.CONNECT,
            "hangs": Outcome.TIMEOUT,
            "closes": Outcome.PROTOCOL,
            "endless": Outcome.OVERSIZE,
        }[failure]
        assert outcomes == {wanted}

    _run(scenario)


def test_mirrors_over_the_bounds_are_dropped_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, ScriptedUpstream(silence) as two:
            shadowed = endpoint(one.port, two.port, shadow=ShadowLimits(max_in_flight=3), breaker=0)
            async with gateway(tmp_path, shadowed) as running:
                client = await running.connect()
                for _ in range(10):
                    client.writer.write(post())
                    assert (await client.response()).status == 200
                await eventually(lambda: len(two.heard) == 3, "three mirrors are out")
                await eventually(
                    lambda: (
                        sum(
                            count.count
                            for batch in running.control.batches
                            for count in batch.mirrors
                            if count.outcome == "dropped"
                        )
                        == 7
                    ),
                    "seven are counted as dropped",
                )
                client.close()

    _run(scenario)


def test_a_worker_stops_asking_a_candidate_that_keeps_failing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ScriptedUpstream(saying(response(b"[0]"))) as one, ScriptedUpstream(hang_up) as two:
            serving = serving_candidate(one.port, two.port, breaker=3)
            async with gateway(tmp_path, serving) as running:
                client = await running.connect()
                for _ in range(8):
                    client.writer.write(post())
                    assert (await client.response()).body == b"[0]"
                assert len(two.heard) == 3, "after three failures nobody asks it"
                await eventually(lambda: running.control.breakers, "the control process is told")
                opened = running.control.breakers[0]
                assert (opened.endpoint, opened.version, opened.errors) == ("rain", "rain-2", 3)
                running.control.publish(build([serving], generation=2))
                await eventually(lambda: running.control.applied, "a snapshot that knows nothing of it")
                client.writer.write(post())
                await client.response()
                assert len(two.heard) == 3, "does not close the breaker"
                running.control.publish(build([replace(serving, tripped=True)], generation=3))
                running.control.publish(build([serving], generation=4))
                await eventually(lambda: 4 in running.control.applied, "tripped and re-armed")
                client.writer.write(post())
                await client.response()
                assert len(two.heard) == 4, "a re-arm closes it"
                client.close()

    _run(scenario)


def test_the_death_of_the_control_process_costs_no_client_anything(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(b"[0]"))) as one,
            ScriptedUpstream(saying(response(b"[1]"))) as two,
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port)) as running:
                client = await running.connect()
                running.control.acknowledges = False
                for phase in ("alive", "dead", "back"):
                    if phase == "dead":
                        await running.control.stop()
                    if phase == "back":
                        running.control.acknowledges = True
                        await running.control.start()
                    for _ in range(20):
                        client.writer.write(post())
                        assert (await client.response()).body == b"[1]"
                await eventually(lambda: len(running.control.pairs) == 60, "every pair arrives once")
                client.close()

    _run(scenario)


def test_a_client_that_leaves_ends_what_was_asked_for_it(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def watched(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await silence(heard, reader, writer)
        finally:
            gone.set()

    async def scenario() -> None:
        async with ScriptedUpstream(watched) as one:
            async with gateway(tmp_path, endpoint(one.port, timeout=15.0)) as running:
                client = await running.connect()
                client.writer.write(post())
                await eventually(lambda: one.heard, "the server is asked")
                linger_not = struct.pack("ii", 1, 0)
                own = client.writer.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
                client.close()
                await asyncio.wait_for(gone.wait(), 5)

    _run(scenario)
