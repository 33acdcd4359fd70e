"""The features in requests, as named columns."""

from __future__ import annotations

import gzip
import json
import math
import struct

import numpy as np
import pytest

from comparators.readers.features import MAX_COLUMNS, Features, features
from domain.media import JSON, Media


def of(protocol: str, document: object) -> Features:
    return features(protocol, json.dumps(document).encode(), JSON)


def told(found: Features) -> tuple[tuple[str, ...], list[list[float]]]:
    assert found.reason == ""
    assert found.values.dtype == np.float64
    assert found.values.shape[1] == len(found.names)
    return found.names, found.values.tolist()


def tensor(name: str, shape: list[int], datatype: str, data: list[object]) -> dict[str, object]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


class TestV2:
    def test_a_matrix_has_a_column_a_feature(self) -> None:
        found = of("v2", {"inputs": [tensor("x", [2, 2], "FP64", [1.5, 2.5, 3.5, 4.5])]})
        assert told(found) == (("x.0", "x.1"), [[1.5, 2.5], [3.5, 4.5]])

    def test_several_inputs_stand_side_by_side(self) -> None:
        inputs = [tensor("age", [2], "INT32", [41, 7]), tensor("x", [2, 2], "FP32", [0.5, 1.5, 2.5, 3.5])]
        inputs.append(tensor("member", [2, 1], "BOOL", [True, False]))
        found = of("v2", {"inputs": inputs})
        assert told(found) == (("age", "x.0", "x.1", "member"), [[41, 0.5, 1.5, 1], [7, 2.5, 3.5, 0]])

    def test_texts_are_there_but_are_no_numbers(self) -> None:
        found = of(
            "v2", {"inputs": [tensor("city", [1], "BYTES", ["Bern"]), tensor("age", [1], "INT8", [3])]}
        )
        assert found.names == ("city", "age")
        assert math.isnan(found.values[0, 0])
        assert found.values[0, 1] == 3
        alone = of("v2", {"inputs": [tensor("city", [1], "BYTES", ["Bern"])]})
        assert alone.names == ("city",)
        assert np.isnan(alone.values).all()

    def test_binary_requests_are_read(self) -> None:
        header = json.dumps(
            {
                "inputs": [
                    {"name": "x", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}}
                ]
            }
        ).encode()
        body = header + struct.pack("<dd", 5.1, 3.5)
        assert told(features("v2", body, Media("application/octet-stream", "", len(header)))) == (
            ("x.0", "x.1"),
            [[5.1, 3.5]],
        )

    def test_a_gzip_request_is_read(self) -> None:
        body = gzip.compress(json.dumps({"inputs": [tensor("x", [1], "FP64", [5.1])]}).encode())
        assert told(features("v2", body, Media("", "gzip"))) == (("x",), [[5.1]])

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            ({"inputs": []}, "the list of inputs is empty"),
            ({}, "the request has no inputs"),
            ({"inputs": [1]}, "input 0 has no name"),
            (
                {"inputs": [tensor("a", [1], "INT8", [1]), tensor("b", [2], "INT8", [1, 2])]},
                "the inputs have different numbers of rows",
            ),
            (
                {"inputs": [tensor("x", [1, 20_000], "INT8", [0] * 20_000)]},
                "there are 20000 columns of features;",
            ),
        ],
    )
    def test_what_has_no_columns_says_why(self, document: object, reason: str) -> None:
        found = of("v2", document)
        assert found.reason.startswith(reason)
        assert (found.names, found.values.shape) == ((), (0, 0))


class TestTables:
    @pytest.mark.parametrize(
        "document",
        [
            {
                "dataframe_split": {
                    "columns": ["age", "vip"],
                    "index": [0, 1],
                    "data": [[41, True], [7, False]],
                }
            },
            {"dataframe_records": [{"age": 41, "vip": True}, {"age": 7, "vip": False}]},
            {"instances": [{"age": 41, "vip": True}, {"age": 7, "vip": False}]},
            {"inputs": {"age": [41, 7], "vip": [True, False]}},
            {"inputs": {"age": [[41], [7]], "vip": [[True], [False]]}},
        ],
    )
    def test_every_form_of_mlflow_is_the_same_table(self, document: object) -> None:
        assert told(of("mlflow", document)) == (("age", "vip"), [[41, 1], [7, 0]])

    def test_a_matrix_has_columns_by_index(self) -> None:
        for document in ({"inputs": [[1, 2], [3, 4]]}, {"instances": [[1, 2], [3, 4]]}):
            assert told(of("mlflow", document)) == (("0", "1"), [[1, 2], [3, 4]])
            assert told(of("tfserving", document)) == (("0", "1"), [[1, 2], [3, 4]])
        assert told(of("tfserving", {"instances": [1.0, 2.0, 5.0]})) == (("0",), [[1], [2], [5]])
        assert told(of("tfserving", {"inputs": {"x": [[1, 2], [3, 4]]}})) == (
            ("x.0", "x.1"),
            [[1, 2], [3, 4]],
        )

    def test_a_value_that_is_missing_is_nan(self) -> None:
        found = of("mlflow", {"dataframe_records": [{"a": 1}, {"b": "text", "a": None}]})
        assert found.names == ("a", "b")
        assert np.isnan(found.values).tolist() == [[False, True], [True, True]]

    def test_seldon_names_its_columns(self) -> None:
        array = {"data": {"names": ["a", "b"], "ndarray": [[1, 2]]}}
        flat = {"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [1, 2]}}}
        assert told(of("seldon", array)) == told(of("seldon", flat)) == (("a", "b"), [[1, 2]])
        assert told(of("seldon", {"data": {"ndarray": [[1, 2]]}})) == (("0", "1"), [[1, 2]])
        assert told(of("seldon", {"jsonData": {"a": 5}})) == (("a",), [[5]])
        assert of("seldon", {"strData": "x"}).reason == "the request has neither data nor jsonData"

    def test_plain_json_is_rows_or_one_row_of_leaves(self) -> None:
        assert told(of("json", {"age": 41, "home": {"rooms": 3, "at": [7.5, 47]}})) == (
            ("age", "home.rooms", "home.at.0", "home.at.1"),
            [[41, 3, 7.5, 47]],
        )
        assert told(of("json", {"rows": [[1, 2], [3, 4]]})) == (("0", "1"), [[1, 2], [3, 4]])
        assert told(of("json", [{"a": 1}, {"a": 2}])) == (("a",), [[1], [2]])
        assert told(of("json", 5)) == (("0",), [[5]])

    @pytest.mark.parametrize(
        ("protocol", "document", "reason"),
        [
            ("mlflow", {"messages": []}, "the request has none of the fields that hold features"),
            ("mlflow", [], "the request holds an array where an object is needed"),
            ("mlflow", {"dataframe_split": {"data": [[1]], "columns": ["a", "b"]}}, "a row has 1 values; 2"),
            ("mlflow", {"dataframe_split": {}}, "the features are null, not an array of rows"),
            ("mlflow", {"dataframe_records": []}, "there are no rows of features"),
            ("mlflow", {"dataframe_records": [{}]}, "the rows have no features"),
            ("mlflow", {"inputs": {"a": [1], "b": [1, 2]}}, "the inputs have different numbers of rows"),
            ("openai", {"messages": []}, "a request for a text has no columns of features"),
            ("json", {str(at): 1 for at in range(MAX_COLUMNS + 1)}, "there are 10001 columns of features"),
            ("json", [{str(at): 1} for at in range(3000)], "there are 3000 columns of features"),
            ("json", {"k" * 10**6: [0] * 10**5}, "the name of a feature has 1000000 characters; up to 128"),
            (
                "v2",
                {"inputs": [tensor("x" * 10**6, [1, 5], "INT8", [0] * 5)]},
                "the name of a feature has 1000",
            ),
        ],
    )
    def test_what_has_no_columns_says_why(self, protocol: str, document: object, reason: str) -> None:
        assert of(protocol, document).reason.startswith(reason)

    def test_a_body_that_is_none_says_why(self) -> None:
        assert features("json", b"", JSON).reason == "the request is empty"
        assert features("json", b"[" * 100_000, JSON).reason != ""
        assert features("json", gzip.compress(bytes(10**7)), Media("", "gzip")).reason.startswith(
            "the request inflates beyond"
        )


def test_a_column_is_found_by_name_then_by_index() -> None:
    found = of("json", {"1": 10, "b": 20})
    for name, value in (("1", 10), ("b", 20), ("0", 10)):
        column = found.column(name)
        assert column is not None
        assert column.tolist() == [value]
    assert found.column("2") is None
    assert found.column("z") is None
