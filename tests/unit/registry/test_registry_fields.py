"""Fields of answers that anybody may have written: read, bounded, and never a reason to fail."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.lineage import Lineage
from domain.reference import reference
from registry import fields
from registry.sources import dvc, huggingface, mlflow

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "tags", "key", "value", "data", "params", "metrics", "inputs", "dataset_inputs", "dataset", "source",
    "schema", "info", "start_time", "cardData", "datasets", "model-index", "results", "createdAt", "sha",
    "outs", "path", "md5",
)  # fmt: skip
shaped = st.recursive(
    anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@given(shaped, shaped)
@settings(deadline=None)
def test_whatever_a_registry_answers_is_read_and_nothing_is_made_up(one: object, other: object) -> None:
    found = mlflow._record(reference("models:/rain/1"), "1", one, other)
    assert isinstance(found, Lineage)
    hash(found)
    list(huggingface._results(one))
    list(huggingface._names(other))
    hash(fields.hyperparameters(dvc._parameters(one)))
    dvc._artifact(other, set())


def test_what_is_of_another_type_reads_as_not_known() -> None:
    assert fields.text({"a": {"b": ["x"]}}, "a", "b") == ""
    assert fields.text({"a": True}, "a") == ""
    assert fields.text({"a": 7}, "a") == "7"
    assert fields.number({"a": "7"}, "a") is None
    assert fields.number({"a": math.nan}, "a") is None
    assert fields.number({"a": 10**400}, "a") is None
    assert fields.mapping([1], "a") == {}
    assert fields.mappings({"a": [{"b": 1}, 2, None]}, "a") == [{"b": 1}]


def test_times_are_read_only_when_they_are_certain() -> None:
    assert fields.milliseconds({"at": "1760000000000"}, "at") == 1_760_000_000.0
    assert fields.milliseconds({"at": 1_760_000_000_500}, "at") == 1_760_000_000.5
    assert [fields.milliseconds({"at": at}, "at") for at in (0, -1, "x", None, 1e300)] == [None] * 5
    assert fields.instant("1970-01-01T00:00:01Z") == 1.0
    assert fields.instant("1970-01-01T01:00:01+01:00") == 1.0
    assert [fields.instant(at) for at in ("1970-01-01T00:00:01", "yesterday", 1, None)] == [None] * 4


def test_long_values_are_cut_and_still_differ() -> None:
    one, other = "a" * 5000 + "1", "a" * 5000 + "2"
    assert len(fields.bounded(one)) <= fields.LONGEST
    assert fields.bounded(one) != fields.bounded(other)
    assert fields.bounded("a" * fields.LONGEST) == "a" * fields.LONGEST


def test_many_hyperparameters_are_bounded_and_still_differ() -> None:
    many = [(f"p{number:05}", number) for number in range(3000)]
    found = fields.hyperparameters(many)
    assert len(found) == fields.MOST
    assert found[-1][1].startswith("2001 more, sha256:")
    assert fields.hyperparameters([*many[:-1], ("p02999", 0)]) != found
    assert len(fields.metrics(many)) == fields.MOST


def test_locations_lose_what_may_be_a_secret() -> None:
    assert fields.location("https://ada:pw@git.example/rain?token=1#x") == "https://git.example/rain"
    assert fields.location("s3://rain/weather?versionId=7") == "s3://rain/weather?versionId=7"
    assert fields.location("/data/rain.csv") == "/data/rain.csv"
    assert fields.location("https://[broken") == ""
