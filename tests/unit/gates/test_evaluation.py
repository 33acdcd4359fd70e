"""The evaluation gate against real V2 model servers on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from examples.model_server.http import Answer
from gates.checks.evaluation import Evaluation
from gates.gate import GateContext
from gates.result import Judgement
from tests.support.trials import Wet, answering, context_of, held_out, on_trial, settings_of


async def _run(context: GateContext) -> Judgement:
    assert context.endpoint.gates.evaluation is not None
    return await Evaluation(context.endpoint.gates.evaluation).run(context)


def evaluate(folder: Path, candidate: Wet, rows: int = 1200, **gate: Any) -> Judgement:
    data = held_out(folder / "held-out.csv", rows)
    settings = {
        "data": str(data),
        "label": "y",
        "metric": "accuracy",
        "tolerance": "1%",
        "batch": 200,
        **gate,
    }
    return asyncio.run(on_trial(folder, candidate, {"evaluation": settings}, _run))


def test_a_candidate_as_good_as_the_incumbent_passes(tmp_path: Path) -> None:
    found = evaluate(tmp_path, Wet(bias=0.001))
    assert found.verdict is Verdict.PASS, found
    assert found.numbers["rows"] == 1200


def test_a_candidate_that_errs_more_often_fails(tmp_path: Path) -> None:
    found = evaluate(tmp_path, Wet(wrong=10))
    assert found.verdict is Verdict.FAIL, found
    assert found.numbers["high"] < -0.01
    assert "the incumbent's" in found.sentence


def test_few_rows_say_nothing(tmp_path: Path) -> None:
    found = evaluate(tmp_path, Wet(), rows=60)
    assert found.verdict is Verdict.INCONCLUSIVE, found
    assert "more rows are needed" in found.sentence
    bootstrapped = evaluate(tmp_path, Wet(), rows=60, metric="roc_auc")
    assert bootstrapped.verdict is Verdict.INCONCLUSIVE, bootstrapped


@pytest.mark.parametrize(("wrong", "verdict"), [(0, Verdict.PASS), (5, Verdict.FAIL)])
def test_other_metrics_are_bounded_by_a_bootstrap(tmp_path: Path, wrong: int, verdict: Verdict) -> None:
    found = evaluate(tmp_path, Wet(wrong=wrong), rows=150, metric="roc_auc")
    assert found.verdict is verdict, found


@pytest.mark.parametrize(
    ("gate", "complaint"),
    [
        ({"data": "missing.csv"}, r"missing\.csv cannot be read"),
        ({"label": "truth"}, "no column 'truth'.*it has warm, wet, y"),
        ({"metric": "acuracy"}, "did you mean accuracy"),
        ({"features": ["warm"]}, "takes 2 features; 1 columns are sent"),
        ({"features": ["cold", "wet"]}, "no column 'cold'"),
        ({"request": "warm"}, "column 'warm' has no request in row 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_measured_is_refused_in_words(
    tmp_path: Path, gate: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(GateError, match=complaint):
        evaluate(tmp_path, Wet(), 20, **gate)


def test_a_server_that_is_down_is_no_measurement(tmp_path: Path) -> None:
    data = held_out(tmp_path / "held-out.csv", 50)
    gate = {"data": str(data), "label": "y", "metric": "accuracy", "tolerance": "1%"}

    async def scenario() -> Judgement:
        async with context_of(settings_of(1, 1, {"evaluation": gate}, timeout="2s")) as context:
            return await _run(context)

    with pytest.raises(GateError, match="gives no answer"):
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(500, b'{"error":"out of memory"}'), "answers request 1 with 500 .*out of memory"),
        (Answer(200, b"{}"), "answer to request 1 cannot be read"),
        (Answer(200, orjson.dumps({"predictions": [[0.5, 0.5]] * 80})), "answers 160 rows; 40 were sent"),
    ],
)
def test_a_row_without_a_prediction_is_no_measurement(tmp_path: Path, answer: Answer, complaint: str) -> None:
    data = held_out(tmp_path / "held-out.csv", 40)
    gate = {"data": str(data), "label": "y", "metric": "accuracy", "tolerance": "1%"}

    async def scenario() -> Judgement:
        async with answering(lambda method, path, body: answer) as port:
            settings = settings_of(
                port, port, {"evaluation": gate}, protocol="mlflow", compare={"kind": "classification"}
            )
            async with context_of(settings) as context:
                return await _run(context)

    with pytest.raises(GateError, match=complaint):
        asyncio.run(scenario())


def test_whole_requests_are_sent_as_they_stand(tmp_path: Path) -> None:
    data = tmp_path / "held-out.csv"
    data.write_text('ask,y\n"{""wet"": 1}",1\n"{""wet"": 0}",0\n')
    gate = {"data": str(data), "label": "y", "metric": "accuracy", "tolerance": "1%", "request": "ask"}

    def respond(method: str, path: str, body: bytes) -> Answer:
        return Answer(200, orjson.dumps({"class": orjson.loads(body)["wet"]}))

    async def scenario() -> Judgement:
        async with answering(respond) as port:
            compare = {"kind": "classification", "output": "/class"}
            async with context_of(
                settings_of(port, port, {"evaluation": gate}, protocol="json", compare=compare)
            ) as context:
                return await _run(context)

    found = asyncio.run(scenario())
    assert (found.numbers["incumbent"], found.numbers["candidate"]) == (1.0, 1.0)
