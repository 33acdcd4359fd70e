"""The Hugging Face Hub: a model repository at a revision, and its card.

The revision's commit names every file of the model, so that it is the version and, as `git:COMMIT`, the
digest of the artifact. The card's metadata say which datasets and which results its author gives. The Hub
knows neither the commit of the training code nor hyperparameters: give a second reference for those.

Source: huggingface.co/docs/hub/api (`GET /api/models/{repo_id}/revision/{revision}`), model card metadata as
in huggingface.co/docs/hub/model-cards; the fields as huggingface_hub 2 reads them. Not recorded from the Hub:
tests serve these shapes from a server of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from domain.errors import LineageUnknown, StateUnavailable
from domain.lineage import Dataset, Lineage
from domain.reference import Reference
from registry import fields
from registry.rest import Rest


class HuggingFace:
    """The Hub behind `rest`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`."""
        where = f"api/models/{quote(reference.name)}/revision/{quote(reference.revision, safe='')}"
        answer = await self._rest.get(where)
        if answer.status == 404:
            told = answer.code or fields.text(answer.document, "error") or "HTTP 404"
            raise LineageUnknown(f"{self._rest.url} has no {reference}: {told}")
        commit = fields.text(answer.document, "sha")
        if answer.status != 200 or not commit:
            raise StateUnavailable(f"{self._rest.url} does not say what {reference} is: HTTP {answer.status}")
        return self._record(reference, commit, answer.document)

    async def close(self) -> None:
        """Let the connections go."""
        await self._rest.close()

    def _record(self, reference: Reference, commit: str, found: object) -> Lineage:
        card = fields.mapping(found, "cardData")
        return Lineage(
            source=str(reference),
            version=commit,
            datasets=tuple(
                Dataset(name=name, location=f"{self._rest.url}/datasets/{quote(name)}")
                for name in _names(card.get("datasets"))
            ),
            metrics=fields.metrics(_results(card)),
            created=fields.instant(found, "createdAt"),
            registered=fields.instant(found, "lastModified"),
            artifact_digest=f"git:{commit}",
            author=fields.text(found, "author"),
        )


def _names(datasets: object) -> Iterator[str]:
    """One name, or several."""
    for one in datasets if isinstance(datasets, list) else [datasets]:
        name = fields.text(one)
        if name:
            yield name


def _results(card: object) -> Iterator[tuple[str, object]]:
    """The card's results, each by the dataset it was measured on and its metric."""
    for model in fields.mappings(card, "model-index"):
        for result in fields.mappings(model, "results"):
            where = fields.text(result, "dataset", "name") or fields.text(result, "dataset", "type")
            for metric in fields.mappings(result, "metrics"):
                name = fields.text(metric, "name") or fields.text(metric, "type")
                if name:
                    yield f"{where}/{name}".strip("/"), metric.get("value")
