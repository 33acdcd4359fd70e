"""The lineage file: records by the name of a version, validated like the configuration.

A key that is not known, a type that is not right, a time without its offset: each is refused with its path,
its value and what is allowed. The file is taken whole or not at all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from domain.errors import ConfigError
from domain.lineage import Dataset, Lineage
from domain.reference import Registry, reference
from registry import fields
from settings import values
from settings.document import plain, shown
from settings.reader import Ledger, Section

_TEXT: Final = values.text(fields.LONGEST)
_NUMBER: Final = values.number(-1e300, 1e300)
_ROLES: Final = ("training", "validation", "test")


def records(document: object) -> dict[str, Lineage]:
    """Every record of the file, by name. Raises ConfigError for the first problem."""
    content = plain(document)
    if not isinstance(content, dict):
        raise ConfigError("lineage file", shown(content), "write versions: {NAME: {...}}")
    ledger = Ledger()
    root = ledger.root(content)
    if not root.holds("versions"):
        root.refuse("versions", None, "this key is required: the records, by the name of their version")
    found = {name: _record(name, section) for name, section in root.named("versions", _name)}
    for problem in ledger.finish():
        raise problem
    return found


def _record(name: str, section: Section) -> Lineage:
    datasets = tuple(_dataset(one) for one in section.sections("datasets"))
    single = section.optional("dataset")
    if single is not None:
        if section.holds("datasets"):
            section.refuse("dataset", "a mapping", "give dataset or datasets, one of the two")
        datasets = (_dataset(single),)
    return Lineage(
        source=f"file:{name}",
        version=section.take("version", _TEXT, ""),
        datasets=datasets,
        commit=section.take("commit", _TEXT, ""),
        repository=fields.location(section.take("repository", _TEXT, "")),
        schema=section.take("schema", _TEXT, ""),
        transformation=section.take("transformation", _TEXT, ""),
        hyperparameters=fields.hyperparameters(section.pairs("hyperparameters", _TEXT, lambda value: value)),
        metrics=fields.metrics(section.pairs("metrics", _TEXT, _NUMBER)),
        created=section.take("created", _time, None),
        registered=section.take("registered", _time, None),
        deployed=section.take("deployed", _time, None),
        artifact_digest=section.take("artifact_digest", _TEXT, ""),
        author=section.take("author", _TEXT, ""),
        runs=section.each("runs", _run),
    )


def _dataset(section: Section) -> Dataset:
    return Dataset(
        name=section.need("name", _TEXT, "what the data is called") or "",
        version=section.take("version", _TEXT, ""),
        digest=section.take("digest", _TEXT, ""),
        location=fields.location(section.take("location", _TEXT, "")),
        role=section.take("role", values.choice(*_ROLES), _ROLES[0]),
    )


def _name(value: object) -> str:
    return reference(f"file:{value}").name


def _time(value: object) -> float | None:
    found = fields.instant(value)
    if found is None:
        hint = "with its offset" if isinstance(value, str) and _is_time(value) else "and offset, in quotes"
        raise ValueError(f"write date and time {hint}, such as 2026-03-01T09:30:00+00:00")
    return found


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _run(value: object) -> str:
    found = reference(value)
    if found.registry not in (Registry.WANDB, Registry.NEPTUNE):
        raise ValueError("write wandb:ENTITY/PROJECT/RUN or neptune:WORKSPACE/PROJECT/RUN")
    return str(found)
