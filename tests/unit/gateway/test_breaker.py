"""The local breaker, and what of it lives on over snapshots."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.observation import Observation, Outcome
from domain.routing import Arm, Upstream, Version
from domain.snapshot import Endpoint, Snapshot, UnitKind, UnitSource
from gateway.breaker import Breaker
from gateway.counters import Counters
from gateway.servers import Pools
from gateway.service import ServedEndpoint, Services
from routing.table import RoutingTable
from shadow.tasks import Tasks

_OBSERVED = st.builds(
    Observation,
    version=st.sampled_from(["rain-2", "rain-2", "rain-2", "rain-1"]),
    outcome=st.sampled_from(Outcome),
    status=st.sampled_from([0, 200, 404, 499, 500, 503]),
    latency=st.just(0.0),
    body=st.just(b""),
)
_OBSERVATIONS = _OBSERVED.filter(lambda seen: bool(seen.status) or seen.outcome is not Outcome.ANSWERED)


def _hard(observation: Observation) -> bool | None:
    """Whether the server failed hard; None when nothing is known of it."""
    if observation.outcome in (Outcome.CONNECT, Outcome.TIMEOUT, Outcome.PROTOCOL, Outcome.FLOOD):
        return True
    return observation.status >= 500 if observation.status else None


@settings(deadline=None, max_examples=150)
@given(limit=st.integers(0, 4), observations=st.lists(_OBSERVATIONS, max_size=25))
def test_it_opens_exactly_once_at_the_limits_consecutive_hard_failure(
    limit: int, observations: list[Observation]
) -> None:
    breaker = Breaker("rain-2", limit)
    run, expected = 0, False
    for observation in observations:
        hard = _hard(observation) if observation.version == "rain-2" else None
        run = run + 1 if hard else run if hard is None else 0
        opens = not expected and limit > 0 and bool(hard) and run >= limit
        assert breaker.record(observation) == opens
        expected = expected or opens
        assert breaker.opened == expected, "and it latches"


# ---- over snapshots -------------------------------------------------------------------------------------


def _endpoint(**changes: object) -> Endpoint:
    base = Endpoint(
        name="rain",
        path="/rain",
        incumbent=Version("rain-1", (Upstream("a", 1),)),
        candidate=Version("rain-2", (Upstream("b", 1),)),
        unit=UnitSource(UnitKind.HEADER, "x-user-id"),
        context=(("region", "x-region"),),
        tripped=False,
        breaker=2,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # any field of Endpoint


def _services(*generations: Endpoint, failures: int = 0) -> list[ServedEndpoint]:
    """The endpoint in each generation; `failures` of the candidate fall into the first."""

    async def build() -> list[ServedEndpoint]:
        tasks = Tasks(lambda name, error: None)
        pools = Pools(asyncio.get_running_loop(), tasks, time.monotonic)
        counters = Counters()
        served: list[ServedEndpoint] = []
        for number, endpoint in enumerate(generations):
            table = RoutingTable(Snapshot(number, (endpoint,)), lambda: 0.5)
            services = Services(table, pools, counters, {"rain": served[-1]} if served else {})
            assert services.by_path[b"/rain"] is services.by_name["rain"]
            assert services.interest == {b"x-user-id", b"x-region"}
            served.append(services.by_name["rain"])
            if number == 0:
                for _ in range(failures):
                    served[0].breaker.record(Observation("rain-2", Outcome.CONNECT, 0, 0.0, b""))
        return served

    return asyncio.run(build())


def test_an_open_breaker_stays_open_over_a_snapshot_and_its_route_knows() -> None:
    first, second = _services(_endpoint(), _endpoint(weight=0, timeout=9.0), failures=2)
    assert first.breaker.opened
    assert second.breaker is first.breaker
    assert second.route.breaker_open
    assert second.budget is first.budget, "what mirrors hold now is counted on"


def test_a_run_of_failures_goes_on_over_a_snapshot_under_its_new_limit() -> None:
    _, second = _services(_endpoint(breaker=9), _endpoint(breaker=2), failures=1)
    assert second.breaker.record(Observation("rain-2", Outcome.TIMEOUT, 0, 0.0, b""))


@pytest.mark.parametrize(
    "change", [{"tripped": True}, {"candidate": Version("rain-3", (Upstream("c", 1),))}, {"candidate": None}]
)
def test_the_switch_or_another_candidate_closes_the_breaker(change: dict[str, object]) -> None:
    _, second = _services(_endpoint(), _endpoint(**change), failures=2)
    assert not second.breaker.opened
    assert not second.route.breaker_open


def test_without_a_candidate_its_arm_is_the_incumbents() -> None:
    (only,) = _services(_endpoint(candidate=None))
    assert only.version(Arm.CANDIDATE) is only.incumbent
    (both,) = _services(_endpoint())
    assert both.version(Arm.CANDIDATE).name == "rain-2"


@settings(deadline=None, max_examples=20)
@given(st.text(min_size=1, max_size=12))
def test_no_version_name_can_write_a_field(name: str) -> None:
    (only,) = _services(_endpoint(incumbent=Version(name + "!", (Upstream("a", 1),)), candidate=None))
    fields = only.incumbent.fields
    assert fields.count(b"\r\n") == 2
    assert all(0x20 <= byte < 0x7F for byte in fields.replace(b"\r\n", b""))
