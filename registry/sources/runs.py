"""Runs of experiment trackers: kept as references, and resolved where there is a token for it.

A run of Weights & Biases is resolved through its GraphQL API when `registry.wandb.token_env` names a token;
the API is the one that the `wandb` package uses (wandb/apis/public/runs.py) and is not documented beyond it.
Neptune offers no API outside its own package: its runs stay references, as do those of Weights & Biases
without a token. A reference is a record too: it says where to look, and everything else is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from domain.errors import LineageUnknown, StateUnavailable
from domain.lineage import Lineage
from domain.reference import Reference
from registry import fields
from registry.rest import Rest

_QUERY = """query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) { name commit config summaryMetrics createdAt user { username } }
  }
}"""


class KeptRuns:
    """Runs that nobody is asked about."""

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`; it is the reference itself."""
        return Lineage(source=str(reference), runs=(str(reference),))

    async def close(self) -> None:
        """Nothing is held open."""


class WandbRuns:
    """The runs of Weights & Biases behind `rest`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`."""
        entity, project, name = reference.name.split("/")
        variables = {"entity": entity, "project": project, "name": name}
        answer = await self._rest.post("graphql", {"query": _QUERY, "variables": variables})
        errors = fields.mappings(answer.document, "errors")
        if answer.status != 200 or errors:
            told = fields.text(errors[0], "message") if errors else f"HTTP {answer.status}"
            raise StateUnavailable(f"{self._rest.url} does not answer for {reference}: {told}")
        run = fields.mapping(answer.document, "data", "project", "run")
        if not run:
            raise LineageUnknown(f"{self._rest.url} has no {reference}")
        return Lineage(
            source=str(reference),
            version=fields.text(run, "name"),
            commit=fields.text(run, "commit"),
            hyperparameters=fields.hyperparameters(_configured(_decoded(run.get("config")))),
            metrics=fields.metrics(_measured(_decoded(run.get("summaryMetrics")))),
            created=fields.instant(run, "createdAt"),
            author=fields.text(run, "user", "username"),
            runs=(str(reference),),
        )

    async def close(self) -> None:
        """Let the connections go."""
        await self._rest.close()


def _configured(config: Mapping[str, object]) -> list[tuple[str, object]]:
    """Each setting stands under `value`, beside its description; `_` starts the tracker's own."""
    return [
        (name, entry["value"])
        for name, entry in config.items()
        if not name.startswith("_") and isinstance(entry, dict) and "value" in entry
    ]


def _measured(summary: Mapping[str, object]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in summary.items() if not name.startswith("_")]


def _decoded(value: object) -> Mapping[str, object]:
    """A mapping that stands as JSON in a text."""
    try:
        found = orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
