"""Whatever bytes come, a reader answers a whole prediction or Unreadable, and features never raise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.prediction import Prediction, Unreadable
from comparators.readers.features import features
from comparators.readers.protocols import PROTOCOLS, reader
from domain.media import JSON, Media

OUTPUTS = {
    "v2": (None, "p"),
    "mlflow": (None, "p", "/0/p"),
    "tfserving": (None, "p", "/p"),
    "seldon": (None, "p", "/0"),
    "openai": (None, "tool_calls", "/p"),
    "json": (None, "/p", "/0"),
}
READERS = [
    reader(protocol, output, structured)
    for protocol in PROTOCOLS
    for output in OUTPUTS[protocol]
    for structured in (False, True)
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([1e308, -0.0, 2**63, 2**64 - 1, "\ud800", "AAAA", '{"p": 1}', "[DONE]"])
)
KEYS = st.sampled_from(
    [
        *("p", "data", "outputs", "inputs", "predictions", "instances", "shape"),
        *("datatype", "name", "names", "ndarray", "tensor", "values", "jsonData"),
        *("strData", "choices", "message", "delta", "content", "b64", "tool_calls"),
        *("function", "arguments", "logprobs", "token_logprobs", "index", "text", "embedding"),
        *(
            "dataframe_split",
            "dataframe_records",
            "columns",
            "parameters",
            "binary_data_size",
            "error",
            "status",
        ),
        *("function_call", "logprob", "finish_reason", "refusal", "result", "0"),
    ]
)
SOMETHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
TENSOR = st.fixed_dictionaries(
    {"name": st.sampled_from(["p", "q"])},
    optional={
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "datatype": st.sampled_from(["FP64", "BF16", "INT8", "UINT64", "BOOL", "BYTES", "?"]),
        "data": SOMETHING,
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 20)),
    },
)
CALL = st.fixed_dictionaries({}, optional={"index": SCALARS, "function": SOMETHING})
MESSAGE = st.fixed_dictionaries(
    {}, optional={"content": SOMETHING, "tool_calls": st.lists(CALL, max_size=2) | SOMETHING}
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 3) | SCALARS,
        "message": MESSAGE | SOMETHING,
        "text": SOMETHING,
        "logprobs": st.fixed_dictionaries({"token_logprobs": st.lists(SCALARS, max_size=3)}) | SOMETHING,
        "finish_reason": SCALARS,
    },
)
DOCUMENTS = (
    st.fixed_dictionaries({"outputs": st.lists(TENSOR, max_size=3)})
    | st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=3)})
    | st.fixed_dictionaries({"predictions": SOMETHING})
    | st.fixed_dictionaries({"data": st.dictionaries(KEYS, SOMETHING, max_size=3)})
    | st.fixed_dictionaries({"data": st.lists(st.fixed_dictionaries({"embedding": SOMETHING}), max_size=2)})
    | st.fixed_dictionaries({"choices": st.lists(CHOICE, max_size=3)})
    | SOMETHING
).map(lambda document: json.dumps(document).encode())
STREAMS = st.lists(DOCUMENTS | st.binary(max_size=10), max_size=3).map(
    lambda events: b"".join(b"data: " + event + b"\n\n" for event in events) + b"data: [DONE]\n\n"
)
BODIES = DOCUMENTS | STREAMS | st.binary(max_size=100)
MEDIA = st.sampled_from(
    [JSON, JSON, Media("text/event-stream"), Media("", "gzip"), Media("", "zstd,br")]
) | st.builds(Media, st.just(""), st.just(""), st.integers(-1, 120))


def assert_whole(read: Prediction) -> None:
    count = read.rows * read.width
    assert count > 0
    if read.numbers is not None:
        assert len(read.numbers) == count
        assert set(map(type, read.numbers)) == {float}
    if read.has_numbers:
        assert read.values.shape == (read.rows, read.width)
        assert len(read.real()) == count
    if read.labels is not None:
        assert len(read.labels) == count
        assert set(map(type, read.labels)) == {str}
    if read.confidences is not None:
        assert len(read.confidences) == read.rows
        assert all(0.0 <= confidence <= 1.0 for confidence in read.confidences)
    if read.rows > 1 and read.structure is not None:
        assert isinstance(read.structure, list)
        assert len(read.structure) == read.rows
    json.dumps(read.structure)


@settings(deadline=None, max_examples=500)
@given(BODIES, MEDIA)
def test_any_bytes_are_a_whole_prediction_or_unreadable(body: bytes, media: Media) -> None:
    for one in READERS:
        try:
            read = one.read(body, media)
        except Unreadable as error:
            reason = error.reason
        else:
            reason = "none"
            assert_whole(read)
        assert reason.isprintable()
        assert 0 < len(reason) < 500


@settings(deadline=None, max_examples=300)
@given(BODIES, MEDIA, st.sampled_from(PROTOCOLS))
def test_features_of_any_bytes_are_a_table_or_a_reason(body: bytes, media: Media, protocol: str) -> None:
    found = features(protocol, body, media)
    assert found.values.shape[1] == len(found.names)
    assert found.values.dtype == np.float64
    assert (found.reason == "") == bool(found.names)
    assert found.reason == "" or found.reason.isprintable()


HOSTILE = {
    "deep": b'{"predictions": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "a million keys": b"{" + b",".join(b'"k%d":1' % at for at in range(1_000_000)) + b"}",
    "huge": b'"' + b"x" * (9 * 1024 * 1024) + b'"',
    "many values": b"[" + b"1," * 300_000 + b"1]",
    "a key twice": b'{"outputs": [], "predictions": [1], "data": 1, "choices": [], "error": 1, "error": 2}',
    "a byte order mark": b'\xef\xbb\xbf{"predictions": [1]}',
    "not UTF-8": b'{"predictions": ["\xff"]}',
    "a lone surrogate": b'{"predictions": ["\\ud800"]}',
    "beyond floats": b'{"predictions": [1e400]}',
    "nothing": b"",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "text": b"Internal Server Error",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_bodies_are_unreadable_to_every_reader(name: str) -> None:
    for protocol in PROTOCOLS:
        for structured in (False, True):
            with pytest.raises(Unreadable) as caught:
                reader(protocol, None, structured).read(HOSTILE[name])
            assert len(caught.value.reason) < 200
        assert features(protocol, HOSTILE[name], JSON).reason


def test_words_for_numbers_and_signed_zeros_are_read() -> None:
    for protocol in ("mlflow", "tfserving"):
        read = reader(protocol, None, False).read(b'{"predictions": [NaN, Infinity, -Infinity, -0.0]}')
        assert list(map(str, read.real())) == ["nan", "inf", "-inf", "-0.0"]
        assert math.copysign(1, read.real()[3]) == -1
