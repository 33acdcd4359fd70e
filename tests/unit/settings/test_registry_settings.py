"""Where lineage comes from, as configured: registries, and the references of versions to them."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from domain.reference import Reference, Registry
from settings.parse import parse, problems
from settings.registries import HUB, RegistryServer, RegistrySettings
from settings.surroundings import registries


def document(registry: dict[str, Any] | None = None, lineage: Any = None) -> dict[str, Any]:
    version: dict[str, Any] = {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]}
    if lineage is not None:
        version["lineage"] = lineage
    rain = {
        "path": "/predict", "protocol": "json", "unit": "request", "incumbent": version,
        "compare": {"kind": "regression", "output": "/y"},
    }  # fmt: skip
    return {"endpoints": {"rain": rain}, **({} if registry is None else {"registry": registry})}


def references(registry: dict[str, Any], lineage: Any = None) -> list[str]:
    return list(map(str, parse(document(registry, lineage)).endpoints[0].incumbent_lineage))


EVERYTHING = {
    "source": "mlflow",
    "path": "lineage.yaml",
    "poll": "2s",
    "mlflow": {"url": "https://mlflow.example/base/", "token_env": "MLFLOW", "user": "ada"},
    "huggingface": {"token_env": "HUB"},
    "dvc": {"repository": "/srv/rain"},
    "delta": {"tables": {"weather": "s3://rain/weather"}},
    "wandb": {"token_env": "WANDB"},
}


def test_every_registry_can_be_had_at_once() -> None:
    settings = parse(document(EVERYTHING))
    assert settings.registry == RegistrySettings(
        source=Registry.MLFLOW,
        path="lineage.yaml",
        poll=2.0,
        mlflow=RegistryServer("https://mlflow.example/base", "MLFLOW", "ada"),
        huggingface=RegistryServer(HUB.url, "HUB"),
        dvc="/srv/rain",
        delta=(("weather", "s3://rain/weather"),),
        wandb=RegistryServer("https://api.wandb.ai", "WANDB", "api"),
    )
    assert settings.inert == ()


def test_without_a_registry_no_version_has_lineage() -> None:
    settings = parse(document())
    assert settings.registry == RegistrySettings()
    assert settings.endpoints[0].incumbent_lineage == ()


def test_a_version_is_looked_up_in_the_lineage_file_by_its_name() -> None:
    assert references({"path": "lineage.yaml"}) == ["file:rain-1"]
    assert references({"path": "lineage.yaml"}, "rain-one") == ["file:rain-one"]
    assert references(EVERYTHING) == ["file:rain-1"]


def test_a_reference_without_a_scheme_is_the_sources() -> None:
    assert references(EVERYTHING, "rain@champion") == ["models:/rain@champion"]
    assert references({"source": "huggingface"}, "acme/rain") == ["hf://acme/rain@main"]
    several = ["rain/3", "delta:weather@7", "wandb:acme/rain/1abc"]
    assert references(EVERYTHING, several) == ["models:/rain/3", *several[1:]]


@pytest.mark.parametrize(
    ("registry", "lineage", "path", "allowed"),
    [
        ({"source": "mlflow"}, None, "registry.source", "registry.mlflow.url"),
        ({"source": "dvc"}, None, "registry.source", "registry.dvc.repository"),
        ({"source": "wandb"}, None, "registry.source", "'huggingface'"),
        ({"sauce": "file"}, None, "registry.sauce", "did you mean 'source'"),
        ({"poll": 5}, None, "registry.poll", "with its unit"),
        ({"mlflow": {"url": "ftp://mlflow"}}, None, "registry.mlflow.url", "no other scheme"),
        (
            {"mlflow": {"url": "http://ada:pw@mlflow"}},
            None,
            "registry.mlflow.url",
            "user names and passwords",
        ),
        ({"mlflow": {"token_env": "A"}}, None, "registry.mlflow.url", "required"),
        ({"mlflow": {"url": "http://m", "user": "a"}}, None, "registry.mlflow.user", "token_env too"),
        (
            {"mlflow": {"url": "http://m", "user": "a:b", "token_env": "A"}},
            None,
            "registry.mlflow.user",
            "colon",
        ),
        (
            {"mlflow": {"url": "http://m", "token_env": "a b"}},
            None,
            "registry.mlflow.token_env",
            "never the secret",
        ),
        ({"wandb": {"url": "http://w"}}, None, "registry.wandb.token_env", "with a token only"),
        ({"delta": {"tables": {"a b": "x"}}}, None, "registry.delta.tables.'a b'", "letters"),
        (None, "rain-1", "endpoints.rain.incumbent.lineage", "give registry.path"),
        (None, "models:/rain/1", "endpoints.rain.incumbent.lineage", "give registry.mlflow.url"),
        (EVERYTHING, "delta:soil", "endpoints.rain.incumbent.lineage", "has no 'soil'"),
        (EVERYTHING, "rain", "endpoints.rain.incumbent.lineage", "models:/NAME@ALIAS"),
        (EVERYTHING, [], "endpoints.rain.incumbent.lineage", "1 to 8"),
        (EVERYTHING, ["rain/1", 7], "endpoints.rain.incumbent.lineage", "write"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path(
    registry: dict[str, Any] | None, lineage: Any, path: str, allowed: str
) -> None:
    (problem,) = problems(document(registry, lineage))
    assert problem.path == path
    assert allowed in problem.allowed


def test_tokens_are_demanded_by_their_variables() -> None:
    known = parse(document(EVERYTHING)).registry
    registries(known, {"MLFLOW": "a", "HUB": "b", "WANDB": "c"})
    for name, variable in (("mlflow", "MLFLOW"), ("huggingface", "HUB"), ("wandb", "WANDB")):
        tokens = {"MLFLOW": "a", "HUB": "b", "WANDB": "c"} | {variable: ""}
        with pytest.raises(ConfigError) as told:
            registries(known, tokens)
        assert told.value.path == f"registry.{name}.token_env"


def test_tables_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pointsman\[delta\]"):
        registries(RegistrySettings(delta=(("rain", "/srv/rain"),)), {})


def test_a_reference_knows_whether_its_registry_is_configured() -> None:
    for registry in Registry:
        lacks = RegistrySettings().lacks(registry)
        hosted = registry in (Registry.HUGGINGFACE, Registry.WANDB, Registry.NEPTUNE)
        assert (lacks is None) == hosted, Reference(registry, "x")
