"""MLflow, TensorFlow Serving and Seldon: bodies as their servers and documents write them."""

from __future__ import annotations

import json

import pytest

from comparators.prediction import Prediction, Reader, Unreadable
from comparators.readers.mlflow import MlflowReader
from comparators.readers.protocols import PROTOCOLS, reader
from comparators.readers.seldon import SeldonReader
from comparators.readers.tfserving import TfServingReader


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def numbers(read: Prediction) -> tuple[int, int, tuple[float, ...]]:
    return read.rows, read.width, read.real()


def refusal(by: Reader, document: object) -> str:
    with pytest.raises(Unreadable) as caught:
        by.read(body(document))
    assert caught.value.reason.isprintable()
    return caught.value.reason


class TestMlflow:
    @pytest.mark.parametrize(
        ("predictions", "found"),
        [
            ([178.7998278014665, 152.1], (2, 1, (178.7998278014665, 152.1))),  # an array, a series
            ([[0.1, 0.9], [0.8, 0.2]], (2, 2, (0.1, 0.9, 0.8, 0.2))),  # a matrix
            ([{"0": 0.1, "1": 0.9}], (1, 2, (0.1, 0.9))),  # a data frame
            ([{"10": 3.5, "9": 2.5, "2": 1.5}], (1, 3, (1.5, 2.5, 3.5))),  # columns by number, not by letter
            ([{"b": 2.0, "a": 1}, {"a": 3, "b": 4.5}], (2, 2, (1.0, 2.0, 3.0, 4.5))),
            ([{"prediction": 7.5}], (1, 1, (7.5,))),
            ({"output_1": [[0.25], [0.5]]}, (2, 1, (0.25, 0.5))),  # a dictionary of tensors
            (12.5, (1, 1, (12.5,))),
            ([[[1.5, 2.5], [3.5, 4.5]]], (2, 2, (1.5, 2.5, 3.5, 4.5))),
        ],
    )
    def test_what_predict_returned_is_a_table(
        self, predictions: object, found: tuple[int, int, tuple[float, ...]]
    ) -> None:
        assert numbers(MlflowReader().read(body({"predictions": predictions}))) == found

    def test_classes_are_labels(self) -> None:
        assert MlflowReader().read(b'{"predictions": [0, 2]}').labels == ("0", "2")
        assert MlflowReader().read(b'{"predictions": ["setosa"]}').labels == ("setosa",)
        assert MlflowReader().read(b'{"predictions": "a text"}').labels == ("a text",)

    def test_a_name_picks_a_column_and_a_pointer_leads_anywhere(self) -> None:
        answer = body(
            {"predictions": [{"label": "POSITIVE", "score": 0.99}, {"label": "NEGATIVE", "score": 0.6}]}
        )
        assert MlflowReader("label").read(answer).labels == ("POSITIVE", "NEGATIVE")
        assert MlflowReader("score").read(answer).real() == (0.99, 0.6)
        assert numbers(MlflowReader("/1/score").read(answer)) == (1, 1, (0.6,))
        vectors = body({"predictions": [{"probabilities": [0.25, 0.75]}]})
        assert numbers(MlflowReader("probabilities").read(vectors)) == (1, 2, (0.25, 0.75))
        assert numbers(MlflowReader("/0/probabilities").read(vectors)) == (1, 2, (0.25, 0.75))

    def test_without_the_word_predictions_the_document_is_the_prediction(self) -> None:
        assert MlflowReader().read(b"[1.5, 2.5]").rows == 2
        assert MlflowReader("/choices/0/text").read(b'{"choices": [{"text": "hello"}]}').labels == ("hello",)

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            (
                {
                    "error_code": "INVALID_PARAMETER_VALUE",
                    "message": "Failed to predict",
                    "sqlstate": "KAM01",
                },
                "the answer is an error: 'Failed to predict'",
            ),
            ({"predictions": []}, "predictions is an empty array"),
            ({"predictions": [[]]}, "predictions has empty rows"),
            ({"predictions": [[1.0], [1.0, 2.0]]}, "predictions has rows of different lengths"),
            ({"predictions": [{"a": 1.0}, {"b": 1.0}]}, "row 1 of predictions has other columns than row 0"),
            (
                {"predictions": [{"label": "A", "score": 1.0}]},
                "predictions has 'label', 'score': name one with compare.output",
            ),
            (
                {"predictions": {"a": [1.0], "b": [2.0]}},
                "predictions has 'a', 'b': name one with compare.output",
            ),
            ({"predictions": None}, "predictions is null, not a prediction"),
            ({"predictions": [None, {}]}, "predictions is null, not a prediction"),
        ],
    )
    def test_what_is_no_table_is_refused_with_the_way_out(self, document: object, reason: str) -> None:
        assert refusal(MlflowReader(), document) == reason

    def test_an_output_that_is_missing_is_refused(self) -> None:
        assert refusal(MlflowReader("z"), {"predictions": [{"a": 1}]}).startswith(
            "there is no output 'z'; row 0"
        )
        assert refusal(MlflowReader("z"), {"predictions": {"a": [1]}}) == (
            "there is no output 'z'; predictions has 'a'"
        )
        assert refusal(MlflowReader("z"), {"predictions": [1]}) == (
            "there is no output 'z'; predictions is an array without names"
        )

    def test_a_structure_has_one_value_a_row(self) -> None:
        by = MlflowReader(None, structured=True)
        records = [{"label": "A", "score": 1.0}, {"label": "B", "score": 0.5}]
        read = by.read(body({"predictions": records}))
        assert (read.rows, read.structure) == (2, records)
        assert by.read(body({"predictions": records[:1]})).structure == records[0]
        plain = by.read(body({"predictions": [[0.5, 1.5], [2.5, 3.5]]}))
        assert (plain.rows, plain.width, plain.real()) == (2, 2, (0.5, 1.5, 2.5, 3.5))
        assert plain.structure == [[0.5, 1.5], [2.5, 3.5]]


class TestTensorFlowServing:
    @pytest.mark.parametrize(
        ("document", "found"),
        [
            ({"predictions": [2.5, 3.0, 4.5]}, (3, 1, (2.5, 3.0, 4.5))),  # half_plus_two
            ({"predictions": [[0.1, 0.9]]}, (1, 2, (0.1, 0.9))),
            ({"outputs": [[0.1, 0.9], [0.7, 0.3]]}, (2, 2, (0.1, 0.9, 0.7, 0.3))),
            ({"outputs": {"scores": [[0.1, 0.9]]}}, (1, 2, (0.1, 0.9))),
            ({"outputs": 0.5}, (1, 1, (0.5,))),
        ],
    )
    def test_rows_and_columns_are_tables(
        self, document: object, found: tuple[int, int, tuple[float, ...]]
    ) -> None:
        assert numbers(TfServingReader().read(body(document))) == found

    def test_one_of_several_outputs_is_named_in_rows_and_in_columns(self) -> None:
        rows = body(
            {"predictions": [{"class": "cat", "scores": [0.9, 0.1]}, {"class": "dog", "scores": [0.2, 0.8]}]}
        )
        columns = body({"outputs": {"class": ["cat", "dog"], "scores": [[0.9, 0.1], [0.2, 0.8]]}})
        for answer in (rows, columns):
            assert TfServingReader("class").read(answer).labels == ("cat", "dog")
            assert numbers(TfServingReader("scores").read(answer)) == (2, 2, (0.9, 0.1, 0.2, 0.8))
            assert "name one with compare.output" in refusal(TfServingReader(), json.loads(answer))

    def test_binary_values_are_texts(self) -> None:
        assert TfServingReader().read(b'{"predictions": [{"b64": "Y2F0"}]}').labels == ("cat",)
        assert TfServingReader().read(b'{"outputs": {"b64": "Y2F0"}}').labels == ("cat",)
        assert refusal(TfServingReader(), {"predictions": [{"b64": "/////w=="}]}).endswith("that is no text")
        assert refusal(TfServingReader(), {"predictions": [{"b64": "?"}]}).endswith("that is no text")
        assert "an object" in refusal(TfServingReader(), {"predictions": [{"b64": 1}]})

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            (
                {"error": "Servable not found for request"},
                "the answer is an error: 'Servable not found for reque",
            ),
            (
                {"result": [[["cat", 0.9]]]},
                "the answer is that of classify or regress; call the model's predict",
            ),
            ({}, "the answer has neither predictions nor outputs"),
            ([], "the answer is an array, not an object with predictions or outputs"),
        ],
    )
    def test_what_is_no_prediction_is_refused(self, document: object, reason: str) -> None:
        assert refusal(TfServingReader(), document).startswith(reason)

    def test_nan_is_written_as_a_word(self) -> None:
        assert str(TfServingReader().read(b'{"predictions": [NaN, -Infinity]}').real()) == "(nan, -inf)"


class TestSeldon:
    def test_arrays_and_tensors_are_the_same_table(self) -> None:
        array = {"data": {"names": ["t:0", "t:1", "t:2"], "ndarray": [[0.1, 0.3, 0.6]]}, "meta": {"tags": {}}}
        tensor = {
            "data": {"names": ["t:0", "t:1", "t:2"], "tensor": {"shape": [1, 3], "values": [0.1, 0.3, 0.6]}}
        }
        for document in (array, tensor):
            assert numbers(SeldonReader().read(body(document))) == (1, 3, (0.1, 0.3, 0.6))
            assert numbers(SeldonReader("t:2").read(body(document))) == (1, 1, (0.6,))
            assert (
                refusal(SeldonReader("z"), document) == "there is no output 'z'; data has 't:0', 't:1', 't:2'"
            )
            assert numbers(SeldonReader("/0").read(body(document))) == (1, 3, (0.1, 0.3, 0.6))

    def test_texts_and_json_are_read_as_they_are(self) -> None:
        assert SeldonReader().read(b'{"strData": "hello world"}').labels == ("hello world",)
        assert SeldonReader("/p").read(b'{"jsonData": {"p": [0.25, 0.75]}, "meta": {}}').real() == (
            0.25,
            0.75,
        )
        assert SeldonReader("p").read(b'{"jsonData": {"p": [0.25, 0.75]}}').width == 2
        read = SeldonReader(None, structured=True).read(b'{"jsonData": {"some": {"value": true}}}')
        assert read.structure == {"some": {"value": True}}

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            (
                {"binData": "AAA="},
                "the answer is binData, which is not compared; answer with data or jsonData",
            ),
            ({"data": {"tftensor": {}}}, "data is a tftensor, which is not compared; answer with a tensor"),
            ({"data": {"names": []}}, "data has neither an ndarray nor a tensor"),
            ({"data": []}, "data is an array, not an object"),
            ({"data": {"ndarray": {}}}, "ndarray is an object, not an array"),
            (
                {"data": {"tensor": {"shape": [2, 2], "values": [1.0]}}},
                "the tensor holds 1 value; its shape asks",
            ),
            (
                {"data": {"tensor": {"shape": [-1], "values": [1.0]}}},
                "the shape of the tensor has -1 where a",
            ),
            ({"data": {"tensor": {"values": [1.0]}}}, "the tensor has null for a shape"),
            ({"data": {"tensor": {"shape": [1], "values": {}}}}, "the tensor's values are an object, not an"),
            (
                {"status": {"code": 500, "info": "Prediction Failed", "status": 1}},
                "the answer is an error: 'Predic",
            ),
            ({"meta": {}}, "the answer has none of data, jsonData and strData"),
            ("x", "the answer is text, not a Seldon message"),
        ],
    )
    def test_what_is_no_prediction_is_refused(self, document: object, reason: str) -> None:
        assert refusal(SeldonReader(), document).startswith(reason)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in ("json",)])
def test_an_empty_output_is_none(protocol: str) -> None:
    with pytest.raises(ValueError, match=r"leave|without it"):
        reader(protocol, "", False)


@pytest.mark.parametrize("protocol", ["mlflow", "tfserving", "seldon", "openai", "json"])
def test_a_wrong_pointer_is_refused(protocol: str) -> None:
    with pytest.raises(ValueError, match="JSON pointer"):
        reader(protocol, "/a~2", False)
