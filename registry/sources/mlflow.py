"""MLflow's model registry and tracking server, over REST (API 2.0).

A reference names a registered model and a version or an alias. From the version come its number, its time and
its tags; from the run that made it parameters, metrics, tags and dataset inputs. MLflow does not know
everything that a record can say, so that tags of our own fill in, on the version or else on the run:
`pointsman.feature_schema`, `pointsman.transformation`, `pointsman.artifact_digest`, `pointsman.deployed` (a
time) and `pointsman.dataset_version`. Without a tag, the feature schema is the digest of the dataset's schema
that the run logged.

Source: mlflow.org/docs/latest/api_reference/rest-api.html, and the answers of an MLflow 3 server.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from domain.errors import LineageUnknown, StateUnavailable
from domain.lineage import Dataset, Lineage
from domain.reference import Reference
from registry import fields
from registry.rest import Answer, Rest

_API = "api/2.0/mlflow"
_ROLES = {"training": "training", "train": "training", "validation": "validation", "test": "test"}


class Mlflow:
    """The registry behind `rest`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`."""
        if reference.revision.startswith("@"):
            query = {"name": reference.name, "alias": reference.revision[1:]}
            found = await self._rest.get(f"{_API}/registered-models/alias", query)
        else:
            query = {"name": reference.name, "version": reference.revision}
            found = await self._rest.get(f"{_API}/model-versions/get", query)
        version = fields.mapping(self._content(found, str(reference)), "model_version")
        number = fields.text(version, "version")
        if not number:
            raise StateUnavailable(f"MLflow at {self._rest.url} answers without a model version")
        identity = fields.text(version, "run_id")
        run: object = {}
        if identity:
            answer = await self._rest.get(f"{_API}/runs/get", {"run_id": identity})
            # A run may be deleted for good; the version is still there and says what it knows.
            run = {} if _unknown(answer) else fields.mapping(self._content(answer, identity), "run")
        return _record(reference, number, version, run)

    async def named(self, model: str, alias: str) -> str | None:
        """The version that `alias` of `model` names; None where there is no such alias, or no such model.

        Raises StateUnavailable.
        """
        query = {"name": model, "alias": alias}
        found = await self._rest.get(f"{_API}/registered-models/alias", query)
        try:
            content = self._content(found, f"{model}@{alias}")
        except LineageUnknown:
            return None
        number = fields.text(fields.mapping(content, "model_version"), "version")
        if not number:
            raise StateUnavailable(f"MLflow at {self._rest.url} answers without a model version")
        return number

    async def name(self, model: str, alias: str, version: str) -> None:
        """Let `alias` name `version` of `model`. Raises LineageUnknown (no such one), StateUnavailable."""
        body = {"name": model, "alias": alias, "version": version}
        answer = await self._rest.post(f"{_API}/registered-models/alias", body)
        self._content(answer, f"{model}/{version}")

    async def close(self) -> None:
        """Let the connections go."""
        await self._rest.close()

    def _content(self, answer: Answer, what: str) -> object:
        if answer.status == 200:
            return answer.document
        told = fields.text(answer.document, "message") or f"HTTP {answer.status}"
        if _unknown(answer):
            raise LineageUnknown(f"MLflow at {self._rest.url} has no {what}: {told}")
        raise StateUnavailable(f"MLflow at {self._rest.url} does not answer for {what}: {told}")


def _unknown(answer: Answer) -> bool:
    """MLflow says 404 for models, versions and runs; for an alias of a model that it has, 400."""
    code = fields.text(answer.document, "error_code")
    message = fields.text(answer.document, "message")
    return code == "RESOURCE_DOES_NOT_EXIST" or (
        code == "INVALID_PARAMETER_VALUE" and "alias" in message and "not found" in message
    )


def _record(reference: Reference, number: str, version: object, run: object) -> Lineage:
    own = _tags(fields.mappings(version, "tags"))
    logged = _tags(fields.mappings(run, "data", "tags"))

    def tag(name: str) -> str:
        key = f"pointsman.{name}"
        return own.get(key) or logged.get(key, "")

    inputs = fields.mappings(run, "inputs", "dataset_inputs")
    created = fields.milliseconds(run, "info", "end_time") or fields.milliseconds(run, "info", "start_time")
    return Lineage(
        source=str(reference),
        version=number,
        datasets=tuple(_dataset(one, tag("dataset_version")) for one in inputs),
        commit=logged.get("mlflow.source.git.commit", ""),
        repository=fields.location(logged.get("mlflow.source.git.repoURL", "")),
        schema=tag("feature_schema") or _schema(inputs),
        transformation=tag("transformation"),
        hyperparameters=fields.hyperparameters(
            (fields.text(one, "key"), fields.text(one, "value"))
            for one in fields.mappings(run, "data", "params")
        ),
        metrics=fields.metrics(
            (fields.text(one, "key"), one.get("value")) for one in fields.mappings(run, "data", "metrics")
        ),
        created=created,
        registered=fields.milliseconds(version, "creation_timestamp"),
        deployed=fields.instant(tag("deployed")),
        artifact_digest=tag("artifact_digest"),
        author=logged.get("mlflow.user", "") or fields.text(version, "user_id"),
    )


def _tags(found: list[Mapping[str, object]]) -> dict[str, str]:
    return {fields.text(one, "key"): fields.text(one, "value") for one in found}


def _dataset(found: object, tagged: str) -> Dataset:
    """What was logged as an input; its source is a JSON text whose keys depend on its type."""
    source = _decoded(fields.at(found, "dataset", "source"))
    place = next(
        (text for key in ("delta_table_name", "path", "uri", "url") if (text := fields.text(source, key))), ""
    )
    role = _tags(fields.mappings(found, "tags")).get("mlflow.data.context", "training")
    return Dataset(
        name=fields.text(found, "dataset", "name"),
        version=fields.text(source, "delta_table_version") or fields.text(source, "revision") or tagged,
        digest=fields.text(found, "dataset", "digest"),
        location=fields.location(place),
        role=_ROLES.get(role, role),
    )


def _schema(inputs: list[Mapping[str, object]]) -> str:
    for one in inputs:
        schema = fields.at(one, "dataset", "schema")
        if isinstance(schema, str) and schema:
            return fields.digest_of(_decoded(schema) or schema)
    return ""


def _decoded(value: object) -> object:
    try:
        return orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        return None
