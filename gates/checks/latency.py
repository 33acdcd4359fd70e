"""The latency gate: p50, p95 and p99 of the candidate's real server under a load that keeps its timetable.

A quantile passes when the upper bound of its order statistics is within the limit, fails when the lower bound
is beyond it, and in between there were too few requests to say. Against the incumbent, both are loaded side
by side, and the bounds of both count. A request that fails is infinitely late, and more failures than allowed
fail the gate whatever the quantiles say. An incumbent that fails that often is nothing to be held against.
What this process was late with sending is in both latencies, and would lengthen the limit: for a PASS it is
taken off the incumbent's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.errors import GateError
from domain.verdict import Verdict
from gates import load
from gates.checks.evaluation import example_requests
from gates.confidence import quantile_bounds
from gates.gate import GateContext
from gates.result import Judgement
from gates.server import ModelServer
from settings.criteria import LatencyGate
from settings.gates import CONFIDENCE

MOST_REQUESTS = 1000
"""Different requests that are sent in turn."""

TOLERATED_LATENESS = 0.1
"""Of a limit: when a hundredth of the requests leave later than that, the load is not what it should be."""

_ERROR = 1.0 - CONFIDENCE


class Latency:
    """Quantiles of latency, against limits and against the incumbent."""

    name = "latency"

    def __init__(self, settings: LatencyGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        settings = self._settings
        requests = await example_requests(context, MOST_REQUESTS)
        if not requests:
            raise GateError("there are no requests to send: give gates.requests or gates.evaluation")
        versions = [context.candidate, context.incumbent][: 2 if settings.ratios else 1]
        for version in versions:  # connections and caches of the server are not what is measured
            await version.predict(requests[0])
        done = await load.run([sender(one, requests) for one in versions], settings.rps, settings.lasts)
        return self._judge(done)

    def _judge(self, done: load.Load) -> Judgement:
        settings, candidate = self._settings, done.measured[0]
        count = len(candidate.latencies)
        ordered = candidate.ordered()
        failed = candidate.failed / count
        late = done.late(0.99)
        numbers = {"requests": float(count), "failed": failed, "driver_late_p99": late}
        verdicts, told = [], []
        for share, limit in settings.limits:
            low, high = quantile_bounds(ordered, share, _ERROR)
            verdicts.append(_verdict(low, high, limit, limit))
            numbers |= _finite(f"p{share * 100:g}", low, high)
            told.append(f"p{share * 100:g} {_span(low, high)}, limit {_ms(limit)}")
        for share, ratio in settings.ratios:
            low, high = quantile_bounds(ordered, share, _ERROR)
            least, most = quantile_bounds(done.measured[1].ordered(), share, _ERROR)
            strict = ratio * max(0.0, least - late) if math.isfinite(least) else 0.0
            verdicts.append(_verdict(low, high, strict, ratio * most))
            numbers |= _finite(f"p{share * 100:g}", low, high)
            numbers |= _finite(f"incumbent_p{share * 100:g}", least, most)
            told.append(
                f"p{share * 100:g} {_span(low, high)}, the incumbent's {_span(least, most)}, limit ×{ratio:g}"
            )
        sentence = f"{count} requests at {settings.rps:g}/s: {'; '.join(told)}"
        if failed > settings.errors:
            return Judgement(
                Verdict.FAIL,
                f"{failed:.2%} of the requests failed ({settings.errors:.2%} may); {sentence}",
                numbers,
            )
        if settings.ratios:
            _demand_answers(done.measured[1], settings.errors)
        verdict = Verdict.worst(verdicts)
        tightest = min([limit for _, limit in settings.limits] or [math.inf])
        if verdict is not Verdict.PASS and late > TOLERATED_LATENESS * min(tightest, _middle(ordered)):
            raise GateError(
                f"the load could not be kept up here: a hundredth of the requests left {_ms(late)} late. "
                f"Run it on a machine with less to do ({sentence})"
            )
        more = "; more requests are needed to say" if verdict is Verdict.INCONCLUSIVE else ""
        return Judgement(verdict, sentence + more, numbers)


def sender(server: ModelServer, requests: Sequence[bytes]) -> load.Send:
    """Sends `requests` in turn to `server`; an answer that is not 2xx is a failure, like none at all."""

    async def send(number: int) -> bool:
        try:
            return (await server.predict(requests[number % len(requests)])).ok
        except GateError:
            return False  # counted: a request that fails is infinitely late

    return send


def _verdict(low: float, high: float, least: float, most: float) -> Verdict:
    """Of a quantile within [low, high] under a limit that lies within [least, most]."""
    if high <= least:
        return Verdict.PASS
    return Verdict.FAIL if low > most else Verdict.INCONCLUSIVE


def _demand_answers(incumbent: load.Measured, errors: float) -> None:
    failed = incumbent.failed / len(incumbent.latencies)
    if failed > errors:
        raise GateError(
            f"{failed:.2%} of the requests to the incumbent failed ({errors:.2%} may): there is nothing to "
            "hold the candidate against"
        )


def _middle(ordered: NDArray[np.float64]) -> float:
    return float(ordered[len(ordered) // 2])


def _finite(name: str, low: float, high: float) -> dict[str, float]:
    bounds = {f"{name}_low": low, f"{name}_high": high}
    return {key: value for key, value in bounds.items() if math.isfinite(value)}


def _span(low: float, high: float) -> str:
    return f"{_ms(low)} to {_ms(high)}"


def _ms(seconds: float) -> str:
    return "∞" if math.isinf(seconds) else f"{seconds * 1000:.3g} ms"
