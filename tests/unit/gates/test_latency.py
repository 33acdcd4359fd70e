"""The latency gate: verdicts on given loads, and real requests to real servers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from examples.model_server.http import Answer
from gates.checks.latency import Latency
from gates.gate import GateContext
from gates.load import Load, Measured
from gates.result import Judgement
from gates.server import ModelServer, Reply
from settings.criteria import LatencyGate
from tests.support.trials import Wet, answering, context_of, held_out, lines, on_trial, settings_of

LIMIT = LatencyGate(100.0, 30.0, limits=((0.99, 0.05),))
RATIO = LatencyGate(100.0, 30.0, ratios=((0.95, 1.5),))


def judged(gate: LatencyGate, *arms: list[float], late: float = 0.0) -> Judgement:
    measured = tuple(Measured(list(arm), sum(map(math.isinf, arm))) for arm in arms)
    return Latency(gate)._judge(Load(measured, (late,) * 100))


def latencies(scale: float, count: int = 3000) -> list[float]:
    return np.random.default_rng(1).gamma(4.0, scale / 4.0, count).tolist()


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [(0.010, Verdict.PASS), (0.020, Verdict.INCONCLUSIVE), (0.040, Verdict.FAIL)],
)
def test_a_quantile_is_held_against_its_limit(scale: float, verdict: Verdict) -> None:
    assert judged(LIMIT, latencies(scale)).verdict is verdict


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [(0.010, Verdict.PASS), (0.015, Verdict.INCONCLUSIVE), (0.020, Verdict.FAIL)],
)
def test_a_quantile_is_held_against_the_incumbents(scale: float, verdict: Verdict) -> None:
    assert judged(RATIO, latencies(scale), latencies(0.010)).verdict is verdict


def test_too_few_requests_say_nothing() -> None:
    found = judged(LIMIT, latencies(0.001, 200))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "more requests are needed" in found.sentence


def test_failed_requests_fail_the_gate_however_fast_the_others_are() -> None:
    found = judged(LIMIT, latencies(0.001)[:2990] + [math.inf] * 10)
    assert found.verdict is Verdict.FAIL
    assert "0.33% of the requests failed" in found.sentence


def test_a_load_that_could_not_be_kept_up_is_no_measurement() -> None:
    with pytest.raises(GateError, match="left 40 ms late"):
        judged(LIMIT, latencies(0.040), late=0.04)


def test_a_late_load_does_not_spoil_a_pass() -> None:
    assert judged(LIMIT, latencies(0.010), late=0.04).verdict is Verdict.PASS


def far_away(server: ModelServer) -> Callable[[bytes], Awaitable[Reply]]:
    """Asks `server` over a longer way, so that a busy machine that runs the test does not matter."""
    predict = server.predict

    async def delayed(body: bytes) -> Reply:
        await asyncio.sleep(0.5)
        return await predict(body)

    return delayed


def test_a_real_server_is_measured_beside_the_incumbent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out(tmp_path / "held-out.csv", 20)
    evaluation = {
        "data": str(tmp_path / "held-out.csv"),
        "label": "y",
        "metric": "accuracy",
        "tolerance": "1%",
    }
    latency = {"rps": 20, "for": "1s", "p50": "1m", "p50_ratio": 100}

    async def work(context: GateContext) -> Judgement:
        assert context.endpoint.gates.latency is not None
        for server in (context.incumbent, context.candidate):
            monkeypatch.setattr(server, "predict", far_away(server))
        return await Latency(context.endpoint.gates.latency).run(context)

    gates = {"evaluation": evaluation, "latency": latency}
    found = asyncio.run(on_trial(tmp_path, Wet(), gates, work, timeout="30s"))
    assert found.verdict is Verdict.PASS, found
    assert found.numbers["requests"] == 20
    assert found.numbers["failed"] == 0


def test_a_server_that_refuses_under_load_fails(tmp_path: Path) -> None:
    asked = 0

    def respond(method: str, path: str, body: bytes) -> Answer:
        nonlocal asked
        asked += 1
        return Answer(200 if asked < 5 else 503, b"{}")

    requests = lines(tmp_path / "requests.jsonl", [{"wet": 1}, {"wet": 2}])
    gates = {"requests": str(requests), "latency": {"rps": 50, "for": "1s", "p50": "1s"}}

    async def scenario() -> Judgement:
        async with answering(respond) as port, context_of(settings_of(port, port, gates)) as context:
            assert context.endpoint.gates.latency is not None
            return await Latency(context.endpoint.gates.latency).run(context)

    assert asyncio.run(scenario()).verdict is Verdict.FAIL


def test_an_incumbent_that_fails_is_nothing_to_be_held_against() -> None:
    broken = latencies(0.010, 2900) + [math.inf] * 100
    with pytest.raises(GateError, match=r"3\.33% of the requests to the incumbent failed"):
        judged(RATIO, latencies(0.010), broken)


def test_an_infinite_quantile_of_the_incumbent_lets_no_candidate_pass() -> None:
    tolerant = LatencyGate(100.0, 30.0, ratios=((0.95, 1.5),), errors=0.2)
    broken = latencies(0.010, 2700) + [math.inf] * 300
    assert judged(tolerant, latencies(0.010), broken).verdict is Verdict.INCONCLUSIVE


def test_what_the_driver_was_late_with_does_not_lengthen_the_limit() -> None:
    """Both wait 50 ms for the driver; one needs 1 ms and the other 20 ms more."""
    quick = [0.051 + one / 1000 for one in latencies(0.001)]
    slow = [0.070 + one / 1000 for one in latencies(0.001)]
    with pytest.raises(GateError, match="left 50 ms late"):
        judged(RATIO, slow, quick, late=0.05)
