"""What the admin API shows of a version's lineage, as values that can be written as JSON."""

from __future__ import annotations

from control.clock import iso_or_none
from control.lineage import Held
from domain.lineage import Dataset, Lineage, missing


def shown(held: Held) -> dict[str, object]:
    """Everything that is known, and what is not; as in docs/lineage.md."""
    return {
        "condition": held.condition,
        "reason": held.problem,
        "references": [str(one) for one in held.references],
        "moves": any(one.moves for one in held.references),
        "confirmed_at": iso_or_none(held.confirmed_at),
        "stale_since": iso_or_none(held.stale_since),
        "gaps": list(held.gaps),
        "missing": list(missing(held.record)),
        "record": None if held.record is None else record(held.record),
    }


def record(found: Lineage) -> dict[str, object]:
    """One record; what is not known is null or empty, times are ISO 8601 in UTC."""
    return {
        "source": found.source,
        "version": found.version or None,
        "datasets": [_dataset(one) for one in found.datasets],
        "commit": found.commit or None,
        "repository": found.repository or None,
        "schema": found.schema or None,
        "transformation": found.transformation or None,
        "hyperparameters": dict(found.hyperparameters),
        "metrics": dict(found.metrics),
        "created": iso_or_none(found.created),
        "registered": iso_or_none(found.registered),
        "deployed": iso_or_none(found.deployed),
        "artifact_digest": found.artifact_digest or None,
        "author": found.author or None,
        "runs": list(found.runs),
    }


def _dataset(one: Dataset) -> dict[str, object]:
    return {
        "name": one.name,
        "version": one.version or None,
        "digest": one.digest or None,
        "location": one.location or None,
        "role": one.role,
    }
