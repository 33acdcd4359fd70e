"""Canonical JSON against the scheme's own examples (RFC 8785), and against a reader."""

from __future__ import annotations

import json
import math
import struct

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import canonical

# RFC 8785, appendix B: the bits of a double, and its spelling.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS | NUMBER,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "spelling"), NUMBERS.items())
def test_numbers_are_spelt_as_the_scheme_says(bits: str, spelling: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.encode(value) == spelling.encode()


def test_the_example_of_the_scheme() -> None:
    # RFC 8785, sections 3.2.2 to 3.2.4.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical.encode(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_in_the_order_of_utf_16() -> None:
    # RFC 8785, section 3.2.3: an emoji comes before U+FB33, whose code point is smaller.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    found = json.loads(canonical.encode(dict.fromkeys(keys, 0)), object_pairs_hook=list)
    assert [key for key, _ in found] == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(deadline=None, max_examples=100)
@given(VALUES)
def test_what_is_written_reads_back_and_is_written_the_same_again(value: object) -> None:
    written = canonical.encode(value)
    read = json.loads(written, parse_int=float)  # as ECMAScript reads it
    assert read == value
    assert canonical.encode(read) == written


@settings(deadline=None, max_examples=100)
@given(ANYTHING)
def test_whatever_is_tamed_can_be_written(value: object) -> None:
    json.loads(canonical.encode(canonical.tame(value)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53 + 1, b"bytes", {1: 2}, object(), "\ud800"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical.encode(value)


@settings(deadline=None)
@given(NUMBER)
def test_a_number_of_an_array_is_spelled_like_any_other(value: float) -> None:
    assert canonical.encode([numpy.float64(value)]) == canonical.encode([value])
