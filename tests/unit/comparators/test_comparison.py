"""Bytes in, a Divergence or a ComparatorFault with the right arm out."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.comparison import Comparison
from comparators.prediction import Prediction
from comparators.readers.v2 import V2Reader
from domain.errors import ComparatorFault, ConfigError
from domain.observation import Divergence
from domain.routing import Arm
from settings.schema import CompareSettings

PROTOCOLS = ("v2", "json")
KINDS = ("regression", "classification")
EVERY = [Comparison(protocol, CompareSettings(kind)) for protocol in PROTOCOLS for kind in KINDS]
RAIN = Comparison(
    "v2",
    CompareSettings("classification", output="proba", labels=("no-rain", "rain")),
    "endpoints.rain.compare",
)


def answer(*probabilities: float, space: str = "") -> bytes:
    output = {"name": "proba", "shape": [1, 2], "datatype": "FP64", "data": probabilities}
    return json.dumps({"model_name": "rain", "outputs": [output]}).encode() + space.encode()


def test_two_answers_are_compared() -> None:
    found = RAIN.compare(answer(0.81, 0.19), answer(0.36, 0.64))
    assert found.reason == "class no-rain 0.81 → rain 0.64, total variation 0.45"
    assert type(found.score) is float
    assert type(found.incumbent_confidence) is float


def test_equal_bytes_are_recognised_before_the_second_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    real = V2Reader.read

    def counting(reader: V2Reader, body: bytes) -> Prediction:
        reads.append(body)
        return real(reader, body)

    monkeypatch.setattr(V2Reader, "read", counting)
    same = Divergence(0.0, False, "equal bytes", 0.7, 0.7, "rain", "rain")
    assert RAIN.compare(answer(0.3, 0.7), answer(0.3, 0.7)) == same
    assert len(reads) == 1
    assert (
        RAIN.compare(answer(0.3, 0.7), answer(0.3, 0.7, space=" ")).reason == "same class, total variation 0"
    )
    assert len(reads) == 3


def test_equal_bytes_that_cannot_be_read_are_no_agreement() -> None:
    with pytest.raises(ComparatorFault) as caught:
        RAIN.compare(b"<html>", b"<html>")
    assert caught.value.arm is Arm.INCUMBENT


@pytest.mark.parametrize(
    ("incumbent", "candidate", "arm"),
    [
        (b"", answer(0.5, 0.5), Arm.INCUMBENT),
        (b"", b"<html>", Arm.INCUMBENT),
        (answer(0.5, 0.6), b"<html>", Arm.CANDIDATE),
        (answer(0.5, 0.6), answer(0.5, 0.5), Arm.INCUMBENT),
        (answer(0.5, 0.5), b"", Arm.CANDIDATE),
        (answer(0.5, 0.5), b"[" * 100_000, Arm.CANDIDATE),
        (answer(0.5, 0.5), b"1" * (100 * 1024 * 1024), Arm.CANDIDATE),
    ],
)
def test_a_fault_names_the_arm(incumbent: bytes, candidate: bytes, arm: Arm) -> None:
    with pytest.raises(ComparatorFault) as caught:
        RAIN.compare(incumbent, candidate)
    assert caught.value.arm is arm


def test_a_json_writer_that_drops_the_fraction_makes_no_flip() -> None:
    found = Comparison("json", CompareSettings("classification", output="/p")).compare(
        b'{"p": 0.99}', b'{"p": 1}'
    )
    assert (found.score, found.flip) == (pytest.approx(0.01), False)


def test_nan_literals_are_compared() -> None:
    numbers = Comparison("json", CompareSettings("regression", output="/y"))
    assert numbers.compare(b'{"y": NaN}', b'{"y":NaN}').score == 0.0
    assert numbers.compare(b'{"y": NaN}', b'{"y": 1}').flip
    assert numbers.describe(b'{"y": [NaN, 1.5, -Infinity]}') == ["NaN", 1.5, "-Infinity"]


def test_an_unreadable_answer_is_described_by_the_reason() -> None:
    assert RAIN.describe(b"") == "unreadable: the answer is empty"
    assert str(RAIN.describe(answer(0.5, 0.6))).startswith("unreadable: output 'proba' is no distribution")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
DATA = st.lists(
    st.floats(0, 1) | st.sampled_from([0.5, 0, 1, -1, math.nan, math.inf, 1e308, "rain", None]), max_size=4
)
OUTPUT = st.fixed_dictionaries(
    {
        "name": st.just("proba"),
        "shape": st.lists(st.integers(0, 4), max_size=2),
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL"]),
        "data": DATA | st.lists(DATA, max_size=2),
    }
)
BODIES = (
    st.fixed_dictionaries({"outputs": st.lists(OUTPUT, min_size=1, max_size=1)})
    | st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
    | DATA
).map(lambda document: json.dumps(document).encode()) | st.binary(max_size=40)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(EVERY), BODIES, BODIES)
def test_any_two_bodies_are_a_divergence_or_a_fault(
    comparison: Comparison, incumbent: bytes, candidate: bytes
) -> None:
    for first, second in ((incumbent, candidate), (incumbent, incumbent + b" "), (incumbent, incumbent)):
        try:
            found = comparison.compare(first, second)
        except ComparatorFault as fault:
            reason = fault.reason
        else:
            reason = found.reason
            assert 0.0 <= found.score <= 1.0
            if first == second.strip():
                assert (found.score, found.flip) == (0.0, False)
        assert reason.isprintable()
        assert 0 < len(reason) < 500
    json.dumps(comparison.describe(candidate), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("protocol", "settings_", "path"),
    [
        ("grpc", CompareSettings("regression"), "endpoints.rain.protocol"),
        ("v2", CompareSettings("boxes"), "endpoints.rain.compare.kind"),
        ("v2", CompareSettings("regression", output=""), "endpoints.rain.compare.output"),
        ("json", CompareSettings("regression", output="y"), "endpoints.rain.compare.output"),
        ("v2", CompareSettings("regression", scale=0.0), "endpoints.rain.compare.scale"),
        ("v2", CompareSettings("regression", scale=math.nan), "endpoints.rain.compare.scale"),
        ("v2", CompareSettings("regression", tolerance=-0.1), "endpoints.rain.compare.tolerance"),
        ("v2", CompareSettings("regression", tolerance=math.inf), "endpoints.rain.compare.tolerance"),
        ("v2", CompareSettings("classification", threshold=1.0), "endpoints.rain.compare.threshold"),
        ("v2", CompareSettings("classification", labels=("rain",)), "endpoints.rain.compare.labels"),
        ("v2", CompareSettings("classification", labels=("rain", "rain")), "endpoints.rain.compare.labels"),
        ("v2", CompareSettings("classification", labels=("rain", "")), "endpoints.rain.compare.labels"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_key(
    protocol: str, settings_: CompareSettings, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Comparison(protocol, settings_, "endpoints.rain.compare")
    assert caught.value.path == path


def test_without_a_path_the_key_stands_alone() -> None:
    with pytest.raises(ConfigError, match=r"^kind: 'boxes' is not allowed; regression or classification$"):
        Comparison("v2", CompareSettings("boxes"))
    with pytest.raises(ConfigError, match=r"^protocol: 'x' is not allowed; v2 or json$"):
        Comparison("x", CompareSettings("regression"))
