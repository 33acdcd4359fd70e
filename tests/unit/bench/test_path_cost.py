"""The gateway's own path, driven without sockets."""

from __future__ import annotations

import pytest

from bench.path import here, snapshot, yardstick
from domain.routing import Mode


@pytest.mark.parametrize("mirror", [False, True])
def test_every_request_is_answered_and_every_mirror_comes_out_as_a_pair(mirror: bool) -> None:
    # `here` checks both and raises otherwise.
    cost = here(3, mirror=mirror)
    assert 0 < cost.lowest <= cost.median
    assert cost.yardsticks > 0


def test_the_path_is_configured_as_the_scenarios_with_sockets_are() -> None:
    (forwarding,), (mirroring,) = snapshot(mirror=False).endpoints, snapshot(mirror=True).endpoints
    assert (forwarding.mode, forwarding.weight, forwarding.shadow.share) == (Mode.CANARY, 1000, 0)
    assert (mirroring.mode, mirroring.weight, mirroring.shadow.share) == (Mode.SHADOW, 0, 10_000)


def test_the_yardstick_takes_time() -> None:
    assert yardstick() > 0
