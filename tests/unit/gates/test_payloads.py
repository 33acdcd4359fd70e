"""Whatever is written for a protocol is read back by that protocol's own reader of features."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.readers.features import features
from domain.errors import GateError
from domain.media import JSON
from gates.payloads import Input, bodies, example, inputs_of

NAMES = ("warm", "wet", "windy")
ROWS = st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 3), min_size=1, max_size=9)


@given(ROWS, st.sampled_from(["v2", "mlflow", "tfserving", "seldon", "json"]), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_every_row_arrives_in_order(rows: list[tuple[float, ...]], protocol: str, batch: int) -> None:
    found: list[tuple[float, ...]] = []
    for body in bodies(protocol, NAMES, rows, batch):
        read = features(protocol, body, JSON)
        assert not read.reason
        found += [tuple(row) for row in read.values.tolist()]
    assert found == rows


def test_a_model_that_takes_a_tensor_a_feature_gets_one_each() -> None:
    inputs = (Input("wet", "FP32", (-1, 1)), Input("city", "BYTES", (-1,)))
    (body,) = bodies("v2", ("city", "wet"), [("Wellington", 1), (None, 2)], 8, inputs)
    assert orjson.loads(body)["inputs"] == [
        {"name": "wet", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]},
        {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Wellington", ""]},
    ]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ((Input("x", "FP64", (-1, 5)),), "takes 5 features; 3 columns are sent"),
        ((Input("warm", "FP64", (-1,)), Input("cold", "FP64", (-1,))), "takes warm, cold"),
    ],
)
def test_columns_that_the_model_does_not_take_are_refused(inputs: tuple[Input, ...], complaint: str) -> None:
    with pytest.raises(GateError, match=complaint):
        bodies("v2", NAMES, [(1, 2, 3)], 1, inputs)


def test_a_text_where_a_model_takes_numbers_is_refused() -> None:
    with pytest.raises(GateError, match="column 'wet' holds 'very'; the model's 'features' is FP64"):
        bodies("v2", NAMES, [(1, "very", 3)], 1)


def test_requests_for_texts_are_not_made_of_columns() -> None:
    with pytest.raises(GateError, match="give whole requests"):
        bodies("openai", NAMES, [(1, 2, 3)], 1)


def test_an_example_fits_what_the_model_describes() -> None:
    inputs = inputs_of({"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]})
    (tensor,) = orjson.loads(example(inputs))["inputs"]
    assert tensor == {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [0, 0]}


@pytest.mark.parametrize("metadata", [None, [], {}, {"inputs": None}, {"inputs": []}])
def test_a_model_may_describe_nothing(metadata: object) -> None:
    assert inputs_of(metadata) == ()


def test_half_a_description_is_refused() -> None:
    with pytest.raises(GateError, match="describe input 0 without"):
        inputs_of({"inputs": [{"name": "x"}]})
