"""What gates can be configured, and what is refused by its path."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings.criteria import (
    CustomGate,
    DriftGate,
    EvaluationGate,
    GateSettings,
    LatencyGate,
    LineageGate,
    MemoryGate,
    SchemaGate,
)
from settings.gates import least_requests
from settings.parse import parse, problems
from settings.schema import EndpointSettings

EVALUATION = {"data": "holdout.csv", "label": "y", "metric": "roc_auc", "tolerance": "1%"}


def document(gates: dict[str, Any] | None, **endpoint: Any) -> dict[str, Any]:
    rain = {
        "path": "/v2/models/rain/infer",
        "protocol": "v2",
        "unit": "request",
        "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
        "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
        "compare": {"kind": "classification"},
        **endpoint,
    }
    return {"endpoints": {"rain": rain if gates is None else {**rain, "gates": gates}}}


def rain(gates: dict[str, Any] | None, **endpoint: Any) -> EndpointSettings:
    return parse(document(gates, **endpoint)).endpoints[0]


def test_every_gate_is_read_with_its_units() -> None:
    gates = {
        "valid_for": "2h",
        "requests": "requests.jsonl",
        "evaluation": {**EVALUATION, "features": ["a", "b"], "confidence": "99%", "batch": 8},
        "latency": {"rps": 100, "for": "1m", "p50": "5ms", "p99": "50ms", "p95_ratio": 1.5, "errors": "1%"},
        "memory": {"max": "1GiB", "for": "5s", "pid": 17},
        "drift": {"data": "now.csv", "against": "then.csv", "shift": "5%", "features": ["a"]},
        "lineage": {"require": ["commit"]},
        "schema": {"requests": 5},
        "custom": [
            {"name": "fair", "command": ["fair.py", "--strict"], "timeout": "5m"},
            {"name": "signed", "url": "https://ci.example/signed"},
        ],
    }
    found = rain(gates).gates
    assert found == GateSettings(
        EvaluationGate("holdout.csv", "y", "roc_auc", 0.01, 0.99, ("a", "b"), None, 8),
        LatencyGate(100.0, 60.0, ((0.5, 0.005), (0.99, 0.05)), ((0.95, 1.5),), 0.01),
        MemoryGate(2**30, 5.0, "/metrics", 17, None),
        DriftGate(0.05, "now.csv", "then.csv", "time", ("a",)),
        LineageGate(("commit",)),
        SchemaGate(5),
        (
            CustomGate("fair", ("fair.py", "--strict"), None, 300.0),
            CustomGate("signed", (), "https://ci.example/signed", 60.0),
        ),
        7200.0,
        "requests.jsonl",
    )
    assert found.configured


def test_without_gates_there_are_none() -> None:
    assert not rain(None).gates.configured
    assert rain(None).gates == GateSettings()


def test_a_json_request_holds_one_row_unless_told_otherwise() -> None:
    found = rain({"evaluation": EVALUATION}, protocol="json").gates.evaluation
    assert found is not None
    assert found.batch == 1


@pytest.mark.parametrize(
    ("gates", "path", "allowed"),
    [
        ({"evaluation": {**EVALUATION, "label": None}}, "evaluation.label", "the truth"),
        ({"evaluation": {**EVALUATION, "tolerance": "0%"}}, "evaluation.tolerance", "0.001%"),
        ({"evaluation": {**EVALUATION, "features": ["y"]}}, "evaluation.features", "must not see"),
        ({"evaluation": {**EVALUATION, "features": ["a"], "request": "b"}}, "evaluation.request", "two"),
        ({"evaluation": {**EVALUATION, "accuracy": 1}}, "evaluation.accuracy", "no such key"),
        ({"latency": {"rps": 100, "p99": "5ms"}}, "latency", "gates.requests or gates.evaluation"),
        ({"requests": "r", "latency": {"rps": 100}}, "latency.p99", "give a limit"),
        ({"requests": "r", "latency": {"p99": "5ms"}}, "latency.rps", "requests a second"),
        ({"requests": "r", "latency": {"rps": 10, "for": "20s", "p99": "5ms"}}, "latency.for", "so 30s"),
        ({"memory": {"for": "5s"}}, "memory.max", "the limit"),
        ({"memory": {"max": "1MiB", "pid": 1, "cgroup": "/x"}}, "memory.cgroup", "pid is given too"),
        ({"memory": {"max": "1MiB", "metrics": "ftp://x/y"}}, "memory.metrics", "write a URL"),
        ({"drift": {"data": "x.csv"}}, "drift.shift", "the limit"),
        ({"lineage": {"require": ["colour"]}}, "lineage.require[0]", "dataset"),
        ({"lineage": {"require": []}}, "lineage.require", "name a field"),
        ({"custom": [{"name": "a"}]}, "custom[0].command", "one of the two"),
        ({"custom": [{"name": "a", "command": ["x"], "url": "http://x/"}]}, "custom[0].command", "one of"),
        ({"custom": [{"name": "a", "command": []}]}, "custom[0].command", "a program"),
        ({"custom": [{"name": "latency", "command": ["x"]}]}, "custom[0].name", "none of the gates' own"),
        ({"custom": [{"name": "a", "url": "http://me:secret@x/"}]}, "custom[0].url", "without user name"),
        ({"custom": [{"name": "a", "command": ["x"]}] * 2}, "custom[1].name", "once"),
        ({"override": True}, "override", "no such key"),
        ({"skip": ["latency"]}, "skip", "no such key"),
        ({"valid_for": "1s"}, "valid_for", "1m to 30d"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_path(gates: dict[str, Any], path: str, allowed: str) -> None:
    (problem,) = problems(document(gates))
    assert problem.path == f"endpoints.rain.gates.{path}"
    assert allowed in problem.allowed


def test_texts_need_whole_requests() -> None:
    (problem,) = problems(document({"evaluation": EVALUATION}, protocol="openai", compare={"kind": "text"}))
    assert problem.path == "endpoints.rain.gates.evaluation.request"


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_the_least_number_of_requests_can_just_show_a_quantile(quantile: float) -> None:
    assert quantile ** least_requests(quantile) <= 0.05 < quantile ** (least_requests(quantile) - 1)


def test_watch_and_patience_are_read() -> None:
    assert (rain(None).watch, rain(None).patience) == (0.0, 604_800.0)
    found = rain(None, watch="24h", patience="2d")
    assert (found.watch, found.patience) == (86_400.0, 172_800.0)


def test_a_stage_that_outlasts_the_patience_would_never_end() -> None:
    plan = [{"mode": "shadow", "at_least": "2h"}, {"mode": "canary", "weight": "1%"}]
    with pytest.raises(ConfigError, match="would never finish: be more patient"):
        parse(document(None, plan=plan, patience="1h"))
    assert rain(None, plan=[{"mode": "shadow", "at_least": "30d"}]).patience > 30 * 86_400
