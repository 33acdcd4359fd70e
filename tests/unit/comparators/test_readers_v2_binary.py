"""The binary tensor extension of V2: JSON in front, raw tensors behind."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from comparators.prediction import Unreadable
from comparators.readers.document import MAX_BODY, MAX_PARTS
from comparators.readers.v2 import V2Reader
from domain.media import Media

KSERVE = (
    b'{"id":null,"model_name":"iris","model_version":null,"outputs":[{"name":"predict","shape":[2],"datatype"'
    b':"INT64","parameters":{"binary_data_size":16}},{"name":"predict_proba","shape":[2,3],"datatype":"FP64",'
    b'"parameters":{"binary_data_size":48}}]}'
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"
    b"ZmK\x95\xbbi\xef?n@D_\x8c\xc8\x92?\xe9j\xff\x86\xc2\xe9N>"
    b"\nR\xb1\xd8M1A?\xa2\xd7\xfbQ\xd3n\xde?\xdb\xe7\x8b\x03J\xc4\xe0?"
)
"""What KServe 0.21 answers to `binary_data_output`, with `inference-header-content-length: 245`."""


def message(*tensors: tuple[str, list[int], str, bytes | list[object]]) -> tuple[bytes, Media]:
    outputs: list[dict[str, object]] = []
    raw = b""
    for name, shape, datatype, data in tensors:
        output: dict[str, object] = {"name": name, "shape": shape, "datatype": datatype}
        if isinstance(data, bytes):
            output["parameters"] = {"binary_data_size": len(data)}
            raw += data
        else:
            output["data"] = data
        outputs.append(output)
    header = json.dumps({"outputs": outputs}).encode()
    return header + raw, Media("application/octet-stream", "", len(header))


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def refusal(body: bytes, media: Media, output: str | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        V2Reader(output).read(body, media)
    assert caught.value.reason.isprintable()
    return caught.value.reason


def test_what_kserve_answers_in_binary_is_what_it_answers_in_json() -> None:
    media = Media.of("\n\n245")
    assert V2Reader("predict").read(KSERVE, media).labels == ("0", "2")
    read = V2Reader("predict_proba").read(KSERVE, media)
    assert (read.rows, read.width) == (2, 3)
    assert read.real() == (
        0.981656829444016,
        0.01834315616093856,
        1.4395045350105303e-8,
        0.0005246763333937598,
        0.475514249861016,
        0.5239610738055903,
    )
    every = V2Reader(None, structured=True).read(KSERVE, media).structure
    assert isinstance(every, dict)
    assert every["predict"] == [0, 2]
    assert every["predict_proba"] == [list(read.real()[:3]), list(read.real()[3:])]


@pytest.mark.parametrize(
    ("datatype", "code"),
    [
        *(
            ("FP64", "<f8"),
            ("FP32", "<f4"),
            ("FP16", "<f2"),
            ("INT8", "i1"),
            ("INT16", "<i2"),
            ("INT32", "<i4"),
        ),
        *(("INT64", "<i8"), ("UINT8", "u1"), ("UINT16", "<u2"), ("UINT32", "<u4"), ("UINT64", "<u8")),
    ],
)
@pytest.mark.parametrize("rows", [1, 40])
def test_every_datatype_is_read_in_its_own_size(datatype: str, code: str, rows: int) -> None:
    values: NDArray[np.float64] = np.arange(rows * 3).reshape(rows, 3) % 100
    read = V2Reader().read(*message(("y", [rows, 3], datatype, values.astype(code).tobytes())))
    assert (read.rows, read.width) == (rows, 3)
    assert read.values.tolist() == values.tolist()
    assert read.real() == tuple(values.ravel().tolist())
    assert (read.labels is None) == datatype.startswith("FP")


def test_a_brain_float_is_the_upper_half_of_a_float() -> None:
    values = np.array([1.5, -2.0, math.inf, 3.140625], "<f4")
    halves = (values.view("<u4") >> 16).astype("<u2").tobytes()
    assert V2Reader().read(*message(("y", [4], "BF16", halves))).real() == (1.5, -2.0, math.inf, 3.140625)


def test_extremes_of_64_bits_keep_every_digit() -> None:
    values = struct.pack("<QQ", 2**64 - 1, 0)
    assert V2Reader().read(*message(("y", [2], "UINT64", values))).labels == ("18446744073709551615", "0")


def test_large_tensors_are_not_copied() -> None:
    body, media = message(("y", [1000, 4], "FP64", np.ones(4000).tobytes()))
    read = V2Reader().read(body, media)
    assert read.array is not None
    assert read.numbers is None
    assert read.has_numbers
    assert not read.array.flags.writeable
    assert np.shares_memory(read.values, read.array)
    assert read.array.base is not None


def test_texts_and_truth() -> None:
    body = message(("t", [2], "BYTES", texts("Straße".encode(), b"")), ("b", [3], "BOOL", b"\x01\x00\x01"))
    assert V2Reader("t").read(*body).labels == ("Straße", "")
    assert V2Reader("b").read(*body).labels == ("true", "false", "true")


def test_json_and_binary_tensors_stand_side_by_side() -> None:
    body = message(
        ("a", [1], "FP32", struct.pack("<f", 0.5)),
        ("j", [2], "FP64", [1.0, 2.0]),
        ("b", [1], "UINT8", b"\x07"),
    )
    assert [V2Reader(name).read(*body).real() for name in "ajb"] == [(0.5,), (1.0, 2.0), (7.0,)]
    only_json = message(("j", [1], "FP64", [3.0]))
    assert V2Reader().read(*only_json).real() == (3.0,)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (("y", [2], "FP64", b"1234567"), "the first output has 7 bytes, which no number of FP64 values take"),
        (("y", [3], "UINT8", b"12"), "the first output holds 2 values; its shape asks for 3"),
        (("y", [0], "UINT8", b""), "the first output is empty"),
        (("y", [1], "FP8", b"1"), "the first output has the datatype 'FP8', which V2 does not know"),
        (("y", [1], "BOOL", b"\x02"), "the first output holds a whole number 2 at 0, where true or false is"),
        (("y", [1], "BYTES", b"\x01\x00"), "the bytes of the first output end inside element 0"),
        (("y", [2], "BYTES", texts(b"a") + b"\xff\xff\xff\xff"), "the bytes of the first output end inside"),
        (
            ("y", [1], "BYTES", texts(b"\xff\xfe")),
            "the first output holds bytes at 0 that are not UTF-8 text",
        ),
        (
            ("y", [2**18], "UINT8", b"1" * 2**18),
            "the first output has 262144 values; up to 250000 are compared",
        ),
        (("y", [2**18], "BYTES", texts(b"") * 2**18), "the first output has more than 250000 values"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tensor: tuple[str, list[int], str, bytes | list[object]], reason: str
) -> None:
    assert refusal(*message(tensor)).startswith(reason)


def test_lengths_that_do_not_fit_are_refused() -> None:
    body, media = message(("y", [1], "UINT8", b"\x07"))
    assert refusal(body, Media("", "", -1)) == "the Inference-Header-Content-Length is no number of bytes"
    assert refusal(body, Media("", "", 10_000)).startswith(
        "the Inference-Header-Content-Length is 10000; the"
    )
    assert refusal(body, Media("", "", 0)) == "the answer is empty"
    assert refusal(body, Media("", "", len(body) - 2)).startswith("the answer is not JSON")
    assert refusal(body + bytes(MAX_BODY), media).endswith("bytes; up to 8388608 are compared")
    assert refusal(body + b"!", media) == "2 bytes of tensors came behind the JSON, which asks for 1"
    assert refusal(body[:-1], media) == "0 bytes of tensors came behind the JSON, which asks for 1"


@pytest.mark.parametrize("size", [-1, 1.0, "1", None, True, 2**70])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    tensor = {"name": "y", "shape": [1], "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    header = json.dumps({"outputs": [tensor]}).encode()
    reason = refusal(header + b"1", Media("", "", len(header)))
    assert "binary_data_size" in reason or "asks for" in reason


def test_as_many_values_as_are_compared_are_read() -> None:
    body, media = message(("y", [MAX_PARTS], "INT64", bytes(8 * MAX_PARTS)))
    assert V2Reader().read(body, media).rows == MAX_PARTS


TENSORS = st.tuples(
    st.sampled_from(["y", "z"]),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from(["FP64", "FP16", "BF16", "INT8", "BOOL", "BYTES", "?"]),
    st.binary(max_size=40) | st.lists(st.floats() | st.booleans() | st.text(max_size=3), max_size=4),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(TENSORS, max_size=3), st.integers(-3, 3), st.binary(max_size=4), st.booleans())
def test_any_message_is_a_prediction_or_unreadable(
    tensors: list[tuple[str, list[int], str, bytes | list[object]]], slip: int, more: bytes, structured: bool
) -> None:
    body, media = message(*tensors)
    wrong = media._replace(header_length=max(-1, (media.header_length or 0) + slip))
    for one in (media, wrong):
        try:
            read = V2Reader(None, structured).read(body + more, one)
        except Unreadable as error:
            size, reason = 1, error.reason
        else:
            size, reason = read.rows * read.width, "none"
        assert size > 0
        assert reason.isprintable()
