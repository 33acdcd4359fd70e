"""Bytes to a JSON document: what every parser agrees upon, or a short reason."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Unreadable
from comparators.readers import document
from comparators.readers.document import MAX_BODY, MAX_DEPTH, MAX_PARTS, decode

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=30,
)


@settings(deadline=None)
@given(DOCUMENTS, st.booleans())
def test_what_json_wrote_is_read_back(value: object, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert decode(body) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the answer is empty"),
        (b" \n\t", "the answer is empty"),
        (b"\xef\xbb\xbf{}", "the answer begins with a byte order mark; JSON is plain UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "the answer begins with a byte order mark; JSON is plain UTF-8"),
        (b'{"a": "\xff"}', "the answer is not UTF-8 at byte 7"),
        (b"<html>", "the answer is not JSON: unexpected character, expected a JSON value"),
        (b'{"a": 1', "the answer is not JSON: "),
        (b"{} {}", "the answer is not JSON: unexpected content after document"),
        (b'"\\ud800"', "the answer is not JSON: "),
        (b'[NaN, "\\ud800"]', "the answer has a lone surrogate in a string"),
        (b'{"\\udfff": NaN}', "the answer has a lone surrogate in a string"),
        (b"1e400", "the answer is not JSON: number is infinity"),
        (b"[NaN, 1e400]", "the number '1e400' is beyond 64-bit floats"),
        (b"[NaN, -1" + b"0" * 5000 + b"]", "is beyond 64-bit floats"),
        (b"1" * 5000, "the answer is not JSON: number is infinity"),
        (b'{"a": 1, "a": 1}', "the key 'a' occurs twice in one object"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "the key 'a' occurs twice in one object"),
        (b'{"p": {"a": 1, "a": 2}}', "the key 'a' occurs twice in one object"),
        (b'{"p": {"q": {"a": 1, "a": 2}}}', "the key 'a' occurs twice in one object"),
        (b'{"o": [{"a": 1, "a": 2}]}', "the key 'a' occurs twice in one object"),
        (b'{"o": [{"p": {"a": 1, "a": 2}}]}', "the key 'a' occurs twice in one object"),
        (b'{"o": [{"p": {"q": {"a": 1, "a": 2}}}]}', "the key 'a' occurs twice in one object"),
        (b'{"o": [1, {"a": 1, "a": 2}]}', "the key 'a' occurs twice in one object"),
        (b'{"o": [[{"a": 1, "a": 2}]]}', "the key 'a' occurs twice in one object"),
        (b'{"a": NaN, "a": 1}', "the key 'a' occurs twice in one object"),
        (b'[{"b": "x:y", "a": [{"a": 1, "a": 2}]}]', "the key 'a' occurs twice in one object"),
        (b"[NaN", "the answer is not JSON: "),
        (b"not NaN", "the answer is not JSON: "),
    ],
)
def test_a_wrong_document_is_refused_with_a_precise_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(body)
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 200


def test_nan_and_infinity_are_numbers() -> None:
    read = decode(b'{"a": [NaN, Infinity, -Infinity, 12345678901234567890, 123456789012345678901234567890]}')
    assert isinstance(read, dict)
    nan, *others = read["a"]
    assert math.isnan(nan)
    assert others == [math.inf, -math.inf, 12345678901234567890, 1.2345678901234568e29]
    assert decode(b'["NaN: a word"]') == ["NaN: a word"]


def test_colons_in_strings_are_no_keys() -> None:
    assert decode(b'{"id": "urn:x:y", "a:b": [{"c": "::"}]}') == {"id": "urn:x:y", "a:b": [{"c": "::"}]}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("filling", [b"1", b"NaN"])
def test_nesting_ends_at_the_cap(opening: bytes, closing: bytes, filling: bytes) -> None:
    decode(opening * MAX_DEPTH + filling + closing * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 900):
        with pytest.raises(Unreadable, match="nested"):
            decode(opening * depth + filling + closing * depth)
    for depth in (5_000, MAX_PARTS - 1):
        with pytest.raises(Unreadable, match=r"depth|nested"):
            decode(opening * depth + filling + closing * depth)
        with pytest.raises(Unreadable, match=r"depth|nested"):
            decode(opening * depth + filling)


def test_arrays_and_objects_in_turn_end_at_the_cap_too() -> None:
    decode(b'{"a":[' * (MAX_DEPTH // 2) + b"]}" * (MAX_DEPTH // 2))
    with pytest.raises(Unreadable, match="nested 65 levels deep"):
        decode(b"[" + b'{"a":[' * (MAX_DEPTH // 2) + b"]}" * (MAX_DEPTH // 2) + b"]")
    decode(b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1))
    with pytest.raises(Unreadable, match="nested 65 levels deep"):
        decode(b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH)


def test_many_shallow_containers_are_no_depth() -> None:
    assert decode(b"[" + b"[1]," * 999 + b"[1]]") == [[1]] * 1000


def test_a_longer_body_than_the_cap_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode(b'"' + b"x" * (MAX_BODY - 2) + b'"') == "x" * (MAX_BODY - 2)
    monkeypatch.delattr(document.orjson, "loads")
    with pytest.raises(Unreadable, match="the answer has 8388609 bytes; up to 8388608 are compared"):
        decode(b"1" * (MAX_BODY + 1))
    with pytest.raises(Unreadable, match="more than 250000 values"):
        decode(b"[" + b"1," * MAX_PARTS + b"1]")


WORDS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b"NaN", b"-", b"Infinity", b"1", b"1e999", b"null"]
WORDS += [
    b"true",
    b" ",
    b"\xff",
    b"\xef\xbb\xbf",
    b'"\\ud800"',
    b'"outputs"',
    b'"data"',
    b"0.5",
    b"\x00",
    b"\\u",
]
JUNK = st.binary(max_size=200) | st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join)


@settings(deadline=None, max_examples=500)
@given(JUNK)
def test_any_bytes_are_a_document_or_unreadable(body: bytes) -> None:
    try:
        value = decode(body)
    except Unreadable as error:
        reason = error.reason
    else:
        reason = "none"
        json.loads(body, parse_constant=float)
        json.dumps(value, ensure_ascii=False).encode()
    assert 0 < len(reason) < 300
    assert reason.isprintable()
