"""Gates of an endpoint that follows a registry: executed on what the aliases name, or on what was taken."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import GateError
from gates.execution import execute
from gates.result import version_digest
from settings.file import load
from settings.follow import version_of
from tests.support.registry_server import Asked, RegistryServer, Reply

ALIASES = {"challenger": "7", "champion": "6"}


def answer(asked: Asked) -> Reply | None:
    for alias, number in ALIASES.items():
        if asked.path == f"/api/2.0/mlflow/registered-models/alias?name=rain&alias={alias}":
            return Reply({"model_version": {"version": number}})
    return None


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer(answer)
    yield server
    server.stop()


def written(folder: Path, url: str) -> Path:
    passing = [sys.executable, "-c", 'print(\'{"verdict": "pass"}\')']
    rain = {
        "path": "/predict", "protocol": "json", "unit": "request", "compare": {"kind": "regression"},
        "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
        "gates": {"custom": [{"name": "own", "command": passing}]},
        "follow": {
            "model": "rain", "candidate": "challenger", "incumbent": "champion",
            "urls": ["http://127.0.0.1:9000/{name}/{version}"],
        },
    }  # fmt: skip
    path = folder / "pointsman.yaml"
    path.write_text(json.dumps({"registry": {"mlflow": {"url": url}}, "endpoints": {"rain": rain}}))
    return path


@pytest.mark.parametrize(
    ("followed", "incumbent", "candidate"), [(None, "6", "7"), (("", "4"), "", "4"), (("3", "5"), "3", "5")]
)
def test_results_are_bound_to_the_versions_that_are_followed(
    tmp_path: Path,
    registry: RegistryServer,
    followed: tuple[str, str] | None,
    incumbent: str,
    candidate: str,
) -> None:
    path = written(tmp_path, registry.url)
    (result,) = execute(path, "rain", followed=followed)
    rain = load(path).endpoint("rain")
    trusted = version_of(rain, incumbent) if incumbent else rain.incumbent
    assert result.binding.candidate == version_digest(version_of(rain, candidate), "/predict")
    assert result.binding.incumbent == version_digest(trusted, "/predict")


def test_an_alias_that_names_nothing_and_a_registry_that_is_down_are_no_pass(
    tmp_path: Path, registry: RegistryServer
) -> None:
    path = written(tmp_path, registry.url)
    registry.answers = lambda asked: Reply({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}, 404)
    with pytest.raises(GateError, match="has no candidate"):
        execute(path, "rain")
    registry.answers = lambda asked: Reply({}, 503)
    with pytest.raises(GateError, match="what to execute gates on is not known"):
        execute(path, "rain")
