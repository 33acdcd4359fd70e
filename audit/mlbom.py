"""A version's lineage as a bill of materials that other tools read: CycloneDX 1.6, with its model card.

Source: the CycloneDX 1.6 JSON schema (ECMA-424), component type `machine-learning-model`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import cast

from sqlalchemy import Connection

from audit import canonical
from audit.event import VERSION, text
from audit.intervals import live_at
from audit.times import iso
from domain.errors import PointsmanError

_HASHES = {
    "md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512",
    "sha3-256": "SHA3-256", "sha3-512": "SHA3-512", "blake3": "BLAKE3",
}  # fmt: skip
_LENGTHS = {"MD5": 32, "SHA-1": 40, "SHA-384": 96, "SHA-512": 128, "SHA3-512": 128}


class UnknownVersion(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """The chain knows no lineage of this version."""


def read(connection: Connection, version: str, at: int) -> dict[str, object]:
    """The bill of materials of `version` as its lineage was known at `at`. Raises UnknownVersion."""
    for held in live_at(connection, at).registers:
        if held.place.kind == VERSION and held.place.name == version:
            return bill(version, held.state, held.since)
    raise UnknownVersion(f"the audit chain knows no lineage of a version {version!r}")


def bill(version: str, lineage: Mapping[str, object], since: int) -> dict[str, object]:
    """The document for `version`; `lineage` as records of lineage keep it, true since `since`."""
    datasets = [_data(one) for one in _mappings(lineage.get("datasets"))]
    model: dict[str, object] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{version}",
        "name": version,
        "version": text(lineage.get("version")) or version,
        "modelCard": {
            "modelParameters": {"datasets": [{"ref": one["bom-ref"]} for one in datasets]},
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": name, "value": str(value)}
                    for name, value in _mapping(lineage.get("metrics")).items()
                ]
            },
        },
        "properties": _properties(lineage),
    }
    if text(lineage.get("author")):
        model["authors"] = [{"name": text(lineage.get("author"))}]
    found = _hash(text(lineage.get("artifact_digest")))
    if found is not None:
        model["hashes"] = [found]
    if text(lineage.get("repository")):
        code: dict[str, object] = {"type": "vcs", "url": text(lineage.get("repository"))}
        if text(lineage.get("commit")):
            code["comment"] = f"commit {text(lineage.get('commit'))}"
        model["externalReferences"] = [code]
    digest = canonical.digest(canonical.tame(lineage))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"pointsman:{version}:{digest}").urn,
        "version": 1,
        "metadata": {
            "timestamp": iso(since),
            "tools": {
                "components": [
                    {"type": "application", "name": "pointsman", "version": installed("pointsman")}
                ]
            },
            "component": model,
        },
        "components": datasets,
        "dependencies": [{"ref": f"model:{version}", "dependsOn": [one["bom-ref"] for one in datasets]}],
    }


def _data(dataset: Mapping[str, object]) -> dict[str, object]:
    name, version = text(dataset.get("name")) or "unnamed", text(dataset.get("version"))
    content: dict[str, object] = {"type": "dataset", "name": name}
    if text(dataset.get("location")):
        content["contents"] = {"url": text(dataset.get("location"))}
    found: dict[str, object] = {
        "type": "data",
        "bom-ref": f"data:{name}:{version}:{text(dataset.get('role'))}",
        "name": name,
        "data": [content],
    }
    if version:
        found["version"] = version
    hashed = _hash(text(dataset.get("digest")))
    if hashed is not None:
        found["hashes"] = [hashed]
    elif text(dataset.get("digest")):
        found["properties"] = [{"name": "pointsman:digest", "value": text(dataset.get("digest"))}]
    return found


def _hash(digest: str) -> dict[str, object] | None:
    """`ALGORITHM:HEX` as the standard's hash; None when it has no such algorithm."""
    name, _, value = digest.partition(":")
    algorithm = _HASHES.get(name.lower())
    length = _LENGTHS.get(algorithm or "", 64)
    if algorithm is None or len(value) != length or any(one not in "0123456789abcdefABCDEF" for one in value):
        return None
    return {"alg": algorithm, "content": value.lower()}


def _properties(lineage: Mapping[str, object]) -> list[dict[str, object]]:
    plain = ("source", "commit", "schema", "transformation", "created", "registered", "deployed")
    found = [(name, text(lineage.get(name))) for name in plain]
    found.append(("artifact_digest", text(lineage.get("artifact_digest"))))
    settings = _mapping(lineage.get("hyperparameters"))
    found += [(f"hyperparameter:{name}", str(value)) for name, value in settings.items()]
    return [{"name": f"pointsman:{name}", "value": value} for name, value in found if value]


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [_mapping(one) for one in value] if isinstance(value, list | tuple) else []
