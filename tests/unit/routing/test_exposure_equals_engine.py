"""The closures and Unleash's reference engine give the same answer, on random flags and random requests.

Chance cannot be compared. So each question is put to the closures with the smallest and with the largest
draw; where these two disagree the answer is a matter of chance, and the engine is not asked.

Quotes and backslashes are left out of group ids, user ids and field names: the engine writes them unescaped
into its rule text and switches such a flag off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from routing.exposure import FlagContext, compile_flags

Json = dict[str, Any]

LIMIT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ALMOST_ONE = 1 - 2**-53

USERS = ["", "0", "1", "7", "42", "25", "174", "é", "ÅSA", "😃", " x ", "a,b", "Ω", "ß", "İ", "ΑΣ", "1.2.3"]
NUMBERS = [
    "0",
    "1",
    "-1",
    "1.0",
    "1.",
    ".5",
    "+1",
    "1e2",
    "1e400",
    "-inf",
    "NaN",
    "1_0",
    " 1",
    "1 ",
    "",
    "١",
    "x",
]
TEXTS = [*USERS, *NUMBERS, 'say "hi"', "a\nb", "Straße", "ﬁ", "camelCase", "192.168.0.7", "::1"]
FIELDS = [
    "userId",
    "sessionId",
    "environment",
    "appName",
    "remoteAddress",
    "country",
    "plan",
    "",
    "é",
    "random",
]
ADDRESSES = [
    "127.0.0.1",
    "10.1.2.3",
    "10.1.2.03",
    "::1",
    "fe80::1",
    "fe80::1%1",
    "2001:db8::7",
    "x",
    "",
    "10.1.2",
]
LIST_OPERATORS = ["IN", "NOT_IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH"]
NUMBER_OPERATORS = ["NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"]

free = st.text(max_size=4).filter(lambda text: "\\" not in text)
texts = st.one_of(st.sampled_from(TEXTS), free)
plain = st.one_of(
    st.sampled_from([text for text in TEXTS if '"' not in text]), free.filter(lambda text: '"' not in text)
)
fields = st.sampled_from(FIELDS)
percentages = st.sampled_from(["+50", "007", *map(str, range(101)), *["0", "1", "99", "100"] * 5])


@st.composite
def constraints(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(["list", "list", "number", "date"]))
    constraint: Json = {"contextName": draw(fields)}
    if kind == "list":
        constraint["operator"] = draw(st.sampled_from(LIST_OPERATORS))
        needed = 1 if constraint["operator"].startswith("STR_") else 0
        constraint["values"] = draw(st.lists(texts, min_size=needed, max_size=4))
    elif kind == "number":
        constraint["operator"] = draw(st.sampled_from(NUMBER_OPERATORS))
        constraint["value"] = draw(
            st.sampled_from(["0", "1", "-1", "1.0", "+1.", " 1 ", "1e2", "1E-2", "42"])
        )
    else:
        constraint["contextName"] = "currentTime"
        constraint["operator"] = draw(st.sampled_from(["DATE_AFTER", "DATE_BEFORE"]))
        constraint["value"] = draw(
            st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "2026-03-01T13:30:00+01:30"])
        )
    for switch in ("inverted", "caseInsensitive"):
        if draw(st.booleans()):
            constraint[switch] = draw(st.booleans())
    return constraint


@st.composite
def flexible_rollouts(draw: st.DrawFn) -> Json:
    parameters = {"rollout": draw(percentages)}
    if draw(st.booleans()):
        parameters["groupId"] = draw(plain)
    if draw(st.booleans()):
        names = [
            "default",
            "default",
            "userId",
            "sessionId",
            "random",
            "plan",
            "environment",
            "appName",
            "é",
            "",
        ]
        parameters["stickiness"] = draw(st.sampled_from(names))
    return {"name": "flexibleRollout", "parameters": parameters}


@st.composite
def other_strategies(draw: st.DrawFn) -> Json:
    kind = draw(
        st.sampled_from(
            [
                "default",
                "userWithId",
                "gradualRolloutUserId",
                "gradualRolloutSessionId",
                "gradualRolloutRandom",
                "remoteAddress",
            ]
        )
    )
    if kind == "default":
        return {"name": kind} if draw(st.booleans()) else {"name": kind, "parameters": {}}
    if kind == "userWithId":
        return {"name": kind, "parameters": {"userIds": ", ".join(draw(st.lists(plain, max_size=4)))}}
    if kind == "remoteAddress":
        networks = ["127.0.0.1", "10.0.0.0/8", "10.1.2.3/24", "::1", "2001:db8::/32", " 10.1.2.3", "::/0"]
        chosen = draw(st.lists(st.sampled_from(networks), min_size=1, max_size=3))
        return {"name": kind, "parameters": {"IPs": ",".join(chosen)}}
    return {"name": kind, "parameters": {"percentage": draw(percentages), "groupId": draw(plain)}}


@st.composite
def documents(draw: st.DrawFn) -> Json:
    strategies = draw(st.lists(st.one_of(flexible_rollouts(), other_strategies()), max_size=3))
    for strategy in strategies:
        if draw(st.booleans()):
            strategy["constraints"] = draw(st.lists(constraints(), max_size=3))
        if draw(st.integers(0, 3)) == 0:
            strategy["segments"] = draw(st.lists(st.sampled_from([1, 2, 404]), max_size=2))
    name = draw(st.sampled_from(["rain-v2", "Flag.ø", "a flag"]))
    feature = {"name": name, "enabled": draw(st.integers(0, 9)) > 0, "strategies": strategies}
    segments = [{"id": number, "constraints": draw(st.lists(constraints(), max_size=2))} for number in (1, 2)]
    return {"version": 2, "features": [feature], "segments": segments}


maybe = st.one_of(st.none(), texts)
requests = st.tuples(
    maybe,
    st.builds(
        FlagContext,
        session_id=maybe,
        remote_address=st.sampled_from([None, *ADDRESSES]),
        environment=maybe,
        app_name=st.sampled_from([None, *TEXTS]),
        current_time=st.sampled_from(
            [
                (LIMIT + timedelta(microseconds=offset)).astimezone(timezone(timedelta(minutes=zone)))
                for offset in (0, 1, -1, 10**6, -(10**6), 10**13, -(10**13))
                for zone in (0, 90, -300)
            ]
        ),
        properties=st.dictionaries(
            st.sampled_from(["country", "plan", "", "é", "random"]), texts, max_size=3
        ),
    ),
)


def engine_for(document: Json) -> UnleashEngine:
    engine = UnleashEngine()
    engine.take_state(json.dumps(document))
    assert engine.list_known_toggles(), "the engine could not read the document"
    return engine


def unleash_context(unit: str | None, context: FlagContext) -> Json:
    values = {
        "userId": unit,
        "sessionId": context.session_id,
        "remoteAddress": context.remote_address,
        "environment": context.environment,
        "appName": context.app_name,
        "currentTime": context.current_time.isoformat() if context.current_time else None,
    }
    return {
        **{name: value for name, value in values.items() if value is not None},
        "properties": dict(context.properties),
    }


def assert_equal(
    document: Json, asked: list[tuple[str | None, FlagContext]], judge: str | None = None
) -> None:
    encoded = json.dumps(document).encode()
    name = document["features"][0]["name"]
    lowest = compile_flags(encoded, lambda: 0.0)[name]
    highest = compile_flags(encoded, lambda: ALMOST_ONE)[name]
    if judge is not None:
        assert lowest.rule.__module__ == judge
    else:
        assert lowest.rule.__module__ != "routing.engine"
    engine = engine_for(document)
    for unit, context in asked:
        answer = lowest(unit, context)
        if answer is highest(unit, context):
            expected = engine.is_enabled(name, unleash_context(unit, context)).is_enabled
            assert answer is expected, (unit, context)


@given(document=documents(), asked=st.lists(requests, min_size=1, max_size=3))
@settings(deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])
def test_closures_and_the_reference_engine_agree_on_random_flags_and_requests(
    document: Json, asked: list[tuple[str | None, FlagContext]]
) -> None:
    assert_equal(document, asked)


@given(strategy=flexible_rollouts(), asked=st.lists(requests, min_size=3, max_size=4))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_every_rollout_agrees_by_itself(strategy: Json, asked: list[tuple[str | None, FlagContext]]) -> None:
    feature = {"name": "rain-v2", "enabled": True, "strategies": [strategy]}
    assert_equal({"version": 2, "features": [feature]}, asked)


@given(constraint=constraints(), asked=st.lists(requests, min_size=3, max_size=4))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_every_constraint_agrees_by_itself(
    constraint: Json, asked: list[tuple[str | None, FlagContext]]
) -> None:
    strategy = {"name": "default", "constraints": [constraint]}
    feature = {"name": "rain-v2", "enabled": True, "strategies": [strategy]}
    assert_equal({"version": 2, "features": [feature]}, asked)


@pytest.mark.parametrize("rollout", ["0", "1", "33", "99", "100"])
@pytest.mark.parametrize("stickiness", [None, "default", "userId", "sessionId", "plan", "random"])
@pytest.mark.parametrize("group", [None, "", "group"])
def test_rollouts_agree_for_many_users(rollout: str, stickiness: str | None, group: str | None) -> None:
    given_parameters = {"rollout": rollout, "stickiness": stickiness, "groupId": group}
    parameters = {name: value for name, value in given_parameters.items() if value is not None}
    strategy = {"name": "flexibleRollout", "parameters": parameters}
    feature = {"name": "rain-v2", "enabled": True, "strategies": [strategy]}
    asked: list[tuple[str | None, FlagContext]] = []
    for number in range(20):
        asked.append((str(number), FlagContext(session_id="s", properties={"plan": "x"})))
        asked.append((None, FlagContext(session_id=str(number))))
        asked.append((None, FlagContext(properties={"plan": str(number)})))
        asked.append((str(number), FlagContext()))
    assert_equal({"version": 2, "features": [feature]}, asked)


VERSIONS = ["1.2.3", "1.2.3-rc.1", "v1.2.3"]
ENGINE_ONLY: list[Callable[[Json], Json]] = [
    lambda extra: {"name": "default", "constraints": [{"contextName": "plan", **extra}]},
    lambda extra: {
        "name": "flexibleRollout",
        "parameters": {"rollout": "50"},
        "constraints": [{"contextName": "plan", **extra}],
    },
]
ENGINE_ONLY_CONSTRAINTS: list[Json] = [
    *(
        {"operator": operator, "value": value}
        for operator in ("SEMVER_EQ", "SEMVER_GT")
        for value in VERSIONS
    ),
    {"operator": "SEMVER_LT", "value": "1.2.3", "inverted": True},
    {"operator": "REGEX", "value": "^1[.]"},
    {"operator": "REGEX", "value": "(broken"},
    {"operator": "IN_CIDR", "values": ["10.0.0.0/8"]},
    {"operator": "SOMETHING_NEW", "values": ["x"]},
    {"operator": "DATE_AFTER", "value": "2026-03-01T12:00:00Z"},
]


@pytest.mark.parametrize(
    "extra", ENGINE_ONLY_CONSTRAINTS, ids=lambda extra: " ".join(map(str, extra.values()))
)
@pytest.mark.parametrize("strategy", ENGINE_ONLY)
def test_what_the_closures_cannot_express_is_judged_by_the_engine(
    strategy: Callable[[Json], Json], extra: Json
) -> None:
    feature = {"name": "rain-v2", "enabled": True, "strategies": [strategy(extra)]}
    plans = ["1.2.3", "1.2.2", "1.3.0", "10.0.0.1", "2027-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "x", "é"]
    asked: list[tuple[str | None, FlagContext]] = [
        (str(number), FlagContext(session_id="s", properties={"plan": plan}))
        for number in range(3)
        for plan in plans
    ]
    assert_equal({"version": 2, "features": [feature]}, asked, judge="routing.engine")


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "ourOwnStrategy", "parameters": {"x": "y"}},
        {"name": "applicationHostname", "parameters": {"hostNames": "no-such-host"}},
        {"name": "remoteAddress", "parameters": {"IPs": "127.0.0.1, 192.invalid"}},
        {"name": "remoteAddress", "parameters": {"IPs": "10.0.0.0/255.0.0.0"}},
        {"name": "flexibleRollout", "parameters": {"rollout": "100", "stickiness": "currentTime"}},
    ],
    ids=lambda strategy: strategy["name"],
)
@pytest.mark.parametrize("second", [[], [{"name": "userWithId", "parameters": {"userIds": "7"}}]])
def test_strategies_that_only_the_engine_knows_agree(strategy: Json, second: list[Json]) -> None:
    feature = {"name": "rain-v2", "enabled": True, "strategies": [strategy, *second]}
    asked: list[tuple[str | None, FlagContext]] = [
        (unit, FlagContext(remote_address=address, current_time=LIMIT))
        for unit in ("7", "8", None)
        for address in ADDRESSES
    ]
    assert_equal({"version": 2, "features": [feature]}, asked, judge="routing.engine")


@pytest.mark.parametrize("parent_enabled", [True, False])
@pytest.mark.parametrize(
    "dependency",
    [
        {"feature": "parent"},
        {"feature": "parent", "enabled": False},
        {"feature": "parent", "enabled": True, "variants": ["blue"]},
        {"feature": "parent", "variants": ["red"]},
        {"feature": "nowhere"},
    ],
)
def test_dependencies_agree(dependency: Json, parent_enabled: bool) -> None:
    child = {"name": "rain-v2", "enabled": True, "strategies": [], "dependencies": [dependency]}
    variants = [{"name": "blue", "weight": 1000, "stickiness": "default"}]
    parent = {"name": "parent", "enabled": parent_enabled, "strategies": [], "variants": variants}
    document = {"version": 2, "features": [child, parent]}
    assert_equal(document, [("7", FlagContext())], judge="routing.engine")
