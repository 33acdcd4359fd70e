from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from routing.context import FlagContext
from routing.excerpt import excerpt
from routing.exposure import NOT_EXPOSED, check, compile_flags


def flag(name: str, rollout: str = "100", **more: Any) -> dict[str, Any]:
    strategy = {"name": "flexibleRollout", "parameters": {"rollout": rollout, "groupId": "g"}}
    return {"name": name, "enabled": True, "strategies": [{**strategy, **more.pop("strategy", {})}], **more}


def document(*features: dict[str, Any], segments: list[dict[str, Any]] | None = None) -> bytes:
    return json.dumps({"version": 2, "features": features, "segments": segments or []}).encode()


def test_a_malformed_flag_of_somebody_else_does_not_matter() -> None:
    found = excerpt(document(flag("ours"), flag("theirs", "a lot")), {"ours"})
    check(found.document)
    assert json.loads(found.document)["features"] == [flag("ours")]


def test_a_malformed_flag_of_ours_refuses_the_whole_document() -> None:
    found = excerpt(document(flag("ours", "a lot"), flag("also-ours")), {"ours", "also-ours"})
    with pytest.raises(ConfigError, match="features\\[ours\\]"):
        check(found.document)
    with pytest.raises(ConfigError, match="enabled"):
        excerpt(document({**flag("ours"), "enabled": None}), {"ours"})


def test_what_the_document_does_not_have_is_told() -> None:
    assert excerpt(document(flag("a")), {"a", "b"}).missing == {"b"}


def test_parents_and_segments_come_along_and_other_segments_do_not() -> None:
    segments: list[dict[str, Any]] = [{"id": number, "constraints": []} for number in (1, 2, 3)]
    child = flag("child", strategy={"segments": [2]}, dependencies=[{"feature": "parent"}])
    parent = flag("parent", strategy={"segments": [3]})
    shown = json.loads(excerpt(document(child, parent, flag("x"), segments=segments), {"child"}).document)
    assert [one["name"] for one in shown["features"]] == ["child", "parent"]
    assert [one["id"] for one in shown["segments"]] == [2, 3]


def test_a_segment_that_is_missing_still_exposes_nobody() -> None:
    found = excerpt(document(flag("a", strategy={"segments": [9]})), {"a"})
    assert not compile_flags(found.document, lambda: 0.0)["a"]("anna", None)


def test_a_flag_whose_strategies_are_all_disabled_stays_off() -> None:
    found = excerpt(document(flag("a", strategy={"disabled": True})), {"a"})
    assert not compile_flags(found.document, lambda: 0.0)["a"]("anna", None)


def test_the_order_in_which_flags_come_changes_nothing() -> None:
    one, two = flag("a"), flag("b")
    assert excerpt(document(one, two), {"a", "b"}) == excerpt(document(two, one), {"a", "b"})


strategies = st.fixed_dictionaries(
    {
        "name": st.just("flexibleRollout"),
        "parameters": st.integers(0, 100).map(lambda share: {"rollout": str(share), "groupId": "g"}),
        "segments": st.lists(st.integers(1, 3), max_size=2),
        "disabled": st.booleans(),
        "constraints": st.lists(
            st.builds(
                lambda values: {"contextName": "country", "operator": "IN", "values": values},
                st.lists(st.sampled_from(["se", "no"]), max_size=2),
            ),
            max_size=1,
        ),
    }
)
features = st.builds(
    lambda enabled, listed: {"enabled": enabled, "strategies": listed},
    st.booleans(),
    st.lists(strategies, max_size=3),
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), features, max_size=3),
    st.sampled_from(["anna", "bo", None]),
    st.sampled_from(["se", "no", "dk"]),
)
def test_an_excerpt_exposes_whom_the_whole_document_exposes(
    flags: dict[str, dict[str, Any]], unit: str | None, country: str
) -> None:
    segment = {"contextName": "country", "operator": "NOT_IN", "values": ["dk"]}
    content = document(
        *({"name": name, **one} for name, one in flags.items()),
        segments=[{"id": 1, "constraints": [segment]}],
    )
    context = FlagContext(properties={"country": country})
    whole = compile_flags(content, lambda: 0.5)
    for name in "abc":
        alone = compile_flags(excerpt(content, {name}).document, lambda: 0.5)
        assert alone.get(name, NOT_EXPOSED)(unit, context) == whole.get(name, NOT_EXPOSED)(unit, context)
