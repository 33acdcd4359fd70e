"""All gates are executed, bound to what they measured, and nothing lets a bad one pass."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import GateError, LineageUnknown, PointsmanError, StateUnavailable
from domain.lineage import Dataset, Lineage
from domain.reference import Reference, Registry
from domain.verdict import Verdict
from gates import runner
from gates.result import GateResult, void, worst
from settings.schema import Settings
from tests.support.trials import Wet, held_out, settings_of, v2

OWN = {"name": "own", "command": [sys.executable, "-c", 'print(\'{"verdict": "pass"}\')']}


def executed(
    folder: Path, candidate: Wet, gates: Mapping[str, Any], **more: Any
) -> tuple[Settings, tuple[GateResult, ...]]:
    ticks = itertools.count(1000.0)

    async def scenario() -> tuple[Settings, tuple[GateResult, ...]]:
        async with v2(folder, Wet()) as trusted, v2(folder, candidate) as tried:
            settings = settings_of(trusted, tried, gates)
            return settings, await runner.run(
                settings, settings.endpoints[0], lambda: next(ticks), runner.registered(settings, {}), **more
            )

    return asyncio.run(scenario())


def evaluation(folder: Path, rows: int = 1200) -> dict[str, Any]:
    data = held_out(folder / "held-out.csv", rows)
    return {"data": str(data), "label": "y", "metric": "accuracy", "tolerance": "1%", "batch": 300}


def test_every_gate_is_executed_and_the_worst_verdict_wins(tmp_path: Path) -> None:
    begun: list[str] = []
    gates = {"schema": {}, "lineage": {}, "evaluation": evaluation(tmp_path), "custom": [OWN]}
    _, found = executed(tmp_path, Wet(wrong=5), gates, begun=begun.append)
    assert begun == ["lineage", "schema", "evaluation", "own"]
    verdicts = [Verdict.ERROR, Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert [one.verdict for one in found] == verdicts, found
    assert worst(found) is Verdict.FAIL
    assert all(one.started < one.ended for one in found)


WHOLE = Lineage(
    "file:rain-2", datasets=(Dataset("weather", digest="sha256:ab"),), commit="cd", schema="v3",
    hyperparameters=(("C", "1"),),
)  # fmt: skip
REFERENCE = Reference(Registry.FILE, "rain-2")


@pytest.mark.parametrize(
    ("known", "verdict", "said"),
    [
        (WHOLE, Verdict.PASS, "of rain-2 is known: dataset_digest, commit, schema, hyperparameters"),
        (replace(WHOLE, commit="", hyperparameters=()), Verdict.FAIL, "not known: commit, hyperparameters"),
        (LineageUnknown("no such record"), Verdict.FAIL, "no such record"),
        (StateUnavailable("the registry is down"), Verdict.ERROR, "the registry is down"),
    ],
)
def test_lineage_must_be_known(known: Lineage | PointsmanError, verdict: Verdict, said: str) -> None:
    async def lineage(references: Sequence[Reference]) -> Lineage:
        assert tuple(references) == (REFERENCE,)
        if isinstance(known, PointsmanError):
            raise known
        return known

    settings = settings_of(1, 2, {"lineage": {}})
    (endpoint,) = settings.endpoints
    followed = replace(endpoint, candidate_lineage=(REFERENCE,))
    (found,) = asyncio.run(runner.run(settings, followed, lambda: 1.0, lineage))
    assert found.verdict is verdict
    assert said in found.sentence


def test_lineage_that_stands_nowhere_is_no_pass() -> None:
    settings = settings_of(1, 2, {"lineage": {"require": ["commit"]}})
    asked = runner.registered(settings, {})
    (found,) = asyncio.run(runner.run(settings, settings.endpoints[0], lambda: 1.0, asked))
    assert found.verdict is Verdict.ERROR
    assert "give endpoints.rain.candidate.lineage" in found.sentence


def test_lineage_comes_from_the_registry_that_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "lineage.yaml"
    path.write_text("versions:\n  rain-2: {commit: 4f1a}\n")
    settings = settings_of(1, 2, {"lineage": {"require": ["commit"]}}, registry=str(path))
    asked = runner.registered(settings, {})
    (found,) = asyncio.run(runner.run(settings, settings.endpoints[0], lambda: 1.0, asked))
    assert found.verdict is Verdict.PASS, found


def test_a_result_is_bound_to_the_files_that_it_was_made_of(tmp_path: Path) -> None:
    settings, (found,) = executed(tmp_path, Wet(), {"evaluation": evaluation(tmp_path, 200)})
    data = str(tmp_path / "held-out.csv")
    now = runner.binding(settings, settings.endpoints[0], runner.digests([data]))
    assert void(found, now, found.ended, 60.0) is None
    with Path(data).open("a") as file:
        file.write("0.1,0.1,1\n")
    changed = runner.binding(settings, settings.endpoints[0], runner.digests([data]))
    assert void(found, changed, found.ended, 60.0) == "the data are others now"
    Path(data).unlink()
    gone = runner.binding(settings, settings.endpoints[0], runner.digests([data]))
    assert void(found, gone, found.ended, 60.0) == "the data are others now"


@pytest.mark.parametrize("other", ["candidate", "incumbent", "gates"])
def test_another_version_or_configuration_makes_a_result_void(tmp_path: Path, other: str) -> None:
    settings, (found,) = executed(tmp_path, Wet(), {"schema": {}})
    rain = settings.endpoints[0]
    assert rain.candidate is not None
    ports = {"incumbent": rain.incumbent.upstreams[0].port, "candidate": rain.candidate.upstreams[0].port}
    gates = {"schema": {"requests": 7}} if other == "gates" else {"schema": {}}
    if other in ports:
        ports[other] += 1
    later = settings_of(ports["incumbent"], ports["candidate"], gates)
    assert void(found, runner.binding(later, later.endpoints[0]), found.ended, 60.0) is not None


def test_a_gate_that_breaks_is_an_error_and_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: object, context: object) -> None:
        raise ZeroDivisionError("by the gate")

    monkeypatch.setattr("gates.checks.schema.Schema.run", broken)
    _, (found,) = executed(tmp_path, Wet(), {"schema": {}})
    assert found.verdict is Verdict.ERROR
    assert "ZeroDivisionError: by the gate" in found.sentence


@pytest.mark.parametrize(
    ("incumbent", "candidate", "gates", "more", "complaint"),
    [
        (1, 2, {}, {}, "has no gates"),
        (1, 2, {"schema": {}}, {"candidate": None}, "has no candidate"),
        (1, 1, {"schema": {}}, {}, "held against itself"),
    ],
)
def test_there_must_be_something_to_execute(
    incumbent: int, candidate: int, gates: dict[str, Any], more: dict[str, Any], complaint: str
) -> None:
    settings = settings_of(incumbent, candidate, gates, **more)
    with pytest.raises(GateError, match=complaint):
        runner.demand(settings.endpoints[0])
