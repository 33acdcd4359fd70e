"""V2 as JSON: what is read, what is refused and how, what is answered."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest

from examples.model_server.protocol import BadRequestError, read_request, write_answer

FEATURES = ("temperature", "dew point")


def body(**changes: Any) -> bytes:
    tensor = {"name": "features", "datatype": "FP64", "shape": [2, 2], "data": [1, 2, 3, 4]} | changes
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_flat_and_nested_data_are_the_same_rows(data: list[Any]) -> None:
    assert read_request(body(data=data), FEATURES).rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (b"", "not JSON"),
        (b"[]", "object with 'inputs'"),
        (b"{}", "inputs must be"),
        (b'{"inputs": [1]}', "inputs must be"),
        (b'{"id": 7, "inputs": []}', "id is 7"),
        (body(datatype="BYTES"), "datatype is 'BYTES'"),
        (body(datatype=["FP64"]), "datatype is ['FP64']"),
        (body(shape=[2, 3]), "shape is [2, 3]"),
        (body(shape=[True, 2]), "shape is [True, 2]"),
        (body(shape=[-1, 2]), "shape is [-1, 2]"),
        (body(data=[1, 2, 3]), "holds 3 numbers"),
        (body(data=[1, 2, 3, None]), "null"),
        (body(data=["a", 2, 3, 4]), "not an array of numbers"),
        (body(data=[[1, 2], [3]]), "not an array of numbers"),
        (
            b'{"inputs":[{"datatype":"FP64","shape":[1,2],"data":[1,2]}],"outputs":[{"name":"x"}]}',
            "outputs[0].name",
        ),
    ],
)
def test_a_bad_request_is_refused_with_the_field_at_fault(broken: bytes, named: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read_request(broken, FEATURES)
    assert named in str(caught.value)


def test_the_answer_holds_the_outputs_asked_for_and_the_id() -> None:
    document = json.loads(body()) | {"id": "a-1", "outputs": [{"name": "predict"}]}
    request = read_request(json.dumps(document).encode(), FEATURES)
    probabilities = numpy.array([[0.25, 0.75], [0.9, 0.1]])
    answer = json.loads(write_answer(request, "rain", "rain-1", probabilities, numpy.array([0, 1])))
    assert answer == {
        "model_name": "rain",
        "model_version": "rain-1",
        "id": "a-1",
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [2], "data": [1, 0]}],
    }


def test_without_a_wish_both_outputs_are_answered() -> None:
    request = read_request(body(), FEATURES)
    probabilities = numpy.array([[0.25, 0.75], [0.9, 0.1]])
    answer = json.loads(write_answer(request, "rain", "rain-1", probabilities, numpy.array([0, 1])))
    assert [(output["name"], output["shape"]) for output in answer["outputs"]] == [
        ("predict", [2]),
        ("predict_proba", [2, 2]),
    ]
    assert answer["outputs"][1]["data"] == [0.25, 0.75, 0.9, 0.1]
