"""Unleash's admin export, brought into client-features format.

The admin UI and `POST /api/admin/features-batch/export` write one environment as flat tables: `features`,
`featureStrategies` and `featureEnvironments` (joined by `featureName`), and `dependencies`. Two things are
lost in it: segments are exported by id and name only, and nothing says which environment a strategy is for.
So a strategy with segments is refused with advice, and so are two environments in one file.

Source: Unleash's `exportResultSchema` and `export-import-service.ts`.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import ConfigError

_ADVICE = "the export has no segments' constraints; use the file of GET /api/client/features instead"


def is_export(document: Mapping[str, object]) -> bool:
    """Whether `document` is an admin export rather than client features."""
    return "featureStrategies" in document


def to_client_features(export: Mapping[str, object]) -> dict[str, object]:
    """The same flags as client features.

    Raises:
        ConfigError: a table is malformed, names an unknown flag, or says what cannot be converted.
    """
    features: dict[str, dict[str, object]] = {}
    for index, row in enumerate(_rows(export, "features")):
        name = _name(row, "name", f"features[{index}]")
        if row.get("archived") is not True:
            features[name] = {"name": name, "type": row.get("type"), "enabled": False, "strategies": []}
    _environments(export, features)
    _strategies(export, features)
    for index, row in enumerate(_rows(export, "dependencies")):
        name = _name(row, "feature", f"dependencies[{index}]")
        if name in features:
            features[name]["dependencies"] = row.get("dependencies")
    return {"version": 2, "features": list(features.values())}


def _environments(export: Mapping[str, object], features: dict[str, dict[str, object]]) -> None:
    seen: str | None = None
    for index, row in enumerate(_rows(export, "featureEnvironments")):
        where = f"featureEnvironments[{index}]"
        name = _name(row, "featureName", where)
        environment = row.get("environment", seen)
        if seen is not None and environment != seen:
            allowed = f"export one environment; {seen!r} came before"
            raise ConfigError(f"{where}.environment", environment, allowed)
        seen = environment if isinstance(environment, str) else seen
        if name in features:
            features[name]["enabled"] = row.get("enabled")
            features[name]["variants"] = row.get("variants")


def _strategies(export: Mapping[str, object], features: dict[str, dict[str, object]]) -> None:
    rows: dict[str, list[Mapping[str, object]]] = {}
    for index, row in enumerate(_rows(export, "featureStrategies")):
        where = f"featureStrategies[{index}]"
        name = _name(row, "featureName", where)
        if row.get("segments"):
            raise ConfigError(f"{where}.segments", row["segments"], f"flag {name!r}: {_ADVICE}")
        rows.setdefault(name, []).append(row)
    for name, feature in features.items():
        feature["strategies"] = rows.get(name, [])


def _rows(export: Mapping[str, object], table: str) -> list[Mapping[str, object]]:
    rows = export.get(table)
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(table, type(rows).__name__, "write a list of JSON objects")
    return rows


def _name(row: Mapping[str, object], key: str, where: str) -> str:
    name = row.get(key)
    if not isinstance(name, str):
        raise ConfigError(f"{where}.{key}", name, "name the flag")
    return name
