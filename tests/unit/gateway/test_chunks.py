"""The chunked coding: whatever the slices, the same body or the same refusal, in bounded memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chunks import LAST_CHUNK, MAX_LINE, MAX_TRAILERS, ChunkDecoder, ChunkError, encode

_TRAILERS = st.lists(st.sampled_from([b"x-t: 1", b"a:", b"Expires: never", b"x-u: J\xfcrgen"]), max_size=3)
_EXTENSIONS = st.sampled_from([b"", b";", b";a", b';a="b;c"', b" ;a=b", b"\t;\tx"])


@st.composite
def _coded(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chunked body as another sender may write it, and what it says."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    coded = b""
    for piece in pieces:
        size = b"%x" % len(piece)
        size = draw(st.sampled_from([size, size.upper(), size.zfill(15)]))
        coded += size + draw(_EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    coded += draw(st.sampled_from([b"0", b"000"])) + draw(_EXTENSIONS) + b"\r\n"
    return coded + b"".join(line + b"\r\n" for line in draw(_TRAILERS)) + b"\r\n", b"".join(pieces)


def _sliced(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def _decoded(slices: list[bytes]) -> tuple[bytes, bytes] | None:
    """Body and what comes behind it; None for a refusal; fails when the body is not whole."""
    decoder = ChunkDecoder()
    body = b""
    for at, piece in enumerate(slices):
        try:
            body += b"".join(decoder.feed(piece))
        except ChunkError:
            return None
        if decoder.done:
            return body, decoder.rest + b"".join(slices[at + 1 :])
    raise AssertionError("not whole")


@settings(deadline=None, max_examples=200)
@given(coded=_coded(), rest=st.binary(max_size=6), cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_any_slicing_gives_the_same_body_and_the_same_rest(
    coded: tuple[bytes, bytes], rest: bytes, cuts: list[int]
) -> None:
    data, body = coded
    assert _decoded(_sliced(data + rest, cuts)) == (body, rest)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_what_is_encoded_is_decoded_byte_by_byte(pieces: list[bytes]) -> None:
    data = b"".join(map(encode, pieces)) + LAST_CHUNK
    assert _decoded([data[at : at + 1] for at in range(len(data))]) == (b"".join(pieces), b"")


_PARTS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"4\r\nrain\r\n", b"0\r\n", b"\r\n", b"x-t: 1\r\n", b"\r", b"\n", b"4", b";x", b"3\r\nrain\r\n"]
        ),
        st.binary(max_size=3),
    ),
    max_size=6,
).map(b"".join)  # fmt: skip


def _outcome(slices: list[bytes]) -> tuple[str, bytes, bytes]:
    decoder = ChunkDecoder()
    body = b""
    for at, piece in enumerate(slices):
        try:
            body += b"".join(decoder.feed(piece))
        except ChunkError:
            return "refused", b"", b""
        if decoder.done:
            return "done", body, decoder.rest + b"".join(slices[at + 1 :])
    return "waits", body, b""


@settings(deadline=None, max_examples=400)
@given(data=_PARTS, cuts=st.lists(st.integers(0, 100), max_size=8))
def test_any_bytes_have_one_outcome_whatever_the_slices(data: bytes, cuts: list[int]) -> None:
    # A last LF makes held lines whole: what is refused early in one slicing is refused late in another.
    data += b"\n\n"
    assert _outcome(_sliced(data, cuts)) == _outcome([data])


@settings(deadline=None, max_examples=200)
@given(data=_PARTS)
def test_what_was_refused_stays_refused_whatever_follows(data: bytes) -> None:
    if _outcome([data])[0] == "refused":
        for more in (b"", b"\r\n", b"\n", b"0\r\n\r\n"):
            assert _outcome([data + more])[0] == "refused"


@pytest.mark.parametrize("line", [b"4;" + b"x" * (MAX_LINE - 2), b"4;" + b"x" * (MAX_LINE - 1)])
@pytest.mark.parametrize("size", [1, 4096, 4097, 4098])
def test_the_longest_size_line_does_not_depend_on_the_slices(line: bytes, size: int) -> None:
    data = line + b"\r\nrain\r\n0\r\n\r\n"
    slices = [data[at : at + size] for at in range(0, len(data), size)]
    assert _outcome(slices) == _outcome([data])
    assert (_outcome([data])[0] == "done") == (len(line) <= MAX_LINE)


@pytest.mark.parametrize("length", [MAX_LINE, MAX_LINE + 1, MAX_TRAILERS, MAX_TRAILERS + 1])
@pytest.mark.parametrize("size", [1, 4096, 4097, 4098])
def test_the_longest_trailer_does_not_depend_on_the_slices(length: int, size: int) -> None:
    data = b"0\r\n" + b"x:".ljust(length, b"y") + b"\r\n\r\n"
    slices = [data[at : at + size] for at in range(0, len(data), size)]
    assert _outcome(slices) == _outcome([data])


@pytest.mark.parametrize(
    "endless",
    [
        b"4;" + b"x" * 100_000,
        b"f" * 100_000,
        b"0\r\nx:" + b"y" * 100_000,
        b"0\r\n" + b"x: y\r\n" * 30_000,
    ],
)
@pytest.mark.parametrize("size", [1, 1000, 200_000])
def test_a_line_without_an_end_is_refused_before_it_fills_memory(endless: bytes, size: int) -> None:
    # What is refused in its first bytes was not held any longer than those.
    fed = -(-(2 * MAX_TRAILERS) // size) * size
    slices = [endless[at : at + size] for at in range(0, fed, size)]
    assert _outcome(slices)[0] == "refused"


def test_a_chunk_is_handed_over_as_it_comes_and_never_collected() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"fffffffffffffff\r\n") == []
    for _ in range(100):
        assert decoder.feed(b"y" * 1000) == [b"y" * 1000]
    assert not decoder.done
