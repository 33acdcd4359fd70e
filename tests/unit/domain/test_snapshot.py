"""The snapshot refuses what cannot be served, and verdicts have an order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from domain.errors import ConfigError
from domain.routing import Mode, Upstream, Version
from domain.snapshot import Endpoint, ShadowLimits, Snapshot
from domain.verdict import Verdict
from shadow.wire import Publish, decode_to_worker, frame

ONE = Version("rain-1", (Upstream("127.0.0.1", 9001),))
TWO = Version("rain-2", (Upstream("::1", 9002, prefix="/models"),))
RAIN = Endpoint("rain", "/rain", ONE, TWO, tripped=False, mode=Mode.CANARY, weight=100)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"path": "rain"}, "endpoints.rain.path"),
        ({"weight": 10_001}, "endpoints.rain.weight"),
        ({"weight": -1}, "endpoints.rain.weight"),
        ({"mode": Mode.SHADOW}, "endpoints.rain.weight"),
        ({"candidate": ONE}, "endpoints.rain.candidate.version"),
        ({"incumbent": Version("x", ())}, "endpoints.rain.incumbent.urls"),
        ({"timeout": 0.0}, "endpoints.rain.timeout"),
        ({"max_body": 0}, "endpoints.rain.max_body"),
        ({"shadow": ShadowLimits(share=10_001)}, "endpoints.rain.shadow.share"),
        ({"breaker": -1}, "endpoints.rain.breaker"),
    ],
)
def test_an_impossible_endpoint_is_refused_by_its_key(changes: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(RAIN, **changes)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.path == path


def test_names_and_paths_are_unique() -> None:
    with pytest.raises(ConfigError, match="unique"):
        Snapshot(1, (RAIN, RAIN))
    with pytest.raises(ConfigError, match="unique"):
        Snapshot(1, (RAIN, replace(RAIN, name="snow")))


def test_a_snapshot_travels_unchanged() -> None:
    snapshot = Snapshot(7, (RAIN,), b'{"version":1,"features":[]}', "digest")
    message = decode_to_worker(frame(Publish(snapshot))[4:])
    assert message == Publish(snapshot)


def test_before_the_truth_is_known_nobody_sees_a_candidate() -> None:
    unknown = Snapshot(7, (RAIN,)).incumbents_only()
    assert unknown.generation == 0
    assert all(endpoint.tripped and endpoint.weight == 0 for endpoint in unknown.endpoints)


def test_an_upstream_is_written_as_a_url() -> None:
    assert str(TWO.upstreams[0]) == "http://[::1]:9002/models"


def test_the_worst_verdict_wins() -> None:
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.FAIL]
    for better, worse in itertools.combinations(order, 2):
        assert Verdict.worst([better, worse]) is Verdict.worst([worse, better]) is worse
    assert Verdict.worst([]) is Verdict.INCONCLUSIVE, "no data is not a pass"
