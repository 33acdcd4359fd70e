"""Frames of V2 answers: whatever the bytes, what is read by a frame is what is read in full."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Prediction, Unreadable
from comparators.readers.frames import LONGEST, MOST_FRAMES
from comparators.readers.v2 import V2Reader
from domain.media import JSON


def answer(data: list[Any], datatype: str = "FP64", **more: Any) -> bytes:
    output = {"name": "p", "shape": [1, len(data)], "datatype": datatype, "data": data}
    return json.dumps({"model_name": "rain", "id": "r-1", "outputs": [output], **more}).encode()


def told(reader: V2Reader, body: bytes, *, whole: bool = False) -> object:
    try:
        found: Prediction = reader._read(body, JSON) if whole else reader.read(body)
    except Unreadable as error:
        return error.reason
    # NaN is not equal to itself, and -0.0 is equal to 0.0.
    return repr(found)


TEMPLATES = [
    answer([0.25, 0.75]),
    answer([3], "INT64"),
    answer([1, 2, 3], "UINT8"),
    answer([0.5, None], "FP32"),
    answer([0.25, 0.75], parameters={"data": [1.0, 2.0]}),
    answer([0.25, 0.75], parameters={"id": "x"}),
    answer([0.25, 0.75], model_version='"data": [1.0, 2.0]'),
    answer([0.25, 0.75]).replace(b'"id"', b'"\\"id"'),
    answer([0.25, 0.75]).replace(b'"id": "r-1", ', b""),
    answer([0.25, 0.75]).replace(b" ", b""),
    answer(["a"], "BYTES"),
    answer([True], "BOOL"),
    b'{"outputs":[{"name":"p","shape":[2],"datatype":"FP64","data":[[1.0,2.0]]}]}',
    b'{"id":"a","outputs":[{"name":"p","shape":[1],"datatype":"FP64","data":[1.0]}],"id":"b"}',
    b'{"outputs":[{"name":"p","shape":[1],"datatype":"FP64","data":[1.0]},{"name":"q","data":[1]}]}',
]
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["1e999", "-0.0", "01", "+1", "1.", "1e5", "", "-", "1 2", "256"]),
    st.sampled_from(["null", "[1]", '"x"', "1]"]),
)  # fmt: skip
EDITS = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b'"', b"\\", b"]", b",", b'","id":"', b"\x00", b"\xff", b"\xc3\xa9", b"1", b" "]),
)


@settings(deadline=None, max_examples=400)
@given(
    template=st.sampled_from(TEMPLATES),
    numbers=st.lists(NUMBERS, max_size=3),
    name=st.text(max_size=8),
    at=st.floats(0, 1),
    cut=st.integers(0, 3),
    edit=st.one_of(st.just(b""), EDITS),
    output=st.sampled_from([None, "p"]),
)
def test_any_answer_is_read_by_a_frame_as_it_is_read_in_full(
    template: bytes, numbers: list[str], name: str, at: float, cut: int, edit: bytes, output: str | None
) -> None:
    reader = V2Reader(output)
    told(reader, template)
    start, _, rest = template.partition(b'"data":')
    _inner, closing, behind = rest.partition(b"]")
    filled = start + b'"data": [' + ",".join(numbers).encode() + closing + behind
    named = template.replace(b"r-1", name.encode("utf-8", "surrogatepass"))
    place = int(at * len(template))
    edited = template[:place] + edit + template[place + cut :]
    for body in (template, filled, named, edited):
        assert told(reader, body) == told(V2Reader(output), body, whole=True)


@pytest.mark.parametrize("template", TEMPLATES[:3])
def test_answers_of_one_kind_are_read_in_full_once(template: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = V2Reader("p")
    expected = told(V2Reader("p"), template.replace(b"r-1", b"r-2"), whole=True)
    reader.read(template)
    monkeypatch.setattr(reader, "_read", None)
    assert told(reader, template.replace(b"r-1", b"r-2")) == expected


@pytest.mark.parametrize("template", TEMPLATES[3:])
def test_other_answers_are_read_as_ever(template: bytes) -> None:
    reader = V2Reader()
    for number in range(20):
        body = template.replace(b"0.25", b"0.%d" % number)
        assert told(reader, body) == told(V2Reader(), body, whole=True)


def test_a_frame_belongs_to_its_shape_and_few_are_kept() -> None:
    reader = V2Reader("p")
    for width in range(1, 70):
        body = answer([1 / width] * width)
        assert told(reader, body) == told(V2Reader("p"), body, whole=True)
    assert len(reader._frames._frames) == MOST_FRAMES
    many = answer([0.5] * LONGEST)
    assert told(reader, many) == told(V2Reader("p"), many, whole=True)
