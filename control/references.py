"""What drift is measured against: the files that endpoints name, read when the configuration is."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import ConfigError, GateError
from gates.files import Files, number
from killswitch.references import MOST_FEATURES, FeatureReference, reference
from settings.schema import Settings

References = Mapping[str, tuple[FeatureReference, ...]]
"""By endpoint, where one names a file."""


def read(settings: Settings) -> References:
    """Read every file; it may take seconds. Raises ConfigError for one that cannot be compared with."""
    found = {}
    for endpoint in settings.endpoints:
        drift = endpoint.guards.drift
        if drift is not None and drift.reference is not None:
            found[endpoint.name] = _read(f"endpoints.{endpoint.name}.guards.drift.reference", drift.reference)
    return found


def _read(key: str, path: str) -> tuple[FeatureReference, ...]:
    try:
        table = Files().table(path)
    except GateError as error:
        raise ConfigError(
            key, path, f"name a CSV or Parquet file with a column a feature: {error}"
        ) from error
    if not 1 <= len(table.columns) <= MOST_FEATURES:
        raise ConfigError(key, path, f"it has {len(table.columns)} columns; give from 1 to {MOST_FEATURES}")
    return tuple(reference(name, [number(cell) for cell in cells]) for name, cells in table.columns.items())
