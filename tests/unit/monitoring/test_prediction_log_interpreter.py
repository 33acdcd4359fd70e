"""From bytes to records: what is read, what is left out, and what never reaches the disk."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.media import Media
from domain.observation import Observation, Outcome
from domain.routing import Arm
from monitoring.log.interpreter import LONGEST_TEXT, MOST_ROWS, Interpreter
from monitoring.log.record import PredictionRecord
from monitoring.log.wire import Context, Entry
from settings.schema import CompareSettings

KEY = b"k" * 32
V2 = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [1, 2, None, 4, 5, 6]}]}
CLASSES = CompareSettings("classification", labels=("dry", "rain"))


def _probabilities(*rows: float) -> bytes:
    output = {"name": "p", "shape": [len(rows) // 2, 2], "datatype": "FP64", "data": rows}
    return json.dumps({"outputs": [output]}).encode()


def _record(
    request: bytes | None = b"", answer: bytes | None = b"", *, protocol: str = "v2",
    compare: CompareSettings = CLASSES, media: str = "", status: int = 200, unit: str | None = "u",
    mirrored: Observation | None = None, headers: tuple[str | None, ...] = (), **reading: Any,
) -> PredictionRecord:  # fmt: skip
    told = {"protocol": protocol, "compare": asdict(compare), **reading}
    context = Context("rain", 7, "c" * 64, "rain-1", "rain-2", "", json.dumps(told).encode())
    entry = Entry(
        b"id", 5.0, unit, False, status, 0.5, "shadow stage", request, media, answer, "", headers, mirrored
    )
    return Interpreter(KEY).record(context, entry)[0]


@pytest.mark.parametrize(
    ("protocol", "body", "features"),
    [
        ("v2", V2, {"x.0": 1.0, "x.1": 2.0, "x.2": None}),
        (
            "v2",
            {
                "inputs": [
                    {"name": "age", "shape": [1], "datatype": "INT64", "data": [7]},
                    {"name": "sky", "shape": [1], "datatype": "BYTES", "data": ["grey"]},
                ]
            },
            {"age": 7.0, "sky": "grey"},
        ),
        (
            "mlflow",
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}},
            {"a": 1.0, "b": "x"},
        ),
        ("mlflow", {"dataframe_records": [{"a": True, "b": None}]}, {"a": 1.0, "b": None}),
        ("tfserving", {"instances": [[1.5, 2.5], [3, 4]]}, {"0": 1.5, "1": 2.5}),
        ("tfserving", {"inputs": {"a": [[1, 2]], "b": ["x"]}}, {"a.0": 1.0, "a.1": 2.0, "b": "x"}),
        ("seldon", {"data": {"names": ["a", "b"], "ndarray": [[1, "x"]]}}, {"a": 1.0, "b": "x"}),
        (
            "json",
            {"user": {"age": 7, "tags": ["x", "y"]}, "n": 1},
            {"user.age": 7.0, "user.tags.0": "x", "user.tags.1": "y", "n": 1.0},
        ),
        ("openai", {"messages": []}, {}),
    ],
)  # fmt: skip
def test_the_first_row_s_features_are_read_in_every_protocol(
    protocol: str, body: object, features: dict[str, object]
) -> None:
    compare = CompareSettings("text") if protocol == "openai" else CompareSettings("regression")
    record = _record(json.dumps(body).encode(), protocol=protocol, compare=compare)
    assert record.features == features


def test_classes_have_labels_and_a_confidence() -> None:
    record = _record(answer=_probabilities(0.25, 0.75))
    assert (record.predictions, record.confidence) == (("rain",), 0.75)
    many = _record(answer=_probabilities(0.25, 0.75, 0.9, 0.1))
    assert (many.predictions, many.confidence) == (("rain", "dry"), 0.75)


def test_numbers_are_one_a_row() -> None:
    output = {"name": "mm", "shape": [2], "datatype": "FP64", "data": [1.5, 2.5]}
    answer = json.dumps({"outputs": [output]}).encode()
    record = _record(answer=answer, compare=CompareSettings("regression"))
    assert (record.predictions, record.confidence) == ((1.5, 2.5), None)


def test_what_is_neither_is_a_text_of_bounded_length() -> None:
    answer = json.dumps({"items": ["x" * 50] * 100}).encode()
    record = _record(answer=answer, protocol="json", compare=CompareSettings("json"))
    (told,) = record.predictions
    assert isinstance(told, str)
    assert len(told) == LONGEST_TEXT


def test_rows_are_bounded() -> None:
    record = _record(answer=_probabilities(*[0.25, 0.75] * (MOST_ROWS + 5)))
    assert len(record.predictions) == MOST_ROWS


@pytest.mark.parametrize("answer", [b"", b"no json", b"{}", _probabilities(0.5, 0.9), None])
def test_an_answer_that_cannot_be_read_is_recorded_without_a_prediction(answer: bytes | None) -> None:
    record = _record(json.dumps(V2).encode(), answer)
    assert (record.predictions, record.confidence) == ((), None)
    assert record.features


def test_an_answer_that_is_no_success_is_not_read() -> None:
    assert _record(answer=_probabilities(0.25, 0.75), status=500).predictions == ()


def test_the_other_arm_s_answer_is_read_too() -> None:
    other = Observation("rain-2", Outcome.ANSWERED, 200, 0.25, _probabilities(0.9, 0.1))
    mirrored = _record(answer=_probabilities(0.25, 0.75), mirrored=other).mirrored
    assert mirrored is not None
    assert (mirrored.version, mirrored.predictions, mirrored.confidence) == ("rain-2", ("dry",), 0.9)
    late = _record(mirrored=Observation("rain-2", Outcome.TIMEOUT, 0, 2.0, b"")).mirrored
    assert late is not None
    assert (late.status, late.predictions) == (0, ())


def test_only_the_features_that_are_chosen_are_kept() -> None:
    body = json.dumps(V2).encode()
    assert _record(body, features=["x.1", "x.9"]).features == {"x.1": 2.0}
    assert _record(body, features=[]).features == {}


def test_a_cohort_by_feature_is_read_though_no_feature_is_kept() -> None:
    body = json.dumps({"age": 7, "sky": "grey"}).encode()
    record = _record(
        body,
        protocol="json",
        features=[],
        cohorts=["feature:sky", "header:country", "feature:0"],
        headers=("ch",),
    )
    assert (record.cohorts, record.features) == (("grey", "ch", "7"), {})


def test_a_body_is_kept_only_where_it_is_asked_for_and_its_digest_always() -> None:
    body = json.dumps(V2).encode()
    assert _record(body).input == b""
    assert _record(body, input=True).input == body
    assert _record(body).input_digest == hashlib.sha256(body).hexdigest()
    assert _record(None).input_digest == ""


def test_what_is_redacted_is_neither_kept_nor_read() -> None:
    body = json.dumps({"user": {"name": "Ada", "age": 7}, "tags": [{"id": 1}, {"id": 2}], "n": 1}).encode()
    record = _record(
        body, protocol="json", input=True, redact=["/user/name", "/tags/*/id", "/nothing/here", "/tags/9/id"]
    )
    assert json.loads(record.input) == {
        "user": {"name": None, "age": 7}, "tags": [{"id": None}, {"id": None}], "n": 1,
    }  # fmt: skip
    assert record.features["user.name"] is None
    assert "Ada" not in repr(record)


def test_a_compressed_body_is_redacted_as_well() -> None:
    body = gzip.compress(json.dumps({"name": "Ada", "n": 1}).encode())
    media = Media("application/json", "gzip").text()
    record = _record(body, protocol="json", media=media, input=True, redact=["/name"])
    assert json.loads(record.input) == {"name": None, "n": 1}
    assert record.features == {"name": None, "n": 1.0}


@pytest.mark.parametrize(
    ("body", "media"),
    [(b"Ada, not JSON", ""), (b"{}Ada", Media("", "", 2).text()), (b"Ada", Media("", "gzip").text())],
)
def test_a_body_that_is_to_be_redacted_and_cannot_be_looked_into_is_not_kept(body: bytes, media: str) -> None:
    record = _record(body, media=media, input=True, redact=["/name"])
    assert (record.input, record.features) == (b"", {})


def test_a_unit_is_a_digest_that_its_key_alone_makes_and_none_is_none() -> None:
    assert _record(unit="ada").unit == int.from_bytes(
        hashlib.blake2b(b"ada", digest_size=8, key=KEY).digest(), "big"
    )
    assert _record(unit=None).unit == 0


def test_a_bare_record_has_all_that_no_payload_says() -> None:
    context = Context("rain", 7, "c" * 64, "rain-1", "rain-2", "drill-1", b"no reading")
    entry = Entry(b"\xff", 5.0, "u", True, 200, 0.5, "tripped", b"body", "", b"answer", "", (), None)
    record = Interpreter(KEY).bare(context, entry)
    assert (record.request_id, record.arm, record.version, record.drill) == (
        "ÿ", Arm.CANDIDATE, "rain-2", "drill-1",
    )  # fmt: skip
    assert record.input_digest == hashlib.sha256(b"body").hexdigest()


_leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
_documents = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    st.sampled_from(["v2", "mlflow", "tfserving", "seldon", "json"]),
    st.one_of(st.binary(max_size=30), _documents.map(lambda found: json.dumps(found).encode())),
    st.sampled_from(
        ["regression", "classification", "json", "ranking", "embedding", "text", "boxes", "series"]
    ),
)
@settings(deadline=None, max_examples=300)
def test_no_payload_keeps_a_record_from_being_made(protocol: str, body: bytes, kind: str) -> None:
    record = _record(
        body, body, protocol=protocol, compare=CompareSettings(kind), redact=["/a/0"], input=True
    )
    assert record.request_id == "id"


def test_the_trace_context_that_comes_along_is_no_cohort() -> None:
    cohorts = ("header:x-country", "feature:age")
    body = json.dumps({"age": 7}).encode()
    record = _record(
        body, protocol="json", compare=CompareSettings("regression"), headers=("eu", "00-a-b-01"),
        cohorts=cohorts, traced=True,
    )  # fmt: skip
    assert record.cohorts == ("eu", "7")
    assert _record(body, protocol="json", headers=("00-a-b-01",), traced=True).cohorts == ()
