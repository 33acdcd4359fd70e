"""Guarded: the client gets the candidate's answer only where it agrees with the incumbent's, and in time."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from domain.observation import Divergence, Observation, Outcome
from domain.routing import FULL_WEIGHT, Arm, Mode
from domain.snapshot import Endpoint, ShadowLimits
from gateway import agreement
from gateway.agreement import Comparing, Finding
from gateway.concurrency import Gate, Total
from settings.schema import CompareSettings
from shadow.tasks import Tasks
from tests.support.gateway import (
    Client,
    Received,
    Running,
    build,
    endpoint,
    eventually,
    gateway,
    post,
    serving_candidate,
)
from tests.support.upstream import Answer, Heard, ScriptedUpstream, hang_up, response, saying, silence

COMPARE = json.dumps(asdict(CompareSettings("regression", tolerance=0.1))).encode()
SAME, ALIKE, OTHER = b"[1.0]", b"[1.05]", b"[9.0]"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
UNENDED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n[1.0"
LONG = b"[%b1.05]" % (b" " * 20_000)


def guarded(incumbent: int, candidate: int, **changes: object) -> Endpoint:
    given = {"mode": Mode.GUARDED, "weight": FULL_WEIGHT, "protocol": "json", "compare": COMPARE, **changes}
    return endpoint(incumbent, candidate, **given)


def later(answer: bytes, *, seconds: float = 0.05) -> Answer:
    async def wait(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(answer)

    return wait


def cut(data: bytes) -> Answer:
    return saying(data, close=True)


def in_parts(answer: bytes) -> Answer:
    """As many servers write: the head by itself, then the body."""

    async def write(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, blank, body = answer.partition(b"\r\n\r\n")
        for part in (head + blank, body[:2], body[2:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)

    return write


def events(running: Running) -> dict[str, int]:
    found: dict[str, int] = {}
    for batch in running.control.batches:
        for name, count in batch.events.items():
            found[name] = found.get(name, 0) + count
    return found


def counted(running: Running) -> dict[tuple[str, int], int]:
    """Answers by arm and status, as the worker counts them."""
    found: dict[tuple[str, int], int] = {}
    for batch in running.control.batches:
        for one in batch.requests:
            found[one.arm, one.status] = found.get((one.arm, one.status), 0) + one.requests
    return found


class Scene:
    """Two scripted servers, a worker that guards them, and one client."""

    def __init__(
        self, running: Running, one: ScriptedUpstream, two: ScriptedUpstream, client: Client
    ) -> None:
        self.running = running
        self.incumbent = one
        self.candidate = two
        self.client = client

    async def ask(self, request: bytes | None = None) -> Received:
        self.client.writer.write(post() if request is None else request)
        return await self.client.response(head_only=bool(request and request.startswith(b"HEAD")))

    def leave(self) -> None:
        """Reset the connection: a client that only closed its side would still be answered."""
        side: socket.socket = self.client.writer.get_extra_info("socket")
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.writer.transport.abort()

    async def settled(self, pairs: int = 1) -> None:
        """Every pair ended, and nothing of the budget is left taken."""
        await eventually(lambda: len(self.running.control.pairs) >= pairs, "the pairs arrive")
        await eventually(self.holds_nothing, "nothing is held")
        assert len(self.running.control.pairs) == pairs

    def holds_nothing(self) -> bool:
        budget = self.running.worker.services.by_name["rain"].budget
        return (budget.pairs, budget.held) == (0, 0)


Script = Callable[[Scene], Coroutine[None, None, None]]


def play(
    folder: Path, incumbent: Answer, candidate: Answer, script: Script,
    **changes: object,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with ScriptedUpstream(incumbent) as one, ScriptedUpstream(candidate) as two:
            async with gateway(folder, guarded(one.port, two.port, **changes)) as running:
                client = await running.connect()
                await script(Scene(running, one, two, client))
                client.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def arm(answer: Received) -> str:
    return answer.fields["x-pointsman-arm"]


# ---- which answer is served -------------------------------------------------------------------------------

ORDERS = [
    (saying(response(SAME)), later(response(ALIKE))),
    (later(response(SAME)), saying(response(ALIKE))),
]


@pytest.mark.parametrize("order", [0, 1])
def test_an_answer_that_agrees_is_served_whichever_comes_first(order: int, tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask(post(b"[7]", fields=b"\r\nX-Request-Id: r-1"))
        assert (answer.status, answer.body) == (200, ALIKE)
        assert (arm(answer), answer.fields["x-pointsman-version"]) == ("candidate", "rain-2")
        assert answer.fields["x-request-id"] == "r-1"
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert pair.served is Arm.CANDIDATE
        assert (pair.incumbent.body, pair.candidate.body) == (SAME, ALIKE)
        assert (pair.incumbent.outcome, pair.candidate.outcome) == (Outcome.ANSWERED, Outcome.ANSWERED)
        await eventually(lambda: counted(scene.running), "the counts arrive")
        assert counted(scene.running) == {("candidate", 200): 1}
        assert events(scene.running) == {"guarded_agreed": 1}
        for server in (scene.incumbent, scene.candidate):
            assert [heard.body for heard in server.heard] == [b"[7]"]
            assert "x-pointsman-mirror" not in server.heard[0].fields

    play(tmp_path, *ORDERS[order], script)


@pytest.mark.parametrize("order", [0, 1])
def test_a_flip_is_overruled_whichever_comes_first(order: int, tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert (answer.status, answer.body, arm(answer)) == (200, OTHER, "incumbent")
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert pair.served is Arm.INCUMBENT
        assert (pair.incumbent.body, pair.candidate.body) == (OTHER, ALIKE)
        await eventually(lambda: counted(scene.running), "the counts arrive")
        assert counted(scene.running) == {("incumbent", 200): 1}
        assert events(scene.running) == {"guarded_overruled": 1}

    one, two = [(saying(response(OTHER)), later(response(ALIKE))), (later(response(OTHER)), ORDERS[1][1])][
        order
    ]
    play(tmp_path, one, two, script)


NOT_SERVED: dict[str, tuple[Answer, str]] = {
    "hangs": (silence, "guarded_unanswered"),
    "hangs up": (hang_up, "guarded_unanswered"),
    "says garbage": (saying(b"\x00\x01\x02"), "guarded_unanswered"),
    "resets mid-head": (cut(b"HTTP/1.1 200 OK\r\ncontent-le"), "guarded_unanswered"),
    "resets mid-body": (cut(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1.0"), "guarded_unanswered"),
    "resets mid-chunk": (cut(UNENDED), "guarded_unanswered"),
    "hangs mid-body": (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1.0"), "guarded_overruled"),
    "is unreadable": (saying(response(b"no JSON")), "guarded_overruled"),
    "is an error": (saying(response(SAME, status="500 No")), "guarded_overruled"),
    "is refused": (saying(response(SAME, status="404 No")), "guarded_overruled"),
    "redirects": (saying(response(SAME, status="302 Found")), "guarded_overruled"),
    "has no content": (saying(b"HTTP/1.1 204 None\r\n\r\n"), "guarded_overruled"),
    "is too long": (saying(response(b"[1.05%b]" % (b" " * 300_000))), "guarded_overruled"),
    "is too long in chunks": (saying(CHUNKED % (300_000, b" " * 300_000)), "guarded_overruled"),
}


@pytest.mark.parametrize("first", ["incumbent", "candidate"])
@pytest.mark.parametrize("trouble", NOT_SERVED)
def test_whatever_else_the_candidate_does_the_incumbent_answers_in_time(
    trouble: str, first: str, tmp_path: Path
) -> None:
    candidate, event = NOT_SERVED[trouble]
    incumbent = saying(response(SAME)) if first == "incumbent" else later(response(SAME))

    async def script(scene: Scene) -> None:
        for _ in range(2):
            answer = await scene.ask()
            assert (answer.status, answer.body, arm(answer)) == (200, SAME, "incumbent")
        await scene.settled(2)
        assert [pair.served for pair in scene.running.control.pairs] == [Arm.INCUMBENT] * 2
        assert all(pair.incumbent.ok for pair in scene.running.control.pairs)
        await eventually(lambda: events(scene.running), "the events arrive")
        wanted = "guarded_unanswered" if trouble == "hangs mid-body" else event
        assert set(events(scene.running)) == {wanted}

    play(tmp_path, incumbent, candidate, script, timeout=0.5, breaker=0)


def test_a_candidate_that_refuses_connections_costs_nobody_an_answer(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        await scene.candidate.stop()
        for _ in range(3):
            assert arm(await scene.ask()) == "incumbent"
        await scene.settled(3)
        assert {pair.candidate.outcome for pair in scene.running.control.pairs} == {Outcome.CONNECT}

    play(tmp_path, saying(response(SAME)), hang_up, script, breaker=0)


def test_a_client_waits_for_the_candidate_no_longer_than_its_patience(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "incumbent"
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert pair.candidate.outcome is Outcome.TIMEOUT
        assert 0.15 < pair.candidate.latency < 0.55, "half of the timeout, not all of it"
        assert pair.incumbent.latency < pair.candidate.latency / 2, "the wait is not the incumbent's"

    play(tmp_path, saying(response(SAME)), silence, script, timeout=0.8)


def test_an_incumbent_that_is_slow_is_waited_for_as_ever(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "candidate"
        await scene.settled()

    play(tmp_path, later(response(SAME), seconds=0.4), saying(response(ALIKE)), script, timeout=0.6)


@pytest.mark.parametrize(
    ("incumbent", "status", "outcome"),
    [
        (silence, 504, Outcome.TIMEOUT),
        (hang_up, 502, Outcome.PROTOCOL),
        (cut(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1.0"), 502, Outcome.PROTOCOL),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1.0"), 504, Outcome.TIMEOUT),
    ],
)
@pytest.mark.parametrize("candidate", [saying(response(SAME)), later(response(SAME))])
def test_an_incumbent_that_fails_is_what_the_client_gets(
    incumbent: Answer, status: int, outcome: Outcome, candidate: Answer, tmp_path: Path
) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert answer.status == status
        assert b"incumbent rain-1" in answer.body
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert (pair.served, pair.incumbent.outcome, pair.candidate.ok) == (Arm.INCUMBENT, outcome, True)
        await eventually(lambda: counted(scene.running), "the counts arrive")
        assert counted(scene.running) == {("incumbent", status): 1}

    play(tmp_path, incumbent, candidate, script, timeout=0.4)


def test_an_incumbents_request_is_retried_by_its_own_rules(tmp_path: Path) -> None:
    calls = 0

    async def first_hangs_up(
        heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            writer.close()
        else:
            writer.write(response(SAME))

    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "candidate"
        assert (len(scene.incumbent.heard), len(scene.candidate.heard)) == (2, 1)
        await scene.settled()

    play(tmp_path, first_hangs_up, saying(response(ALIKE)), script, idempotent=True)


@pytest.mark.parametrize("status", ["404 No", "500 No", "302 Found"])
def test_an_incumbents_answer_that_is_no_prediction_is_served_at_once(status: str, tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert (answer.body, arm(answer)) == (SAME, "incumbent")
        assert not scene.running.control.pairs, "the candidate has not ended"
        await scene.settled()
        assert events(scene.running) == {"guarded_incomparable": 1}

    play(tmp_path, saying(response(SAME, status=status)), silence, script, timeout=0.6, breaker=0)


# ---- framings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [b"", b"\r\nconnection: close"])
def test_answers_that_come_in_parts_are_compared_whole(fields: bytes, tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for _ in range(2):
            answer = await scene.ask()
            assert (answer.body, arm(answer)) == (ALIKE, "candidate")
        await scene.settled(2)

    whole = in_parts(response(SAME, fields=fields))
    play(tmp_path, whole, in_parts(response(ALIKE, fields=fields)), script)


def test_a_candidates_chunks_are_served_with_their_length(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for _ in range(2):
            answer = await scene.ask()
            assert (answer.body, arm(answer)) == (ALIKE, "candidate")
            assert answer.fields["content-length"] == str(len(ALIKE))
            assert "transfer-encoding" not in answer.fields
        await scene.settled(2)

    play(tmp_path, saying(response(SAME)), saying(CHUNKED % (len(ALIKE), ALIKE)), script)


def test_a_candidate_that_ends_by_closing_is_served_with_its_length(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert (answer.body, arm(answer), answer.fields["content-length"]) == (ALIKE, "candidate", "6")

    play(tmp_path, saying(response(SAME)), cut(b"HTTP/1.1 200 OK\r\n\r\n" + ALIKE), script)


def test_an_incumbent_that_streams_is_passed_on_at_once(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def stream(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n")
        await go_on.wait()
        writer.write(b"4\r\n1.0]\r\n0\r\n\r\n")

    async def script(scene: Scene) -> None:
        scene.client.writer.write(post())
        head = await scene.client.reader.readuntil(b"\r\n\r\n")
        assert b"x-pointsman-arm: incumbent" in head
        assert await scene.client.reader.readexactly(6) == b"1\r\n[\r\n"
        go_on.set()
        assert await scene.client.reader.readuntil(b"0\r\n\r\n") == b"4\r\n1.0]\r\n0\r\n\r\n"
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert (pair.served, pair.incumbent.body, pair.candidate.body) == (Arm.INCUMBENT, SAME, SAME)
        await eventually(lambda: events(scene.running), "the events arrive")
        assert events(scene.running) == {"guarded_incomparable": 1}

    play(tmp_path, stream, saying(response(SAME)), script)


def test_an_incumbents_long_answer_is_passed_on_at_once(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert (len(answer.body), arm(answer)) == (300_000, "incumbent")
        await scene.settled()

    play(tmp_path, saying(response(b"x" * 300_000)), silence, script, timeout=0.6, breaker=0)


def test_longer_answers_are_compared_beside_the_loop(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask()
        assert (len(answer.body), arm(answer)) == (len(LONG), "candidate")
        scene.candidate.answer = saying(response(LONG.replace(b"1.05", b"9.05")))
        assert arm(await scene.ask()) == "incumbent"
        await scene.settled(2)
        assert [pair.served for pair in scene.running.control.pairs] == [Arm.CANDIDATE, Arm.INCUMBENT]

    play(tmp_path, saying(response(LONG)), saying(response(LONG.replace(b"1.05", b"1.04"))), script)


def test_head_is_answered_by_the_incumbent_alone(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        request = post().replace(b"POST", b"HEAD").replace(b"Content-Length: 2", b"Content-Length: 0")[:-2]
        answer = await scene.ask(request)
        assert (answer.status, arm(answer)) == (200, "incumbent")
        await scene.settled()
        assert "x-pointsman-mirror" in scene.candidate.heard[0].fields

    async def heads(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")

    play(tmp_path, heads, heads, script)


def test_an_upload_that_streams_goes_to_the_incumbent_and_is_mirrored(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        answer = await scene.ask(post(b" " * 600_000))
        assert arm(answer) == "incumbent"
        await scene.settled()
        assert scene.running.control.pairs[0].served is Arm.INCUMBENT
        assert "x-pointsman-mirror" in scene.candidate.heard[0].fields

    play(tmp_path, later(response(SAME)), saying(response(SAME)), script)


def test_a_body_that_comes_in_pieces_is_guarded_once_it_is_whole(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        request = post(b"[1, 2, 3]")
        scene.client.feed(request, size=7)
        assert arm(await scene.client.response()) == "candidate"
        await scene.settled()

    play(tmp_path, saying(response(SAME)), saying(response(ALIKE)), script)


# ---- bounds -----------------------------------------------------------------------------------------------


def test_without_room_for_a_pair_the_incumbent_answers_and_the_drop_is_counted(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "incumbent"
        assert not scene.candidate.heard
        await eventually(
            lambda: [one.outcome for b in scene.running.control.batches for one in b.mirrors] == ["dropped"],
            "the drop is counted",
        )
        assert scene.holds_nothing()

    limits = ShadowLimits(max_in_flight=0)
    play(tmp_path, saying(response(SAME)), saying(response(SAME)), script, shadow=limits)


def test_an_incumbents_answer_without_room_to_hold_it_is_served_at_once(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for answers in (saying, in_parts):
            scene.incumbent.answer = answers(response(b"[" + b" " * 2000 + b"1.0]"))
            assert arm(await scene.ask()) == "incumbent"
        await scene.settled(2)
        assert {pair.incumbent.outcome for pair in scene.running.control.pairs} == {Outcome.OVERSIZE}

    limits = ShadowLimits(max_bytes=1000)
    play(tmp_path, saying(response(SAME)), silence, script, shadow=limits, timeout=0.4, breaker=0)


def test_near_the_bound_of_requests_the_incumbent_answers_alone(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "incumbent"
        assert not scene.candidate.heard

    play(tmp_path, saying(response(SAME)), saying(response(SAME)), script, max_in_flight=1)


class _Watched(Gate):
    """Remembers what it was told about the load."""

    __slots__ = ("told",)

    def leave(self, now: float, latency: float | None) -> None:
        self.told = latency
        super().leave(now, latency)


def test_a_slow_candidate_does_not_look_like_load_on_the_incumbent(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        gate = _Watched(Total(None))
        scene.running.worker.gates["rain"] = gate
        assert arm(await scene.ask()) == "candidate"
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert gate.told == pair.incumbent.latency < pair.candidate.latency
        assert gate.in_flight == 0

    play(tmp_path, saying(response(SAME)), later(response(ALIKE), seconds=0.2), script)


def test_both_arms_are_asked_whatever_the_shadow_share(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "candidate"
        await scene.settled()

    limits = ShadowLimits(share=0)
    play(tmp_path, saying(response(SAME)), saying(response(SAME)), script, shadow=limits)


def test_units_outside_the_weight_are_served_and_mirrored_as_in_shadow(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "incumbent"
        await scene.settled()
        assert "x-pointsman-mirror" in scene.candidate.heard[0].fields

    play(tmp_path, saying(response(SAME)), later(response(SAME)), script, weight=0)


def test_noise_is_measured_of_guarded_requests_too(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "candidate"
        await scene.settled()
        repeat = scene.running.control.pairs[0].repeat
        assert repeat is not None
        assert repeat.body == SAME

    limits = ShadowLimits(noise_share=FULL_WEIGHT)
    play(tmp_path, saying(response(SAME)), saying(response(ALIKE)), script, shadow=limits)


# ---- other things that happen -----------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(heard.body))

    async def slow_echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = int(heard.body[1:-1])
        await asyncio.sleep(0.01 * (number % 3))
        writer.write(response(b"[%d.01]" % number if number % 2 else b"[9999]"))

    async def script(scene: Scene) -> None:
        scene.client.writer.write(b"".join(post(b"[%d]" % number) for number in range(12)))
        for number in range(12):
            answer = await scene.client.response()
            wanted = (b"[%d.01]" % number, "candidate") if number % 2 else (b"[%d]" % number, "incumbent")
            assert (answer.body, arm(answer)) == wanted
        await scene.settled(12)

    play(tmp_path, echo, slow_echo, script)


@pytest.mark.parametrize("candidate", [silence, later(response(SAME), seconds=0.2)])
def test_a_client_that_leaves_while_its_answer_is_held_leaves_nothing_behind(
    candidate: Answer, tmp_path: Path
) -> None:
    async def script(scene: Scene) -> None:
        scene.client.writer.write(post())
        await eventually(lambda: scene.incumbent.heard and scene.candidate.heard, "both are asked")
        await asyncio.sleep(0.05)
        scene.leave()
        await scene.settled()
        (pair,) = scene.running.control.pairs
        assert (pair.served, pair.incumbent.ok) == (Arm.INCUMBENT, True)
        await eventually(lambda: counted(scene.running), "the counts arrive")
        assert counted(scene.running) == {("incumbent", 499): 1}
        assert not scene.running.worker.clients

    play(tmp_path, saying(response(SAME)), candidate, script, timeout=0.6, breaker=0)


def test_a_client_that_leaves_before_any_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.client.writer.write(post())
        await eventually(lambda: scene.incumbent.heard and scene.candidate.heard, "both are asked")
        scene.leave()
        await eventually(scene.holds_nothing, "nothing is held")
        assert not scene.running.control.pairs

    play(tmp_path, silence, silence, script, timeout=0.4, breaker=0)


def test_a_client_that_leaves_while_its_answers_are_compared_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = agreement.agreements

    def slowly(comparer: agreement.Comparer, pairs: Sequence[agreement.Answers]) -> list[Finding]:
        time.sleep(0.1)
        return real(comparer, pairs)

    async def script(scene: Scene) -> None:
        monkeypatch.setattr(agreement, "agreements", slowly)
        scene.client.writer.write(post())
        comparing = scene.running.worker.comparing
        await eventually(lambda: comparing._under_way, "they are compared")
        scene.leave()
        await scene.settled()
        await eventually(lambda: not comparing._under_way, "the comparison ends")
        assert scene.running.control.pairs[0].served is Arm.INCUMBENT

    play(tmp_path, saying(response(LONG)), saying(response(LONG.replace(b"1.05", b"1.04"))), script)


def test_a_trip_while_an_answer_is_held_holds_for_the_next_request(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.client.writer.write(post())
        await eventually(lambda: scene.incumbent.heard, "the incumbent is asked")
        endpoint = scene.running.worker.services.by_name["rain"].endpoint
        tripped = replace(endpoint, tripped=True, mode=Mode.SHADOW, weight=0)
        scene.running.control.publish(build([tripped], generation=2))
        await eventually(lambda: 2 in scene.running.control.applied, "the trip is confirmed")
        assert arm(await scene.client.response()) == "candidate", "admitted before"
        assert arm(await scene.ask()) == "incumbent"
        await scene.settled()
        assert scene.running.control.pairs[0].generation == 1
        assert len(scene.candidate.heard) == 1

    play(tmp_path, saying(response(SAME)), later(response(ALIKE), seconds=0.3), script)


def test_a_request_that_began_before_guarding_did_is_never_served_unguarded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(SAME))) as one,
            ScriptedUpstream(saying(response(OTHER))) as two,
        ):
            async with gateway(tmp_path, serving_candidate(one.port, two.port)) as running:
                client = await running.connect()
                request = post(b"[1, 2]")
                client.feed(request[:-2], size=1000)
                running.control.publish(build([guarded(one.port, two.port)], generation=2))
                await eventually(lambda: running.control.applied, "the snapshot is confirmed")
                client.writer.write(request[-2:])
                answer = await client.response()
                assert (answer.body, arm(answer)) == (SAME, "incumbent")
                await eventually(lambda: running.control.pairs, "the pair arrives")
                assert running.control.pairs[0].served is Arm.INCUMBENT
                client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_the_comparators_come_with_a_reload_and_nobody_is_served_unguarded_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            ScriptedUpstream(saying(response(SAME))) as one,
            ScriptedUpstream(saying(response(ALIKE))) as two,
        ):
            async with gateway(tmp_path, endpoint(one.port, two.port)) as running:
                assert not running.worker.comparing.loaded
                client = await running.connect()
                running.control.publish(build([guarded(one.port, two.port)], generation=2))
                await eventually(lambda: running.control.applied, "the snapshot is confirmed")
                arms: list[str] = []
                while not arms or arms[-1] != "candidate":
                    client.writer.write(post())
                    arms.append(arm(await client.response()))
                assert set(arms[:-1]) <= {"incumbent"}
                client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_settings_that_cannot_be_compared_by_leave_the_incumbent_serving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(scene: Scene) -> None:
        assert arm(await scene.ask()) == "incumbent"
        await scene.settled()

    play(tmp_path, saying(response(SAME)), saying(response(SAME)), script, compare=b'{"kind": "magic"}')
    assert "comparison" in capsys.readouterr().err


def test_hard_failures_of_a_challenger_open_the_breaker(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        for _ in range(4):
            assert arm(await scene.ask()) == "incumbent"
        assert scene.running.worker.services.by_name["rain"].breaker.opened
        assert len(scene.candidate.heard) == 2
        await eventually(lambda: scene.running.control.breakers, "the breaker is reported")

    play(tmp_path, saying(response(SAME)), saying(response(b"", status="500 No")), script, breaker=2)


# ---- comparing --------------------------------------------------------------------------------------------


def _answer(body: bytes) -> Observation:
    return Observation("rain-1", Outcome.ANSWERED, 200, 0.01, body)


class _Broken:
    """Fails on one pair, and with it on every batch that holds it."""

    def compare_many(self, pairs: Sequence[agreement.Answers]) -> list[Divergence]:
        if any(candidate.body == b"deep" for _, candidate in pairs):
            raise RecursionError("too deep")
        return [Divergence(0.0, flip=candidate.body == b"other", reason="") for _, candidate in pairs]


def test_a_defect_of_a_comparator_costs_nobody_but_its_own_pair_the_comparison(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = [(_answer(b"same"), _answer(body)) for body in (b"same", b"deep", b"other")]
    found = agreement.agreements(_Broken(), pairs)
    assert found == [Finding.AGREED, Finding.INCOMPARABLE, Finding.OVERRULED]
    assert "too deep" in capsys.readouterr().err


class _Counting:
    """Finds everything the same, and remembers how much it was given at once."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def compare_many(self, pairs: Sequence[agreement.Answers]) -> list[Divergence]:
        self.given.append(len(pairs))
        return [Divergence(0.0, flip=False, reason="")] * len(pairs)


def test_what_comes_in_one_turn_of_the_loop_is_compared_together_up_to_a_bound() -> None:
    found: list[Finding] = []
    one, two = _Counting(), _Counting()

    async def scenario() -> None:
        comparing = Comparing(Tasks(lambda name, error: None))
        for comparer, count in ((one, agreement.MOST_TOGETHER + 3), (two, 5)):
            for _ in range(count):
                comparing.compare(comparer, (_answer(SAME), _answer(ALIKE)), 1.0, found.append)
        assert not found
        await asyncio.sleep(0)
        assert (one.given, two.given) == ([agreement.MOST_TOGETHER], [])
        await asyncio.sleep(0)
        assert (one.given, two.given) == ([agreement.MOST_TOGETHER, 3], [5])
        comparing.close()

    asyncio.run(scenario())
    assert found == [Finding.AGREED] * (agreement.MOST_TOGETHER + 8)


def test_equal_bytes_are_not_compared() -> None:
    found: list[Finding] = []
    comparing = Comparing(Tasks(lambda name, error: None))
    comparer = _Counting()
    comparing.compare(comparer, (_answer(LONG), _answer(LONG)), 1.0, found.append)
    comparing.close()
    assert (found, comparer.given) == ([Finding.AGREED], [])


class _Slow:
    def compare_many(self, pairs: Sequence[agreement.Answers]) -> list[Divergence]:
        time.sleep(0.2)
        raise RuntimeError("nobody waits for this any more")


def test_comparisons_that_are_too_many_or_too_slow_are_not_waited_for() -> None:
    answers = (_answer(LONG), _answer(LONG + b" "))
    found: list[Finding] = []

    async def scenario() -> None:
        failures: list[BaseException] = []
        comparing = Comparing(Tasks(lambda name, error: failures.append(error)))
        for _ in range(agreement.MOST_APART):
            comparing.compare(_Slow(), answers, 0.01, found.append)
        assert not found
        comparing.compare(_Slow(), answers, 60.0, found.append)
        assert found == [Finding.INCOMPARABLE], "one too many"
        await eventually(lambda: len(found) == 1 + agreement.MOST_APART, "nobody waits for the slow ones")
        assert comparing._under_way == agreement.MOST_APART, "they take their places until they have ended"
        await eventually(lambda: not comparing._under_way, "the places are free again")
        comparing.close()
        assert not failures

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert set(found) == {Finding.INCOMPARABLE}
