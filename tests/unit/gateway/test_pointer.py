"""A unit's value in a JSON body (RFC 6901)."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pointer import text_at

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _leaves(value: object, pointer: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        parts = [(key.replace("~", "~0").replace("/", "~1"), inner) for key, inner in value.items()]
    elif isinstance(value, list):
        parts = [(str(at), inner) for at, inner in enumerate(value)]
    else:
        return [(pointer, value)]
    return [leaf for key, inner in parts for leaf in _leaves(inner, f"{pointer}/{key}")]


@settings(deadline=None, max_examples=200)
@given(_JSON)
def test_every_text_and_whole_number_is_found_at_its_pointer(value: object) -> None:
    body = orjson.dumps(value)
    for pointer, leaf in _leaves(value):
        whole = isinstance(leaf, int) and not isinstance(leaf, bool)
        expected = str(leaf) if whole else leaf if isinstance(leaf, str) and leaf else None
        assert text_at(body, pointer) == expected


@settings(deadline=None, max_examples=200)
@given(body=st.binary(max_size=30), pointer=st.text(max_size=10))
def test_no_body_and_no_pointer_raises(body: bytes, pointer: str) -> None:
    found = text_at(body, pointer)
    assert found is None or found


@pytest.mark.parametrize("pointer", ["/a/-1", "/a/2", "/a/x", "/a/²", "/b", "/a/0/c", "/a//"])
def test_a_pointer_to_nothing_finds_nothing(pointer: str) -> None:
    assert text_at(b'{"a": [1, 2]}', pointer) is None


def test_a_deep_body_is_no_value_and_no_error() -> None:
    assert text_at(b"[" * 100_000, "/0/0") is None
