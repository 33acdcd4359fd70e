from __future__ import annotations

import json
from typing import Any

import pytest

from domain.errors import ConfigError
from routing.document import client_features, parse


def feature(name: str, *, enabled: bool = True) -> dict[str, Any]:
    return {"name": name, "enabled": enabled, "strategies": []}


HYDRATION = {
    "type": "hydration",
    "features": [feature("a"), feature("b")],
    "segments": [{"id": 1, "constraints": []}],
}


def delta(*events: object) -> bytes:
    return json.dumps({"events": events}).encode()


def test_events_apply_in_order() -> None:
    found = parse(
        delta(
            HYDRATION,
            {"type": "feature-updated", "feature": feature("a", enabled=False)},
            {"type": "feature-removed", "featureName": "b"},
            {"type": "feature-removed", "featureName": "unknown"},
            {"type": "segment-removed", "segmentId": 1},
            {"type": "segment-updated", "segment": {"id": 2, "constraints": []}},
        )
    )
    assert {name: flag.enabled for name, flag in found.flags.items()} == {"a": False}
    assert set(found.segments) == {2}


def test_a_hydration_forgets_what_was_before() -> None:
    assert set(parse(delta({"type": "feature-updated", "feature": feature("z")}, HYDRATION)).flags) == {
        "a",
        "b",
    }


def test_a_delta_is_brought_into_client_features() -> None:
    assert [one["name"] for one in json.loads(client_features(delta(HYDRATION)))["features"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ("hydration", r"events\[0\]"),
        ({}, r"events\[0\]\.type"),
        ({"type": "feature-renamed"}, r"events\[0\]\.type"),
        ({"type": "hydration", "features": {}}, r"events\[0\]\.features"),
        ({"type": "feature-updated"}, r"events\[0\]\.name"),
        ({"type": "feature-updated", "feature": {"name": None}}, r"events\[0\]\.name"),
        ({"type": "segment-removed", "segmentId": [1]}, r"events\[0\]\.segmentId"),
    ],
)
def test_an_event_that_cannot_be_read_is_refused_by_its_place(event: object, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse(delta(event))


def test_events_that_are_no_list_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"flags\.events"):
        parse(b'{"events": 1}')
