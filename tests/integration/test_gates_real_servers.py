"""Gates against real model servers: MLServer, KServe and `mlflow models serve`, as a release executes them.

What the servers answer is theirs: metadata, tensors, errors and metrics. The models and rows are those of
`tests/support/servers/train.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris

from domain.verdict import Verdict
from gates.result import GateResult
from gates.runner import registered, run
from settings.parse import parse
from tests.support import model_servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

FLOWERS, KINDS = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    with model_servers.started(tmp_path_factory) as port:
        yield port


def held_out(folder: Path) -> str:
    """Every flower, and what it is."""
    names = ("a", "b", "c", "d")
    lines = [",".join((*names, "kind"))]
    lines += [",".join([*map(str, row), str(kind)]) for row, kind in zip(FLOWERS, KINDS, strict=True)]
    path = folder / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def executed(
    one: dict[str, Any], two: dict[str, Any], gates: dict[str, Any], **more: Any
) -> dict[str, GateResult]:
    """Every gate's result, by its name."""
    endpoint = {
        "path": "/v2/models/model/infer",
        "protocol": "v2",
        "unit": "request",
        "timeout": "20s",
        "incumbent": {"version": "one", **one},
        "candidate": {"version": "two", **two},
        "compare": {"kind": "classification"},
        "gates": gates,
        **more,
    }
    settings = parse({"endpoints": {"rain": endpoint}})
    found = asyncio.run(run(settings, settings.endpoints[0], time.time, registered(settings, {})))
    return {one.gate: one for one in found}


def v2(port: int, model: str) -> dict[str, Any]:
    return {"urls": [f"http://127.0.0.1:{port}"], "path": f"/v2/models/{model}/infer"}


def criteria(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "evaluation": {"data": held_out(folder), "label": "kind", "metric": "accuracy", "tolerance": "30%"},
        "latency": {"rps": 5, "for": "3s", "p50": "10s"},
        **more,
    }


@pytest.mark.parametrize("server", ["mlserver", "kserve"])
def test_a_good_model_of_a_v2_server_passes_and_a_worse_one_fails(
    ports: Callable[[str], int], tmp_path: Path, server: str
) -> None:
    port = ports(server)
    good = executed(v2(port, "iris-2"), v2(port, "iris-1"), criteria(tmp_path, schema={"requests": 5}))
    said = {name: (one.verdict, one.sentence) for name, one in good.items()}
    assert {verdict for verdict, _ in said.values()} == {Verdict.PASS}, said
    assert good["evaluation"].numbers["rows"] == 150
    assert good["evaluation"].numbers["candidate"] > 0.9
    worse = criteria(tmp_path)
    worse["evaluation"]["label"] = "a"
    wrong = executed(v2(port, "iris-1"), v2(port, "diabetes-1"), worse)
    assert wrong["evaluation"].verdict in (Verdict.FAIL, Verdict.ERROR), (
        "it takes ten features, and is no classifier"
    )


def test_kserve_s_own_metrics_are_its_memory(ports: Callable[[str], int], tmp_path: Path) -> None:
    port = ports("kserve")
    for most, verdict in (("64GiB", Verdict.PASS), ("1MiB", Verdict.FAIL)):
        gates = criteria(tmp_path, memory={"max": most, "for": "1s"})
        found = executed(v2(port, "iris-1"), v2(port, "iris-2"), gates)["memory"]
        assert found.verdict is verdict, found.sentence
        assert found.numbers["peak"] > 10 * 1024 * 1024


def test_mlflow_s_server_is_evaluated_and_memory_that_it_does_not_tell_is_an_error(
    ports: Callable[[str], int], tmp_path: Path
) -> None:
    one, two = ports("mlflow iris-1"), ports("mlflow iris-2")
    gates = criteria(tmp_path, memory={"max": "64GiB", "for": "1s"})
    found = executed(
        {"urls": [f"http://127.0.0.1:{two}"]},
        {"urls": [f"http://127.0.0.1:{one}"]},
        gates, path="/invocations", protocol="mlflow",
    )  # fmt: skip
    assert found["evaluation"].verdict is Verdict.PASS, found["evaluation"].sentence
    assert found["latency"].verdict is Verdict.PASS, found["latency"].sentence
    assert found["memory"].verdict is Verdict.ERROR


def test_a_model_that_is_not_served_is_an_error_of_every_gate(
    ports: Callable[[str], int], tmp_path: Path
) -> None:
    port = ports("mlserver")
    found = executed(v2(port, "iris-1"), v2(port, "no-such-model"), criteria(tmp_path))
    assert found["evaluation"].verdict is Verdict.ERROR, found["evaluation"].sentence
    assert found["latency"].verdict in (Verdict.ERROR, Verdict.FAIL), found["latency"].sentence
