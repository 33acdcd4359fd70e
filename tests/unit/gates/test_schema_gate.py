"""The schema gate: descriptions, and requests that the incumbent accepts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from examples.model_server.http import Answer
from gates.checks.schema import Schema, narrower
from gates.gate import GateContext
from gates.payloads import Input
from gates.result import Judgement
from tests.support.trials import Wet, answering, context_of, lines, on_trial, settings_of, v2

X = Input("x", "FP64", (-1, 2))


async def _run(context: GateContext) -> Judgement:
    assert context.endpoint.gates.schema is not None
    return await Schema(context.endpoint.gates.schema).run(context)


@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        ((X,), []),
        ((), []),
        ((Input("x", "FP64", (-1, -1)),), []),
        ((Input("y", "FP64", (-1, 2)),), ["no input 'x'", "further input 'y'"]),
        ((Input("x", "FP32", (-1, 2)),), ["is FP64 for the incumbent, FP32 now"]),
        ((Input("x", "FP64", (-1, 3)),), ["[-1, 3] now"]),
        ((Input("x", "FP64", (1, 2)),), ["[1, 2] now"]),
        ((Input("x", "FP64", (-1,)),), ["[-1] now"]),
        ((X, Input("z", "FP64", (-1,))), ["further input 'z'"]),
    ],
)
def test_what_the_candidate_does_not_accept_is_named(candidate: tuple[Input, ...], found: list[str]) -> None:
    said = narrower((X,), candidate)
    assert len(said) == len(found)
    assert all(part in sentence for part, sentence in zip(found, said, strict=True))


def test_two_servers_of_the_same_signature_pass_on_their_description_alone(tmp_path: Path) -> None:
    found = asyncio.run(on_trial(tmp_path, Wet(), {"schema": {}}, _run))
    assert found.verdict is Verdict.PASS, found
    assert found.numbers["requests"] == 1


def test_a_candidate_with_another_feature_fails(tmp_path: Path) -> None:
    async def scenario() -> Judgement:
        async with (
            v2(tmp_path, Wet()) as trusted,
            v2(tmp_path, Wet(), ("warm", "wet", "windy")) as tried,
            context_of(settings_of(trusted, tried, {"schema": {}})) as context,
        ):
            return await _run(context)

    found = asyncio.run(scenario())
    assert found.verdict is Verdict.FAIL
    assert "[-1, 3] now" in found.sentence
    assert "answers request 1 with 400" in found.sentence


def against(folder: Path, incumbent: Answer, candidate: Answer, **gates: Any) -> Judgement:
    """Two plain JSON servers that describe nothing and answer always the same."""

    async def scenario() -> Judgement:
        async with (
            answering(lambda method, path, body: incumbent) as trusted,
            answering(lambda method, path, body: candidate) as tried,
        ):
            settings = settings_of(
                trusted, tried, {"schema": {}, **gates}, protocol="json", path="/predict",
                compare={"kind": "regression", "output": "/rain"},
            )  # fmt: skip
            async with context_of(settings) as context:
                return await _run(context)

    return asyncio.run(scenario())


FINE = Answer(200, orjson.dumps({"rain": 0.5}))
REFUSED = Answer(422, orjson.dumps({"error": "no such feature"}))


@pytest.mark.parametrize(
    ("incumbent", "candidate", "verdict", "said"),
    [
        (FINE, FINE, Verdict.PASS, "accepts all 3 requests"),
        (FINE, REFUSED, Verdict.FAIL, "answers request 1 with 422"),
        (FINE, Answer(200, b'{"snow": 1}'), Verdict.FAIL, "answer to request 1 cannot be read"),
        (REFUSED, FINE, Verdict.INCONCLUSIVE, "accepts none of 3"),
    ],
)
def test_recorded_requests_are_sent_to_both(
    tmp_path: Path, incumbent: Answer, candidate: Answer, verdict: Verdict, said: str
) -> None:
    requests = lines(tmp_path / "requests.jsonl", [{"wet": wet} for wet in range(3)])
    found = against(tmp_path, incumbent, candidate, requests=str(requests))
    assert found.verdict is verdict
    assert said in found.sentence


def test_servers_that_describe_nothing_need_requests(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"give gates\.requests"):
        against(tmp_path, FINE, FINE)
