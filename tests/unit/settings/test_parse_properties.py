"""Whatever the document: settings that can be served, or a ConfigError that names key and way out."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from domain.routing import Mode
from domain.snapshot import Snapshot
from settings import file, snapshot
from settings.parse import parse, problems
from settings.reader import MOST_PROBLEMS
from settings.schema import Settings

EXAMPLE: Any = file.document(Path(__file__).with_name("contract.yaml"))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["1%", "0%", "100%", "1h", "0s", "8MiB", "request", "shadow", "canary", "json", "header:x", "/x"]
    ),
    st.sampled_from([0, 1, -1, 0.5, 2**63, 10**400, "\ud800", "a\nb", "x" * 300]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below `value`."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [place for key, item in items for place in ((*path, key), *places(item, (*path, key)))]


PLACES = places(EXAMPLE)


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """The example with one to three values replaced, removed, renamed or swapped for another part of it."""
    document = copy.deepcopy(EXAMPLE)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(PLACES))
        where = document
        try:
            for key in place[:-1]:
                where = where[key]
            old = where[place[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took this place away
        kind = draw(st.sampled_from(["replace", "remove", "rename", "transplant"]))
        if kind == "replace":
            where[place[-1]] = draw(values)
        elif kind == "remove":
            del where[place[-1]]
        elif kind == "rename" and isinstance(where, dict):
            del where[place[-1]]
            where[draw(st.text(max_size=8))] = old
        else:
            other: Any = EXAMPLE
            for key in draw(st.sampled_from(PLACES)):
                other = other[key]
            where[place[-1]] = copy.deepcopy(other)
    return document


def check(document: object) -> Settings | None:
    found = problems(document)
    assert len(found) <= MOST_PROBLEMS
    for problem in found:
        message = str(problem)
        assert problem.path
        assert problem.allowed
        assert "\n" not in message
        assert len(message) < 1000
        message.encode()  # no half surrogates, so that it can be printed
    if not found:
        return parse(document)
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert str(caught.value) == str(found[0])
    return None


@given(values)
@settings(deadline=None)
def test_any_document_is_refused_by_key_or_parsed(document: object) -> None:
    check(document)


@given(mutations())
@settings(deadline=None, max_examples=200)
def test_any_mutation_of_the_example_is_refused_by_key_or_can_be_served(document: object) -> None:
    parsed = check(document)
    if parsed is not None:
        assert isinstance(snapshot.boot(parsed), Snapshot)
        for endpoint in parsed.endpoints:
            order = [Mode.SHADOW, Mode.GUARDED, Mode.CANARY]
            risks = [(order.index(stage.mode), stage.weight) for stage in endpoint.plan]
            assert risks == sorted(risks)
            assert all(stage.pairs for stage in endpoint.plan[:-1])
            for stage in endpoint.plan:
                served = snapshot.endpoint(endpoint, mode=stage.mode, weight=stage.weight, tripped=False)
                assert (served.mode is Mode.SHADOW) == (served.weight == 0)


@pytest.mark.parametrize("key", [1, None, True, 1.5, ("a", "b"), b"a"])
def test_keys_are_texts(key: object) -> None:
    (problem,) = problems({"endpoints": {key: {}}})
    assert (problem.path, "keys are texts" in problem.allowed) == ("endpoints", True)


@pytest.mark.parametrize("value", [date(2024, 1, 1), b"x", {1}, object(), 1j])
def test_values_are_json(value: object) -> None:
    (problem,) = problems({"endpoints": {"rain": {"path": value}}})
    assert problem.path == "endpoints.rain.path"


def test_a_number_too_long_to_be_written_is_refused() -> None:
    (problem,) = problems({"workers": 10**5000})
    assert str(problem).startswith("workers: 'a number with very many digits' is not allowed")


def test_a_document_that_contains_itself_is_refused() -> None:
    document: dict[str, object] = {}
    document["endpoints"] = document
    (problem,) = problems(document)
    assert "levels deep" in problem.allowed


def test_no_more_problems_are_kept_than_people_read() -> None:
    assert len(problems({f"key{number}": 1 for number in range(10_000)})) == MOST_PROBLEMS
    assert len(problems({"endpoints": {f"e{number}": {} for number in range(1000)}})) == MOST_PROBLEMS
