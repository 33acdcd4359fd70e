"""Every configured registry as one: a version's references in, one record out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.errors import LineageUnknown
from domain.lineage import Lineage, merged
from domain.ports import LineageSource
from domain.reference import Reference, Registry
from registry.rest import Rest
from registry.sources.delta import DeltaTables
from registry.sources.dvc import Dvc
from registry.sources.file import LineageFile
from registry.sources.huggingface import HuggingFace
from registry.sources.mlflow import Mlflow
from registry.sources.runs import KeptRuns, WandbRuns
from settings.registries import RegistrySettings
from settings.surroundings import registries, registry_token


class Found(NamedTuple):
    """What the references of a version gave; `gaps`: why some of them gave nothing."""

    record: Lineage
    gaps: tuple[str, ...] = ()


class Catalog:
    """The registries in `sources`, by their kind."""

    def __init__(self, sources: Mapping[Registry, LineageSource]) -> None:
        self._sources = dict(sources)

    @staticmethod
    def open(settings: RegistrySettings, environment: Mapping[str, str]) -> Catalog:
        """The registries that `settings` name. Raises ConfigError when a token or a package is missing."""
        registries(settings, environment)
        hub = settings.huggingface
        token = registry_token("huggingface", hub, environment)
        sources: dict[Registry, LineageSource] = {
            Registry.HUGGINGFACE: HuggingFace(Rest("Hugging Face", hub, token)),
            Registry.NEPTUNE: KeptRuns(),
            Registry.WANDB: KeptRuns(),
        }
        if settings.path is not None:
            sources[Registry.FILE] = LineageFile(settings.path)
        if settings.mlflow is not None:
            token = registry_token("mlflow", settings.mlflow, environment)
            sources[Registry.MLFLOW] = Mlflow(Rest("MLflow", settings.mlflow, token))
        if settings.dvc is not None:
            sources[Registry.DVC] = Dvc(settings.dvc)
        if settings.delta:
            sources[Registry.DELTA] = DeltaTables(dict(settings.delta))
        if settings.wandb is not None:
            token = registry_token("wandb", settings.wandb, environment)
            sources[Registry.WANDB] = WandbRuns(Rest("Weights & Biases", settings.wandb, token))
        return Catalog(sources)

    async def lookup(self, references: Sequence[Reference]) -> Found:
        """What `references` say together, the first one first.

        Raises LineageUnknown when none of them leads to a record. One that cannot be asked raises for all:
        half a record would read as a version that has lost the other half.
        """
        records: list[Lineage] = []
        gaps: list[str] = []
        for reference in references:
            try:
                records.append(await self._source(reference).lookup(reference))
            except LineageUnknown as error:
                gaps.append(str(error))
        if not records:
            raise LineageUnknown("; ".join(gaps) or "no lineage is configured for this version")
        return Found(merged(records), tuple(gaps))

    async def close(self) -> None:
        """Let every registry go."""
        for source in self._sources.values():
            await source.close()

    def _source(self, reference: Reference) -> LineageSource:
        source = self._sources.get(reference.registry)
        if source is None:
            raise LineageUnknown(f"{reference}: no such registry is configured")
        return source
