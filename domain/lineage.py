"""Lineage: what a version was made of, and where that is written down.

A record says which data, code, features and settings made a version, and how good it was found. Sources know
only a part of it, so that nothing in a record is required: what is not known is empty, `missing` names it,
and a promotion gate can demand it. A version of which nothing is known has no record at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data that a version was made with. `role`: what it served for, such as training or validation."""

    name: str = ""
    version: str = ""
    digest: str = ""
    location: str = ""
    role: str = "training"


@dataclass(frozen=True, slots=True)
class Lineage:
    """What one version was made of. Empty texts, empty tuples and None are what is not known.

    Attributes:
        source: the references that the record was read from, joined by " + ".
        version: the source's own name of what it found, such as a registry's version or a commit.
        datasets: what it was trained on first.
        commit, repository: of the code.
        schema: the feature schema, by name, version or digest.
        transformation: the version of the feature transformation.
        hyperparameters: (name, value), by name.
        metrics: (name, value), by name.
        created, registered, deployed: seconds since the epoch.
        artifact_digest: of the model's files, as ALGORITHM:HEX.
        author: who made it.
        runs: references to the runs of experiment trackers.
    """

    source: str
    version: str = ""
    datasets: tuple[Dataset, ...] = ()
    commit: str = ""
    repository: str = ""
    schema: str = ""
    transformation: str = ""
    hyperparameters: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    created: float | None = None
    registered: float | None = None
    deployed: float | None = None
    artifact_digest: str = ""
    author: str = ""
    runs: tuple[str, ...] = ()


def _of_data(part: Callable[[Dataset], str]) -> Callable[[Lineage], bool]:
    """Whether that part is known of everything that the version was trained on."""

    def known(record: Lineage) -> bool:
        trained = [one for one in record.datasets if one.role == "training"]
        return bool(trained) and all(part(one) for one in trained)

    return known


_KNOWN: Final[dict[str, Callable[[Lineage], bool]]] = {
    "dataset": _of_data(lambda one: one.name),
    "dataset_version": _of_data(lambda one: one.version),
    "dataset_digest": _of_data(lambda one: one.digest),
    "dataset_location": _of_data(lambda one: one.location),
    "commit": lambda record: bool(record.commit),
    "repository": lambda record: bool(record.repository),
    "schema": lambda record: bool(record.schema),
    "transformation": lambda record: bool(record.transformation),
    "hyperparameters": lambda record: bool(record.hyperparameters),
    "metrics": lambda record: bool(record.metrics),
    "created": lambda record: record.created is not None,
    "registered": lambda record: record.registered is not None,
    "deployed": lambda record: record.deployed is not None,
    "artifact_digest": lambda record: bool(record.artifact_digest),
    "author": lambda record: bool(record.author),
}

FIELDS: Final = tuple(_KNOWN)
"""What can be known of a version, and demanded of it."""


def missing(record: Lineage | None, require: Iterable[str] = FIELDS) -> tuple[str, ...]:
    """The fields of `require` that are not known; all of them where there is no record.

    Raises ValueError for a name that is not one of `FIELDS`.

    >>> missing(Lineage("file:rain-2", commit="4f1a"), ("commit", "schema"))
    ('schema',)
    """
    required = tuple(require)
    unknown = [name for name in required if name not in _KNOWN]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no field of a lineage record; there are {', '.join(FIELDS)}")
    return tuple(name for name in required if record is None or not _KNOWN[name](record))


def merged(records: Sequence[Lineage]) -> Lineage:
    """One record out of several of the same version: what an earlier one leaves out, a later one fills in.

    Datasets of the same name and role are one. Raises ValueError when there is no record.
    """
    if not records:
        raise ValueError("there is nothing to merge")
    whole = records[0]
    for record in records[1:]:
        filled = {
            one.name: getattr(record, one.name)
            for one in fields(Lineage)
            if getattr(whole, one.name) in ("", None, ())
        }
        parts = {
            "source": f"{whole.source} + {record.source}",
            "datasets": _datasets(whole.datasets, record.datasets),
            "hyperparameters": tuple(
                sorted((dict(record.hyperparameters) | dict(whole.hyperparameters)).items())
            ),
            "metrics": tuple(sorted((dict(record.metrics) | dict(whole.metrics)).items())),
            "runs": tuple(dict.fromkeys(whole.runs + record.runs)),
        }
        whole = replace(whole, **(filled | parts))
    return whole


def _datasets(first: tuple[Dataset, ...], then: tuple[Dataset, ...]) -> tuple[Dataset, ...]:
    found = {(one.name, one.role): one for one in first}
    for one in then:
        held = found.setdefault((one.name, one.role), one)
        found[one.name, one.role] = replace(
            held,
            version=held.version or one.version,
            digest=held.digest or one.digest,
            location=held.location or one.location,
        )
    return tuple(found.values())


def changes(before: Lineage | None, after: Lineage | None) -> tuple[str, ...]:
    """The names of the attributes in which two records differ; None is a record of which nothing is known."""
    empty = Lineage("")
    return tuple(
        one.name
        for one in fields(Lineage)
        if getattr(before or empty, one.name) != getattr(after or empty, one.name)
    )
