"""The lineage file: what it may say, and what is refused by key, value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from domain.lineage import Dataset, Lineage
from registry.document import records
from settings import file

TEXT = """
versions:
  rain-1:
    commit: 4f1a
  rain-2:
    version: "2"
    dataset: {name: weather, version: "7", digest: "sha256:1", location: "https://ada:pw@data.example/w?sig=1"}
    commit: 4f1a2b
    repository: https://git.example/rain
    schema: v3
    transformation: v2
    hyperparameters: {depth: 7, rate: 0.1, wide: true, name: x, layers: [1, 2]}
    metrics: {accuracy: 0.91, auc: 1}
    created: 2026-01-02T03:04:05+00:00
    registered: 2026-01-02T04:04:05+01:00
    deployed: 2026-01-02T03:04:06Z
    artifact_digest: sha256:2
    author: ada
    runs: [wandb:acme/rain/1abc]
"""


def parsed(text: str) -> dict[str, Lineage]:
    return records(file.decode(text.encode(), "lineage.yaml"))


def test_a_whole_record_is_read() -> None:
    found = parsed(TEXT)
    assert found["rain-1"] == Lineage("file:rain-1", commit="4f1a")
    assert found["rain-2"] == Lineage(
        source="file:rain-2",
        version="2",
        datasets=(Dataset("weather", "7", "sha256:1", "https://data.example/w"),),
        commit="4f1a2b",
        repository="https://git.example/rain",
        schema="v3",
        transformation="v2",
        hyperparameters=(
            ("depth", "7"), ("layers", "[1,2]"), ("name", "x"), ("rate", "0.1"), ("wide", "true"),
        ),
        metrics=(("accuracy", 0.91), ("auc", 1.0)),
        created=1767323045.0,
        registered=1767323045.0,
        deployed=1767323046.0,
        artifact_digest="sha256:2",
        author="ada",
        runs=("wandb:acme/rain/1abc",),
    )  # fmt: skip


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"comit": "x"}, "versions.rain.comit", "did you mean 'commit'"),
    ({"commit": 4}, "versions.rain.commit", "in quotes"),
    ({"commit": ""}, "versions.rain.commit", "1 to 1000"),
    ({"dataset": "weather"}, "versions.rain.dataset", "mapping"),
    ({"dataset": {"digest": "x"}}, "versions.rain.dataset.name", "required"),
    ({"dataset": {"name": "x", "role": "fun"}}, "versions.rain.dataset.role", "'training'"),
    ({"dataset": {"name": "x"}, "datasets": []}, "versions.rain.dataset", "one of the two"),
    ({"datasets": ["x"]}, "versions.rain.datasets[0]", "mapping"),
    ({"hyperparameters": [1]}, "versions.rain.hyperparameters", "mapping"),
    ({"metrics": {"accuracy": "high"}}, "versions.rain.metrics.accuracy", "number"),
    ({"created": "2026-01-02T03:04:05"}, "versions.rain.created", "with its offset"),
    ({"created": "yesterday"}, "versions.rain.created", "date and time"),
    ({"created": 20260102}, "versions.rain.created", "in quotes"),
    ({"runs": ["rain-1"]}, "versions.rain.runs[0]", "wandb:ENTITY/PROJECT/RUN"),
    ({"runs": ["wandb:a"]}, "versions.rain.runs[0]", "wandb:ENTITY/PROJECT/RUN"),
]


@pytest.mark.parametrize(("record", "path", "allowed"), REFUSED)
def test_what_is_wrong_is_refused_by_its_path(record: dict[str, Any], path: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as told:
        records({"versions": {"rain": record}})
    assert told.value.path == path
    assert allowed in told.value.allowed


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "lineage file"),
        ({}, "versions"),
        ({"versions": []}, "versions"),
        ({"versions": {"a b": {}}}, "versions.'a b'"),
    ],
)
def test_what_is_no_lineage_file_is_refused(document: object, path: str) -> None:
    with pytest.raises(ConfigError) as told:
        records(document)
    assert told.value.path == path
