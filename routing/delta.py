"""Unleash's delta format, brought into client-features format.

`GET /api/client/delta` and Unleash's streaming answer with events instead of flags: a hydration (all flags
and segments at once), then updates and removals, each applied in order. Source: Unleash's
`clientFeaturesDeltaSchema`; cases 19 and 20 of its client specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import ConfigError

_KINDS = "hydration, feature-updated, feature-removed, segment-updated and segment-removed are known"


def is_delta(document: Mapping[str, object]) -> bool:
    """Whether `document` holds events rather than flags."""
    return "events" in document and "features" not in document


def hydrated(delta: Mapping[str, object]) -> dict[str, object]:
    """The flags and segments after the last event, as client features.

    Raises:
        ConfigError: an event is malformed or of an unknown kind.
    """
    features: dict[object, object] = {}
    segments: dict[object, object] = {}
    for index, event in enumerate(_listed(delta, "events", "flags")):
        where = f"events[{index}]"
        if not isinstance(event, dict):
            raise ConfigError(where, type(event).__name__, "write a JSON object")
        match event.get("type"):
            case "hydration":
                features = {_key(one, "name", where): one for one in _listed(event, "features", where)}
                segments = {_key(one, "id", where): one for one in _listed(event, "segments", where)}
            case "feature-updated":
                feature = event.get("feature")
                features[_key(feature, "name", where)] = feature
            case "feature-removed":
                features.pop(_key(event, "featureName", where), None)
            case "segment-updated":
                segment = event.get("segment")
                segments[_key(segment, "id", where)] = segment
            case "segment-removed":
                segments.pop(_key(event, "segmentId", where), None)
            case other:
                raise ConfigError(f"{where}.type", other, _KINDS)
    return {"version": 2, "features": list(features.values()), "segments": list(segments.values())}


def _listed(owner: Mapping[str, object], key: str, where: str) -> list[object]:
    value = owner.get(key)
    if not isinstance(value, list):
        raise ConfigError(f"{where}.{key}", type(value).__name__, "write a list")
    return value


def _key(item: object, key: str, where: str) -> object:
    """What identifies `item`: its name or its id."""
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, str | int):
        raise ConfigError(f"{where}.{key}", type(value).__name__, "say what the event is about")
    return value
