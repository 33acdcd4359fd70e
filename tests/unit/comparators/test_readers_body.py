"""Content codings undone, and no more memory than the cap, whatever came in."""

from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Unreadable
from comparators.readers.body import inflated
from comparators.readers.v2 import V2Reader
from domain.media import JSON, Media

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024


def raw_deflate(body: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(body) + coder.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "br": lambda body: brotli.compress(body, quality=4),
    "zstd": zstd.compress,
}


def coded(name: str, body: bytes) -> tuple[bytes, Media]:
    return CODERS[name](body), Media("application/json", name.removeprefix("raw "))


def refusal(body: bytes, media: Media, limit: int = 8 * MIB) -> str:
    with pytest.raises(Unreadable) as caught:
        inflated(body, media, limit)
    return caught.value.reason


@settings(deadline=None)
@given(st.sampled_from(sorted(CODERS)), st.binary(max_size=2000))
def test_what_was_coded_comes_back(name: str, body: bytes) -> None:
    assert inflated(*coded(name, body)) == body


@pytest.mark.parametrize("name", sorted(CODERS))
def test_a_large_body_comes_back_whole(name: str) -> None:
    body = b"".join(b"%d," % (number * number) for number in range(60_000))
    assert inflated(*coded(name, body)) == body


def test_codings_are_undone_last_first_and_identity_is_none() -> None:
    body = b'{"y": 1}'
    assert inflated(zstd.compress(gzip.compress(body)), Media("", "gzip, ZSTD")) == body
    assert inflated(body, Media("", " identity ,")) == body
    assert inflated(body, JSON) is body


def test_members_in_a_row_are_one_body() -> None:
    assert inflated(gzip.compress(b"[1,") + gzip.compress(b"2]"), Media("", "gzip")) == b"[1,2]"
    assert inflated(zstd.compress(b"[1,") + zstd.compress(b"2]"), Media("", "zstd")) == b"[1,2]"
    many = "goes on behind the end"
    assert many in refusal(gzip.compress(b"") * 2000, Media("", "gzip"))
    assert many in refusal(zstd.compress(b"") * 2000, Media("", "zstd"))


ZEROS = bytes(24 * MIB)
BOMBS = {
    "gzip": gzip.compress(ZEROS, 1),
    "deflate": zlib.compress(ZEROS, 1),
    "raw deflate": raw_deflate(ZEROS),
    "br": brotli.compress(ZEROS, quality=1),
    "zstd": zstd.compress(ZEROS, 1),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_unreadable_by_ratio_and_by_size(name: str) -> None:
    media = Media("", name.removeprefix("raw "))
    reason = refusal(BOMBS[name], media)
    assert reason in (
        "the answer inflates beyond 100 times its size",
        "the answer inflates beyond 8388608 bytes",
    )
    assert refusal(BOMBS[name], media, limit=1000) == "the answer inflates beyond 1000 bytes"


def test_a_bomb_in_a_bomb_stops_at_the_inner_one() -> None:
    twice = gzip.compress(BOMBS["gzip"])
    assert "inflates beyond" in refusal(twice, Media("", "gzip, gzip"))


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_costs_no_more_memory_than_the_limit_and_a_block(name: str) -> None:
    noise = random.Random(7).randbytes(MIB)  # so that the size stops it, not the ratio
    body, media = coded(name, noise + ZEROS)
    tracemalloc.start()
    try:
        assert refusal(body, media) == "the answer inflates beyond 8388608 bytes"
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()


def test_a_short_answer_of_equal_numbers_is_no_bomb() -> None:
    body = b"[" + b"0," * 20_000 + b"0]"
    shrunk = gzip.compress(body)
    assert len(body) > 100 * len(shrunk)
    assert inflated(shrunk, Media("", "gzip")) == body


@pytest.mark.parametrize("name", sorted(CODERS))
def test_what_is_cut_or_wrong_or_goes_on_is_refused(name: str) -> None:
    body, media = coded(name, b'{"y": [1, 2, 3, 4, 5, 6, 7, 8]}' * 10)
    for wrong in (body[:-5], b"\x00\xffnonsense" + body, body + b"and more", b"<html></html>"):
        assert refusal(wrong, media).startswith("the ")
    assert refusal(b"", media) == "the answer is empty"


def test_a_coding_that_is_not_known_is_named() -> None:
    known = "gzip, deflate, br and zstd are undone"
    assert refusal(b"x", Media("", "compress")) == f"the answer has the content coding 'compress'; {known}"
    assert "has 4 content codings" in refusal(b"x", Media("", "gzip,gzip,gzip,gzip"))


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "zstd,deflate"]),
    st.binary(max_size=300),
    st.sampled_from(sorted(CODERS)),
    st.integers(0, 400),
)
def test_any_bytes_are_a_body_or_unreadable(encoding: str, body: bytes, name: str, cut: int) -> None:
    for candidate in (body, CODERS[name](body), CODERS[name](body)[:cut] + body):
        try:
            size, reason = len(inflated(candidate, Media("", encoding))), "none"
        except Unreadable as error:
            size, reason = 0, error.reason
        assert size <= 8 * MIB
        assert reason.isprintable()


def test_a_gzip_answer_of_mlserver_is_read() -> None:
    answer = gzip.compress(
        b'{"model_name":"iris-1","model_version":"1","id":"aa84bf14","parameters":{},"outputs":[{"name":'
        b'"predict","shape":[2,1],"datatype":"INT64","parameters":{"content_type":"np"},"data":[0,2]}]}'
    )
    read = V2Reader("predict").read(answer, Media("application/json", "gzip"))
    assert read.labels == ("0", "2")
