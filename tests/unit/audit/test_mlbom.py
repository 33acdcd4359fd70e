"""The bill of materials of a version against CycloneDX's own schema."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cyclonedx.schema
import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from audit import mlbom, store
from audit.event import VERSION, Event
from storage.database import Database

SCHEMAS = Path(cyclonedx.schema.__file__).parent / "_res"
WHOLE = {
    "source": "mlflow:rain/7",
    "version": "7",
    "datasets": [
        {
            "name": "rain", "version": "12", "digest": "sha256:" + "ab" * 32, "location": "s3://data/rain",
            "role": "training",
        },
        {"name": "hold-out", "version": "", "digest": "mlflow:12ab", "location": "", "role": "validation"},
    ],
    "commit": "0123abc",
    "repository": "https://git.example/rain",
    "schema": "features-3",
    "transformation": "2",
    "hyperparameters": {"depth": "8", "rate": "0.1"},
    "metrics": {"auc": 0.91},
    "created": "2026-01-01T00:00:00.000000+00:00",
    "registered": None,
    "deployed": None,
    "artifact_digest": "sha256:" + "CD" * 32,
    "author": "ann",
    "runs": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    names = {
        "bom-1.6.SNAPSHOT.schema.json": "bom-1.6.schema.json",
        "spdx.SNAPSHOT.schema.json": "spdx.schema.json",
        "jsf-0.82.SNAPSHOT.schema.json": "jsf-0.82.schema.json",
    }
    registry: Registry[Any] = Registry()
    for name, as_named in names.items():
        schema = json.loads((SCHEMAS / name).read_text())
        resource = Resource.from_contents(schema, default_specification=DRAFT7)
        for uri in {f"http://cyclonedx.org/schema/{as_named}", f"http://cyclonedx.org/schema/{name}"}:
            registry = registry.with_resource(uri, resource)
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text())
    return Draft7Validator(schema, registry=registry)


@pytest.mark.parametrize(
    "lineage",
    [
        WHOLE,
        {},
        {"source": "file"},
        {**WHOLE, "artifact_digest": "sha256:short", "datasets": [{"name": "", "digest": "md5:" + "0" * 32}]},
        {**WHOLE, "metrics": {}, "hyperparameters": {}, "datasets": None, "repository": ""},
    ],
)
def test_it_is_valid_whatever_is_known(validator: Draft7Validator, lineage: dict[str, object]) -> None:
    found = mlbom.bill("rain-2", lineage, 0)
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(found)))] == []


def test_the_validator_does_refuse(validator: Draft7Validator) -> None:
    assert list(validator.iter_errors({**mlbom.bill("rain-2", WHOLE, 0), "specVersion": 7}))


def test_it_names_data_code_metrics_and_the_artifact() -> None:
    found: dict[str, Any] = mlbom.bill("rain-2", WHOLE, 0)
    model = found["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "7")
    assert model["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics == [{"type": "auc", "value": "0.91"}]
    refs = [one["ref"] for one in model["modelCard"]["modelParameters"]["datasets"]]
    assert refs == [one["bom-ref"] for one in found["components"]]
    assert found["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_it_is_read_from_the_chain_as_it_was_known_then(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'audit.db'}")
    events = [
        Event("lineage.changed", VERSION, "rain-2", at, after={"version": version})
        for at, version in ((10, "7"), (20, "8"))
    ]
    database.write(partial(store.append, events=events))
    for at, version in ((10, "7"), (19, "7"), (20, "8")):
        found: dict[str, Any] = database.read(partial(mlbom.read, version="rain-2", at=at))
        assert found["metadata"]["component"]["version"] == version
    with pytest.raises(mlbom.UnknownVersion, match="knows no lineage of a version 'rain-9'"):
        database.read(partial(mlbom.read, version="rain-9", at=30))
    database.close()
