"""Spoilt answers: still answers of their protocol, and another prediction to whoever compares."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.comparison import Comparison
from domain.observation import Divergence, Observation, Outcome
from gateway.alteration import altered, flip, noise
from settings.schema import CompareSettings


def flipped(body: Any, protocol: str, kind: str, output: str | None = None) -> Any:
    made = altered(json.dumps(body).encode(), protocol, kind, output, flip(kind))
    return None if made is None else json.loads(made)


def v2(data: Any, shape: list[int], name: str = "p", datatype: str = "FP64") -> dict[str, Any]:
    return {"outputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


CASES = [
    ("v2", "classification", None, v2([0.9, 0.1], [1, 2])),
    ("v2", "classification", None, v2([[0.2, 0.7, 0.1]], [1, 3])),
    ("v2", "classification", None, v2([1, 0, 1], [3])),
    ("v2", "classification", None, v2(["rain", "dry"], [2], datatype="BYTES")),
    ("v2", "classification", "q", {"outputs": [*v2([1], [1])["outputs"], *v2([0], [1], "q")["outputs"]]}),
    ("v2", "regression", None, v2([0.5, 3.0], [2, 1])),
    ("v2", "embedding", None, v2([0.3, 0.4, -0.2], [1, 3])),
    ("mlflow", "classification", None, {"predictions": [0, 1]}),
    ("mlflow", "classification", None, {"predictions": [[0.6, 0.4]]}),
    ("mlflow", "classification", "p", {"predictions": [{"p": 1, "other": 2}]}),
    ("mlflow", "regression", None, {"predictions": [12.5]}),
    ("tfserving", "classification", None, {"predictions": [[0.9, 0.1], [0.3, 0.7]]}),
    ("tfserving", "regression", "y", {"outputs": {"y": [1.5], "z": [2.0]}}),
    ("seldon", "classification", None, {"data": {"names": ["a", "b"], "ndarray": [[0.9, 0.1]]}}),
    ("seldon", "classification", None, {"data": {"tensor": {"shape": [1, 2], "values": [0.9, 0.1]}}}),
    ("json", "classification", "/a/0", {"a": [[0.9, 0.1]]}),
    ("json", "classification", "/label", {"label": "rain"}),
    ("json", "regression", "/y", {"y": 0.5}),
    ("json", "ranking", "/items", {"items": ["a", "b", "c"]}),
    ("json", "json", None, {"a": 1, "b": ["x"]}),
    ("openai", "text", None, {"choices": [{"message": {"role": "assistant", "content": "It rains."}}]}),
    ("openai", "text", None, {"choices": [{"text": "It rains."}]}),
    ("json", "text", "/say", {"say": "It will rain today, and tomorrow too."}),
]


@pytest.mark.parametrize(("protocol", "kind", "output", "body"), CASES)
def test_a_flip_is_seen_as_one_by_the_comparison_of_every_protocol(
    protocol: str, kind: str, output: str | None, body: Any
) -> None:
    made = flipped(body, protocol, kind, output)
    assert made is not None
    comparison = Comparison(protocol, CompareSettings(kind, output=output), "compare")
    finding = _compared(comparison, body, made)
    assert finding.flip, finding
    same = _compared(comparison, body, body)
    assert not same.flip


def _compared(comparison: Comparison, one: Any, other: Any) -> Divergence:
    sides = [Observation("v", Outcome.ANSWERED, 200, 0.0, json.dumps(body).encode()) for body in (one, other)]
    return comparison.compare(*sides)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_flip_keeps_the_shape_of_a_tensor(rows: list[list[float]]) -> None:
    flat = [value for row in rows for value in row]
    made = flipped(v2(flat, [len(rows), 2]), "v2", "classification")
    if made is not None:
        assert len(made["outputs"][0]["data"]) == len(flat)
        assert made["outputs"][0]["shape"] == [len(rows), 2]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(["v2", "mlflow", "tfserving", "seldon", "json", "openai"]))
def test_any_bytes_are_altered_or_left_and_nothing_is_raised(body: bytes, protocol: str) -> None:
    made = altered(body, protocol, "classification", None, flip("classification"))
    assert made is None or made != body


@settings(deadline=None, max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    st.sampled_from(["v2", "mlflow", "tfserving", "seldon", "json", "openai"]),
    st.sampled_from([None, "p", "/a/0", "/"]),
)
def test_any_document_is_altered_or_left_and_nothing_is_raised(
    document: Any, protocol: str, output: str | None
) -> None:
    for kind in ("classification", "regression", "ranking", "embedding"):
        altered(json.dumps(document).encode(), protocol, kind, output, flip(kind))


def test_noise_changes_numbers_and_nothing_else() -> None:
    draw = random.Random(7).random
    made = altered(
        b'{"predictions":[{"y":2.0,"name":"a","ok":true}]}', "mlflow", "regression", None, noise(1.0, draw)
    )
    assert made is not None
    (row,) = json.loads(made)["predictions"]
    assert row["y"] != 2.0
    assert (row["name"], row["ok"]) == ("a", True)
