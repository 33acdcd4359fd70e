from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import ConfigError
from routing.context import STANDARD_FIELDS
from routing.exposure import Exposure, FlagContext, check, compile_flags

Json = dict[str, Any]


def document(*features: Json, segments: list[Json] | None = None) -> bytes:
    return json.dumps({"version": 2, "features": features, "segments": segments or []}).encode()


def flag(*strategies: Json, name: str = "rain", enabled: bool = True, **more: Any) -> Json:
    return {"name": name, "enabled": enabled, "strategies": list(strategies), **more}


def rollout(share: str, **parameters: str) -> Json:
    return {"name": "flexibleRollout", "parameters": {"rollout": share, **parameters}}


def compiled(*strategies: Json, draw: float = 0.5, **more: Any) -> Exposure:
    return compile_flags(document(flag(*strategies, **more)), lambda: draw)["rain"]


def on(**constraint: Any) -> Json:
    return {"name": "default", "parameters": {}, "constraints": [constraint]}


def test_a_flag_that_is_off_exposes_nobody() -> None:
    assert not compiled(enabled=False)("7", None)


def test_a_flag_without_strategies_exposes_everyone() -> None:
    assert compiled()(None, None)


def test_strategies_are_alternatives() -> None:
    either = compiled(
        {"name": "userWithId", "parameters": {"userIds": "7, 8"}},
        {"name": "remoteAddress", "parameters": {"IPs": "10.0.0.0/8"}},
    )
    assert either("7", None)
    assert either("9", FlagContext(remote_address="10.1.2.3"))
    assert not either("9", FlagContext(remote_address="11.1.2.3"))


def test_constraints_and_segments_of_a_strategy_must_all_hold() -> None:
    strategy = on(contextName="country", operator="IN", values=["se"]) | {"segments": [1]}
    segment = {
        "id": 1,
        "constraints": [{"contextName": "plan", "operator": "STR_CONTAINS", "values": ["pro"]}],
    }
    exposure = compile_flags(document(flag(strategy), segments=[segment]), lambda: 0.5)["rain"]
    assert exposure("7", FlagContext(properties={"country": "se", "plan": "pro-1"}))
    assert not exposure("7", FlagContext(properties={"country": "se", "plan": "free"}))
    assert not exposure("7", FlagContext(properties={"country": "no", "plan": "pro-1"}))


def test_an_unknown_segment_exposes_nobody_whatever_the_other_strategies_say() -> None:
    assert not compiled({"name": "default", "segments": [404]})("7", None)
    assert not compiled({"name": "default"}, {"name": "default", "segments": [404]})("7", None)


@pytest.mark.parametrize(("draw", "exposed"), [(0.0, True), (0.2999, True), (0.3, False), (0.99, False)])
def test_what_sticks_to_nothing_is_drawn_for_each_request(draw: float, exposed: bool) -> None:
    assert compiled(rollout("30", stickiness="random"), draw=draw)("7", None) is exposed
    assert compiled(rollout("30", stickiness="default"), draw=draw)(None, FlagContext()) is exposed


def test_default_stickiness_prefers_the_user_then_the_session() -> None:
    exposure = compiled(rollout("50", groupId="g"))
    for number in range(50):
        by_user = exposure(str(number), FlagContext(session_id="other"))
        assert by_user is exposure(None, FlagContext(session_id=str(number)))


def test_a_request_without_the_field_it_sticks_to_is_not_exposed_even_at_100_percent() -> None:
    assert not compiled(rollout("100", stickiness="userId"))(None, FlagContext(session_id="s"))
    assert not compiled(rollout("100", stickiness="plan"))("7", FlagContext())


def test_raising_a_rollout_only_adds_users() -> None:
    before: set[str] = set()
    for share in range(0, 101, 10):
        exposure = compiled(rollout(str(share), stickiness="userId"))
        now = {str(user) for user in range(300) if exposure(str(user), None)}
        assert before <= now
        before = now
    assert len(before) == 300


def test_a_disabled_strategy_is_passed_over_and_all_disabled_expose_nobody() -> None:
    disabled = {"name": "default", "disabled": True}
    assert not compiled(disabled)("7", None)
    assert compiled(disabled, rollout("100"))("7", None)
    assert not compiled(disabled, {"name": "ourOwn"})("7", None)


def test_a_time_that_is_not_known_is_neither_before_nor_after() -> None:
    for operator in ("DATE_AFTER", "DATE_BEFORE"):
        exposure = compiled(on(contextName="currentTime", operator=operator, value="2026-01-01T00:00:00Z"))
        assert not exposure("7", FlagContext())
    assert compiled(on(contextName="currentTime", operator="DATE_AFTER", value="2026-01-01T00:00:00Z"))(
        "7", FlagContext(current_time=datetime(2026, 2, 1, tzinfo=UTC))
    )


@pytest.mark.parametrize(
    ("strategy", "needed"),
    [
        (rollout("50", stickiness="userId"), False),
        (rollout("50", stickiness="random"), False),
        (rollout("50"), True),
        (rollout("50", stickiness="plan"), True),
        ({"name": "userWithId", "parameters": {"userIds": "7"}}, False),
        ({"name": "default"}, False),
        ({"name": "remoteAddress", "parameters": {"IPs": "10.0.0.0/8"}}, True),
        (on(contextName="userId", operator="IN", values=["7"]), False),
        (on(contextName="country", operator="IN", values=["se"]), True),
        (on(contextName="userId", operator="SEMVER_EQ", value="1.2.3"), False),
        (on(contextName="currentTime", operator="DATE_AFTER", value="2026-01-01T00:00:00Z"), True),
    ],
)
def test_a_flag_says_whether_it_needs_more_than_the_unit(strategy: Json, needed: bool) -> None:
    assert compiled(strategy).needs_context is needed


def test_a_flag_with_parents_may_need_anything() -> None:
    dependent = flag(name="rain", dependencies=[{"feature": "parent"}])
    exposure = compile_flags(document(dependent, flag(name="parent")), lambda: 0.5)["rain"]
    assert exposure.fields >= STANDARD_FIELDS
    assert exposure("7", None)


def test_a_unit_without_utf8_is_judged_and_harms_nothing() -> None:
    assert compiled(rollout("100", stickiness="userId"))("\ud800", None)
    assert not compiled(on(contextName="userId", operator="SEMVER_EQ", value="1.2.3"))("\ud800", None)


def test_only_the_named_flags_are_compiled_with_what_they_depend_on() -> None:
    broken = flag(rollout("50%"), name="broken")
    child = flag(name="child", dependencies=[{"feature": "parent"}])
    flags = compile_flags(document(broken, child, flag(name="parent")), lambda: 0.5, {"child", "absent"})
    assert set(flags) == {"child"}
    assert flags["child"]("7", None)


def test_the_context_is_built_from_unleash_names() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    pairs = [("sessionId", "s"), ("country", "se"), ("userId", "u"), ("appName", "a"), ("environment", "e")]
    context = FlagContext.of([*pairs, ("currentTime", "1970-01-01T00:00:00Z")], "10.0.0.1", now)
    assert context == FlagContext("u", "s", "10.0.0.1", "e", "a", now, {"country": "se"})


MALFORMED: Mapping[str, tuple[Json, str]] = {
    "rollout in percent": (rollout("50%"), "parameters.rollout"),
    "rollout over 100": (rollout("101"), "parameters.rollout"),
    "rollout not ASCII": (rollout("١"), "parameters.rollout"),
    "rollout missing": ({"name": "flexibleRollout"}, "parameters.rollout"),
    "rollout as a number": ({"name": "flexibleRollout", "parameters": {"rollout": 50}}, "parameters.rollout"),
    "users missing": ({"name": "userWithId", "parameters": {}}, "parameters.userIds"),
    "group missing": (
        {"name": "gradualRolloutUserId", "parameters": {"percentage": "5"}},
        "parameters.groupId",
    ),
    "percentage negative": (
        {"name": "gradualRolloutRandom", "parameters": {"percentage": "-1"}},
        ".percentage",
    ),
    "addresses missing": ({"name": "remoteAddress"}, "parameters.IPs"),
    "parameters a list": ({"name": "default", "parameters": []}, ".parameters"),
    "segment by name": ({"name": "default", "segments": ["beta"]}, ".segments[0]"),
    "no operator": (on(contextName="x"), "constraints[0].operator"),
    "no field": (on(operator="IN", values=[]), "constraints[0].contextName"),
    "values a text": (on(contextName="x", operator="IN", values="se"), "constraints[0].values"),
    "values of numbers": (on(contextName="x", operator="IN", values=[1]), "constraints[0].values[0]"),
    "nothing to contain": (on(contextName="x", operator="STR_CONTAINS", values=[]), "constraints[0].values"),
    "no number": (on(contextName="x", operator="NUM_GT"), "constraints[0].value"),
    "not a number": (on(contextName="x", operator="NUM_GT", value="ten"), "constraints[0].value"),
    "a version for a number": (on(contextName="x", operator="NUM_EQ", value="1.2.3"), "constraints[0].value"),
    "value as a number": (on(contextName="x", operator="NUM_GT", value=10), "constraints[0].value"),
    "not a date": (on(contextName="currentTime", operator="DATE_AFTER", value="2026-01-01"), ".value"),
    "no such date": (on(contextName="x", operator="DATE_AFTER", value="2026-02-30T00:00:00Z"), ".value"),
    "not a version": (on(contextName="x", operator="SEMVER_GT", value="1.2"), "constraints[0].value"),
    "no expression": (on(contextName="x", operator="REGEX"), "constraints[0].value"),
    "inverted as a text": (on(contextName="x", operator="IN", values=[], inverted="no"), ".inverted"),
}


@pytest.mark.parametrize(("strategy", "field"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("enabled", [True, False])
def test_a_malformed_flag_is_refused_by_flag_strategy_and_field(
    strategy: Json, field: str, enabled: bool
) -> None:
    bad = flag({"name": "default"}, strategy, enabled=enabled)
    with pytest.raises(ConfigError) as refused:
        check(document(flag(name="fine"), bad))
    assert refused.value.path.startswith(f"features[rain].strategies[1 {strategy['name']}]")
    assert refused.value.path.endswith(field)
    assert refused.value.allowed


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"", "flags"),
        (b'{"version": 2, "features": [', "flags"),
        (b"\xff\xfe", "flags"),
        (b"[]", "flags"),
        (b"{}", "flags.features"),
        (b'{"features": {}}', "flags.features"),
        (b'{"features": [7]}', "features[0]"),
        (b'{"features": [{"enabled": true, "strategies": []}]}', "features[0].name"),
        (b'{"features": [{"name": "rain", "strategies": []}]}', "features[rain].enabled"),
        (b'{"features": [{"name": "rain", "enabled": "yes", "strategies": []}]}', "features[rain].enabled"),
        (b'{"features": [{"name": "rain", "enabled": true}]}', "features[rain].strategies"),
        (
            b'{"features": [{"name": "rain", "enabled": true, "strategies": [{}]}]}',
            "features[rain].strategies[0].name",
        ),
        (b'{"features": [], "segments": [{"constraints": []}]}', "segments[0].id"),
        (
            b'{"features": [], "segments": [{"id": 3, "constraints": [{}]}]}',
            "segments[3].constraints[0].contextName",
        ),
        (b"[" * 100_000, "flags"),
    ],
)
def test_a_malformed_document_is_refused(content: bytes, path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(content)
    assert refused.value.path == path


def test_two_flags_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="unique"):
        check(document(flag(), flag()))


def test_a_flag_that_the_engine_cannot_read_is_refused_by_name() -> None:
    variants = [{"name": "blue", "weight": "heavy"}]
    with pytest.raises(ConfigError, match=r"features\[rain\]"):
        check(
            document(
                flag(name="rain", dependencies=[{"feature": "parent"}]),
                flag(name="parent", variants=variants),
            )
        )


def test_keys_that_unleash_may_add_later_are_not_looked_at() -> None:
    feature = flag(
        rollout("100") | {"title": "x", "sortOrder": 1}, impressionData=False, createdAt="whenever"
    )
    assert compile_flags(document(feature), lambda: 0.5)["rain"]("7", None)
