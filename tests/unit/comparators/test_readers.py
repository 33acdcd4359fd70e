"""From an answer to a Prediction: V2 and plain JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Prediction, Reader, Unreadable
from comparators.readers.plain import PlainReader
from comparators.readers.pointer import pointer_tokens
from comparators.readers.v2 import V2Reader


def output(data: object, shape: object, datatype: object = "FP64", name: object = "p") -> dict[str, object]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def v2(*outputs: object, **more: object) -> bytes:
    return json.dumps({"model_name": "m", "outputs": list(outputs), **more}).encode()


def refusal(reader: Reader, body: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        reader.read(body)
    reason = caught.value.reason
    assert len(reason) < 300
    assert reason.isprintable()
    return reason


MLSERVER = (
    b'{"model_name":"iris-1","model_version":"1","id":"c0c12301-c091-47b4-9d50-e6fed58e1d6c","parameters":{},'
    b'"outputs":[{"name":"predict","shape":[2,1],"datatype":"INT64","parameters":{"content_type":"np"},'
    b'"data":[0,2]},{"name":"predict_proba","shape":[2,3],"datatype":"FP64","parameters":{"content_type":"np"},'
    b'"data":[0.981656829444016,0.01834315616093856,1.4395045350105303e-8,0.0005246763333937598,'
    b"0.475514249861016,0.5239610738055903]}]}"
)
KSERVE = (
    b'{"model_name":"iris","model_version":null,"id":"r-2","parameters":null,"outputs":[{"name":"predict","shape":'
    b'[2],"datatype":"INT64","parameters":null,"data":[0,2]},{"name":"predict_proba","shape":[2,3],"datatype":'
    b'"FP64","parameters":null,"data":[0.981656829444016,0.01834315616093856,1.4395045350105303e-8,'
    b"0.0005246763333937598,0.475514249861016,0.5239610738055903]}]}"
)
"""What MLServer 1.7.1 and KServe 0.21 answer for the same two rows."""


class TestV2:
    @pytest.mark.parametrize("answer", [MLSERVER, KSERVE])
    def test_what_real_servers_answer_is_read(self, answer: bytes) -> None:
        assert V2Reader().read(answer).labels == ("0", "2")
        read = V2Reader("predict_proba").read(answer)
        assert (read.rows, read.width) == (2, 3)
        assert [row.index(max(row)) for row in read.values.tolist()] == [0, 2]
        both = V2Reader(None, structured=True).read(answer).structure
        assert both == {
            "predict": [[0], [2]] if answer is MLSERVER else [0, 2],
            "predict_proba": read.values.tolist(),
        }

    @pytest.mark.parametrize(
        ("shape", "rows", "width"),
        [([4], 4, 1), ([4, 1], 4, 1), ([1, 4], 1, 4), ([2, 2], 2, 2), ([2, 1, 2], 2, 2), ([1, 1, 4], 1, 4)],
    )
    def test_the_shape_decides_what_a_row_is(self, shape: list[int], rows: int, width: int) -> None:
        read = V2Reader().read(v2(output([0.1, 0.2, 0.3, 0.4], shape)))
        assert (read.rows, read.width) == (rows, width)
        assert read.values.shape == (rows, width)
        assert read.values.dtype == np.float64

    def test_a_scalar_is_one_row(self) -> None:
        assert V2Reader().read(v2(output([7.5], []))).values.tolist() == [[7.5]]

    @pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
    def test_flat_and_nested_data_are_the_same_row_major(self, data: list[object]) -> None:
        assert V2Reader("p").read(v2(output(data, [2, 3]))).values.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_the_named_output_is_found_and_without_a_name_the_first(self) -> None:
        body = v2(output([1.0], [1], name="label"), output([2.0], [1], name="proba"))
        assert V2Reader("proba").read(body).real() == (2.0,)
        assert V2Reader().read(body).real() == (1.0,)

    @pytest.mark.parametrize(
        "datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
    )
    def test_integers_are_numbers_and_labels_within_their_datatype(self, datatype: str) -> None:
        bits = int(datatype.strip("UINT"))
        low, high = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        read = V2Reader().read(v2(output([low, high], [2], datatype)))
        assert read.labels == (str(low), str(high))
        assert read.real() == (float(low), float(high))
        if bits < 64:
            assert f"holds {high + 1}; its datatype goes" in refusal(
                V2Reader(), v2(output([high + 1], [1], datatype))
            )
        assert refusal(V2Reader(), v2(output([low - 1], [1], datatype)))

    @pytest.mark.parametrize("data", [[True, False], [1, 0]])
    def test_booleans_are_labels(self, data: list[object]) -> None:
        assert V2Reader().read(v2(output(data, [2], "BOOL"))).labels == ("true", "false")

    def test_bytes_are_labels_without_numbers(self) -> None:
        read = V2Reader().read(v2(output(["rain", "é"], [2], "BYTES")))
        assert read.labels == ("rain", "é")
        with pytest.raises(Unreadable, match="text where numbers are needed"):
            _ = read.values

    def test_null_and_nan_are_missing_numbers(self) -> None:
        read = V2Reader().read(v2(output([None, math.nan, math.inf, 1], [4], "FP32")))
        assert np.array_equal(read.values[:, 0], [math.nan, math.nan, math.inf, 1], equal_nan=True)

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"[1]", "the answer is an array, not an object with outputs"),
            (b"null", "the answer is null, not an object with outputs"),
            (b"{}", "the answer has no outputs"),
            (b'{"error": "out of memory"}', "the answer is an error: 'out of memory'"),
            (b'{"error": {"code": 3}}', "the answer is an error: {...}"),
            (b'{"outputs": {}}', "outputs is an object, not an array"),
            (b'{"outputs": []}', "the list of outputs is empty"),
            (v2(1), "there is no output 'p'; the answer has none that is an object"),
            (
                v2(output([1], [1], name="q"), output([1], [1], name=3)),
                "there is no output 'p'; the answer has 'q', 3",
            ),
            (v2(output([1], [1]), output([2], [1])), "2 outputs are called 'p'"),
            (v2({"name": "p"}), "output 'p' has null for a shape, where an array is needed"),
            (v2(output([1], "1")), "output 'p' has text for a shape, where an array is needed"),
            (v2(output([1], [1.0])), "the shape of output 'p' has 1.0 where a size is needed"),
            (v2(output([1], [True])), "the shape of output 'p' has True where a size is needed"),
            (v2(output([1], [-1])), "the shape of output 'p' has -1 where a size is needed"),
            (v2(output([1], [2**64 - 1] * 33)), "output 'p' has 33 dimensions; up to 32 are compared"),
            (
                v2(output([1], [2**64 - 1] * 32)),
                "output 'p' holds 1 value; its shape asks for more than 8388608",
            ),
            (v2(output([1, 2, 3], [2, 2])), "output 'p' holds 3 values; its shape asks for 4"),
            (v2(output([], [0])), "output 'p' is empty"),
            (v2(output([], [3, 0])), "output 'p' is empty"),
            (v2(output([[]], [1, 0])), "output 'p' is empty"),
            (v2(output([[1], 2], [2])), "output 'p' mixes arrays and values"),
            (v2(output([[1], [2, 3]], [3])), "output 'p' has rows of different lengths"),
            (v2(output(5, [1])), "the data of output 'p' is a whole number, not an array"),
            (v2(output(None, [1])), "output 'p' has no data"),
            (
                v2({"name": "p", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}),
                "output 'p' is said to be binary, but no Inference-Header-Content-Length came with it",
            ),
            (v2(output([1], [1], None)), "output 'p' has null for a datatype, where text is needed"),
            (v2(output([1], [1], [])), "output 'p' has an array for a datatype, where text is needed"),
            (
                v2(output([1], [1], "FP8")),
                "output 'p' has the datatype 'FP8', which V2 does not know",
            ),
            (
                v2(output([1.0, "x\x1b[2J"], [2])),
                "output 'p' holds text 'x\\x1b[2J' at 1, where a number is needed",
            ),
            (v2(output([True], [1])), "output 'p' holds true or false at 0, where a number is needed"),
            (v2(output([1, [2]], [2])), "output 'p' holds an array at 1, where a number is needed"),
            (
                v2(output([1.0], [1], "INT64")),
                "output 'p' holds a number 1.0 at 0, where a whole number is needed",
            ),
            (v2(output([None], [1], "INT8")), "output 'p' holds null at 0, where a whole number is needed"),
            (
                v2(output([2], [1], "BOOL")),
                "output 'p' holds a whole number 2 at 0, where true or false is needed",
            ),
            (v2(output([1], [1], "BYTES")), "output 'p' holds a whole number 1 at 0, where text is needed"),
        ],
    )
    def test_a_wrong_answer_is_refused_with_a_precise_reason(self, body: bytes, reason: str) -> None:
        assert refusal(V2Reader("p"), body) == reason

    def test_the_first_output_may_be_no_object(self) -> None:
        assert refusal(V2Reader(), v2(3)) == "the first output is a whole number, not an object"


class TestPlain:
    @pytest.mark.parametrize(
        ("pointer", "document", "expected"),
        [
            (None, 0.25, [[0.25]]),
            ("", [0.2, 0.8], [[0.2, 0.8]]),
            ("/p", {"p": [[0.2, 0.8], [0.5, 0.5]]}, [[0.2, 0.8], [0.5, 0.5]]),
            ("/p/1", {"p": [[0.2], [0.7]]}, [[0.7]]),
            ("/a~1b/m~0n/", {"a/b": {"m~n": {"": [1, 0.5]}}}, [[1, 0.5]]),
            ("/0", {"0": 1.5}, [[1.5]]),
        ],
    )
    def test_the_form_decides_what_a_row_is(
        self, pointer: str | None, document: object, expected: object
    ) -> None:
        read = PlainReader(pointer).read(json.dumps(document).encode())
        assert read.values.tolist() == expected
        assert read.labels is None

    @pytest.mark.parametrize(
        ("document", "labels"),
        [
            (3, ("3",)),
            ("rain", ("rain",)),
            (["a", "b"], ("a", "b")),
            ([1, 2], ("1", "2")),
            ([True], ("true",)),
        ],
    )
    def test_whole_numbers_booleans_and_text_are_labels(
        self, document: object, labels: tuple[str, ...]
    ) -> None:
        assert PlainReader().read(json.dumps(document).encode()).labels == labels

    @pytest.mark.parametrize(
        ("pointer", "body", "reason"),
        [
            ("/p", b"{}", "there is no key 'p' at the top of the answer"),
            ("/p/q", b'{"p": {"r": 1}}', "there is no key 'q' at '/p'"),
            ("/p/q", b'{"p": 4}', "there is a whole number, so no 'q', at '/p'"),
            ("/2", b"[1, 2]", "there is no element '2' in an array of 2 at the top of the answer"),
            ("/01", b"[1, 2]", "there is no element '01' in an array of 2 at the top of the answer"),
            ("/-", b"[1, 2]", "there is no element '-' in an array of 2 at the top of the answer"),
            ("/" + "9" * 5000, b"[1, 2]", "there is no element '"),
            (
                "/٣",
                b"[1, 2, 3, 4]",
                "there is no element '\\u0663' in an array of 4 at the top of the answer",
            ),
            ("/p", b'{"p": null}', "the value at '/p' is null, not a prediction"),
            ("/p", b'{"p": {"rain": 0.2}}', "the value at '/p' is an object, not a prediction"),
            (None, b"[]", "the answer is an empty array"),
            (None, b"[[], []]", "the answer has empty rows"),
            (None, b"[[[1]]]", "the answer is nested deeper than rows of values"),
            (None, b"[[1], [1, 2]]", "the answer has rows of different lengths"),
            (None, b"[[1], 2]", "the answer mixes arrays and values"),
            (None, b"[[1], [[2]]]", "the answer holds an array at 1, where a number is needed"),
            (None, b'[0.5, "x"]', "the answer holds text 'x' at 1, where a number is needed"),
            (None, b"[0.5, true]", "the answer holds true or false at 1, where a number is needed"),
        ],
    )
    def test_a_wrong_answer_is_refused_with_a_precise_reason(
        self, pointer: str | None, body: bytes, reason: str
    ) -> None:
        assert refusal(PlainReader(pointer), body).startswith(reason)

    @pytest.mark.parametrize("pointer", ["p", "p/q", "/a~", "/a~2b", "#/a"])
    def test_what_is_no_pointer_is_refused_at_once(self, pointer: str) -> None:
        with pytest.raises(ValueError, match="RFC 6901"):
            PlainReader(pointer)

    def test_the_examples_of_rfc_6901(self) -> None:
        document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6}
        document |= {" ": 7, "m~n": 8}
        body = json.dumps(document).encode()
        pointers = ["/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", '/k"l', "/ ", "/m~0n"]
        assert [PlainReader(pointer).read(body).real()[0] for pointer in pointers] == list(range(9))
        assert PlainReader("/foo/0").read(body).labels == ("bar",)
        assert pointer_tokens("/~01") == ("~1",)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
SOMETHING = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("p") | SCALARS,
        "shape": st.lists(st.integers(0, 3), max_size=3) | SOMETHING,
        "datatype": st.sampled_from(["FP64", "FP32", "INT8", "UINT64", "BOOL", "BYTES", "FP9"]) | SOMETHING,
        "data": VALUES | SOMETHING,
        "parameters": SOMETHING,
    },
)
ANSWERS = st.fixed_dictionaries({"outputs": st.lists(OUTPUTS | SOMETHING, max_size=2)}) | SOMETHING


READERS = [V2Reader(), V2Reader("p"), PlainReader(), PlainReader("/outputs/0/data"), PlainReader("/a/0")]


@settings(deadline=None, max_examples=400)
@given(ANSWERS.map(json.dumps).map(str.encode) | st.binary(max_size=100), st.sampled_from(READERS))
def test_any_bytes_are_a_whole_prediction_or_unreadable(body: bytes, reader: Reader) -> None:
    try:
        read = reader.read(body)
    except Unreadable as error:
        reason = error.reason
    else:
        reason = "none"
        assert_whole(read)
    assert 0 < len(reason) < 400
    assert reason.isprintable()


def assert_whole(read: Prediction) -> None:
    count = read.rows * read.width
    assert count > 0
    assert read.numbers is not None or read.labels is not None
    if read.numbers is not None:
        assert len(read.numbers) == count
        assert set(map(type, read.numbers)) == {float}
        assert read.values.shape == (read.rows, read.width)
    if read.labels is not None:
        assert len(read.labels) == count
