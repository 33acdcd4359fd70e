from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from domain.routing import FULL_WEIGHT, Arm, Mode, Reason, Upstream, Version
from domain.snapshot import Endpoint, Snapshot
from routing.decision import decide
from routing.exposure import FlagContext, compile_flags
from routing.hashing import bucket
from routing.table import RoutingTable

INCUMBENT = Version("rain-1", (Upstream("127.0.0.1", 9001),))
CANDIDATE = Version("rain-2", (Upstream("127.0.0.1", 9002),))
FLAGS = json.dumps(
    {
        "version": 2,
        "features": [
            {
                "name": "half",
                "enabled": True,
                "strategies": [
                    {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "userId"}}
                ],
            },
            {
                "name": "sweden",
                "enabled": True,
                "strategies": [
                    {
                        "name": "default",
                        "constraints": [{"contextName": "country", "operator": "IN", "values": ["se"]}],
                    }
                ],
            },
            {
                "name": "sticky",
                "enabled": True,
                "strategies": [{"name": "flexibleRollout", "parameters": {"rollout": "50"}}],
            },
        ],
    }
).encode()


def endpoint(**more: Any) -> Endpoint:
    given_values: dict[str, Any] = {
        "name": "rain",
        "path": "/rain",
        "incumbent": INCUMBENT,
        "candidate": CANDIDATE,
        "mode": Mode.CANARY,
        "weight": 5000,
        "release": "release-1",
        "tripped": False,
        **more,
    }
    return Endpoint(**given_values)


def table(*endpoints: Endpoint, flags: bytes = FLAGS) -> RoutingTable:
    return RoutingTable(Snapshot(generation=7, endpoints=endpoints, flags=flags), lambda: 0.5)


@given(
    mode=st.sampled_from(Mode),
    weight=st.sampled_from([0, 1, 5000, 9999, FULL_WEIGHT]),
    candidate=st.sampled_from([CANDIDATE, None]),
    flag=st.sampled_from([None, "half", "sweden", "absent"]),
    tripped=st.booleans(),
    breaker_open=st.booleans(),
    unit=st.one_of(st.none(), st.text(max_size=6), st.integers(0, 99).map(str)),
    country=st.sampled_from([None, "se", "no"]),
)
@settings(deadline=None, max_examples=400)
def test_every_route_is_equal_to_the_pure_table(
    mode: Mode,
    weight: int,
    candidate: Version | None,
    flag: str | None,
    tripped: bool,
    breaker_open: bool,
    unit: str | None,
    country: str | None,
) -> None:
    chosen = endpoint(
        mode=mode,
        weight=0 if mode is Mode.SHADOW else weight,
        candidate=candidate,
        flag=flag,
        tripped=tripped,
    )
    route = table(chosen).by_name["rain"]
    route.breaker_open = breaker_open
    context = FlagContext(properties={} if country is None else {"country": country})
    exposures = compile_flags(FLAGS, lambda: 0.5)
    exposed = flag is None or (flag in exposures and exposures[flag](unit, context))
    expected = decide(
        chosen,
        exposed=exposed,
        bucket=FULL_WEIGHT - 1 if unit is None else bucket("release-1", unit),
        generation=7,
        breaker_open=breaker_open,
    )
    assert route.decide(unit, context) == expected
    # Taken out, it is what the next snapshot will say.
    route.take_out()
    gone = table(replace(chosen, tripped=True)).by_name["rain"]
    gone.breaker_open = breaker_open
    decision = route.decide(unit, context)
    assert (decision.arm, decision.mirror) == (Arm.INCUMBENT, None)
    if not breaker_open:
        assert decision == gone.decide(unit, context)


def test_decisions_are_handed_out_not_made() -> None:
    route = table(endpoint()).by_path[b"/rain"]
    decisions = {id(route.decide(str(number), None)) for number in range(200)}
    assert len(decisions) == 2


def test_routes_are_found_by_path_and_by_name() -> None:
    made = table(endpoint(), endpoint(name="snow", path="/snö"))
    assert made.generation == 7
    assert made.by_path["/snö".encode()] is made.by_name["snow"]
    assert set(made.by_name) == {"rain", "snow"}


def test_a_request_without_a_unit_joins_last() -> None:
    assert table(endpoint(weight=9999)).by_name["rain"].decide(None, None).arm is Arm.INCUMBENT
    assert table(endpoint(weight=FULL_WEIGHT)).by_name["rain"].decide(None, None).arm is Arm.CANDIDATE


def test_a_flag_that_the_document_does_not_have_exposes_nobody() -> None:
    route = table(endpoint(flag="absent", weight=FULL_WEIGHT)).by_name["rain"]
    assert route.decide("7", None).reason is Reason.NOT_EXPOSED


def test_the_breaker_takes_the_candidate_out_at_once_and_gives_it_back() -> None:
    route = table(endpoint(weight=FULL_WEIGHT)).by_name["rain"]
    route.breaker_open = True
    assert route.decide("7", None).reason is Reason.BREAKER
    assert route.decide("7", None).mirror is None
    route.breaker_open = False
    assert route.decide("7", None).arm is Arm.CANDIDATE


@pytest.mark.parametrize(
    ("more", "needed"),
    [
        ({"flag": None}, False),
        ({"flag": "half"}, False),
        ({"flag": "sweden"}, False),
        ({"flag": "sweden", "context": (("country", "x-country"),)}, True),
        ({"flag": "sweden", "context": (("plan", "x-plan"),)}, False),
        ({"flag": "sweden", "context": (("country", "x-country"),), "tripped": True}, False),
        ({"flag": "sweden", "context": (("country", "x-country"),), "mode": Mode.SHADOW, "weight": 0}, False),
        ({"flag": "sticky"}, False),
        ({"flag": "sticky", "context": (("sessionId", "x-session"),)}, True),
    ],
)
def test_a_context_is_asked_for_only_where_it_can_change_the_answer(
    more: dict[str, Any], needed: bool
) -> None:
    assert table(endpoint(**more)).by_name["rain"].needs_context is needed


def test_only_flags_that_endpoints_name_are_compiled() -> None:
    broken = (
        b'{"version":2,"features":[{"name":"broken","enabled":true,"strategies":[{"name":"userWithId"}]}]}'
    )
    assert table(endpoint(), flags=broken).by_name["rain"].decide("7", None)
    with pytest.raises(ConfigError, match=r"features\[broken\]"):
        table(endpoint(flag="broken"), flags=broken)


def test_a_table_and_its_routes_say_what_they_are() -> None:
    made = table(endpoint(tripped=True))
    assert repr(made) == "<RoutingTable generation 7: <Route /rain rain 5000/10000 tripped>>"


PLACES = json.dumps(
    {
        "version": 2,
        "features": [
            {
                "name": "staging",
                "enabled": True,
                "strategies": [
                    {
                        "name": "default",
                        "constraints": [
                            {"contextName": "environment", "operator": "IN", "values": ["staging"]},
                            {"contextName": "appName", "operator": "IN", "values": ["rain"]},
                        ],
                    }
                ],
            },
            {
                "name": "engine",
                "enabled": True,
                "strategies": [
                    {
                        "name": "default",
                        "constraints": [
                            {"contextName": "environment", "operator": "STR_CONTAINS", "values": ["stag"]},
                            {"contextName": "appName", "operator": "REGEX", "value": "^ra"},
                        ],
                    }
                ],
            },
        ],
    }
).encode()


@pytest.mark.parametrize("flag", ["staging", "engine"])
@pytest.mark.parametrize(
    ("environment", "app_name", "arm"),
    [
        ("staging", "rain", Arm.CANDIDATE),
        ("production", "rain", Arm.INCUMBENT),
        ("staging", "other", Arm.INCUMBENT),
        (None, None, Arm.INCUMBENT),
    ],
)
def test_constraints_see_the_environment_and_the_application_that_are_configured(
    flag: str, environment: str | None, app_name: str | None, arm: Arm
) -> None:
    one = endpoint(flag=flag, weight=FULL_WEIGHT)
    table = RoutingTable(Snapshot(1, (one,), PLACES, environment=environment, app_name=app_name), lambda: 0.0)
    route = table.by_name["rain"]
    assert route.decide("anna", None).arm is arm
    assert route.decide("anna", FlagContext(properties={"x": "y"})).arm is arm
    assert not route.needs_context, "they are the same for every request"
