"""Observations in, a Divergence or a ComparatorFault with the right arm out; batches find what pairs find."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.comparison import Comparison
from comparators.prediction import Prediction
from comparators.readers.v2 import V2Reader
from domain.errors import ComparatorFault, ConfigError
from domain.media import JSON, Media
from domain.observation import Divergence, Observation, Outcome
from domain.routing import Arm
from settings.schema import KINDS, CompareSettings

EVERY = [
    *(Comparison(protocol, CompareSettings(kind)) for protocol in ("v2", "json") for kind in KINDS),
    Comparison("v2", CompareSettings("classification", multi_label=True)),
    Comparison("json", CompareSettings("classification", multi_label=True)),
    Comparison("json", CompareSettings("classification", labels=("a", "b", "c"))),
    Comparison("openai", CompareSettings("text")),
    Comparison("openai", CompareSettings("json")),
]
RAIN = Comparison(
    "v2",
    CompareSettings("classification", output="proba", labels=("no-rain", "rain")),
    "endpoints.rain.compare",
)


def seen(body: bytes, media: str = "") -> Observation:
    return Observation("v", Outcome.ANSWERED, 200, 0.01, body, media)


def compare(comparison: Comparison, incumbent: bytes, candidate: bytes) -> Divergence:
    return comparison.compare(seen(incumbent), seen(candidate))


def describe(comparison: Comparison, body: bytes) -> object:
    return comparison.describe(seen(body))


def answer(*probabilities: float, space: str = "") -> bytes:
    output = {"name": "proba", "shape": [1, 2], "datatype": "FP64", "data": probabilities}
    return json.dumps({"model_name": "rain", "outputs": [output]}).encode() + space.encode()


def test_two_answers_are_compared() -> None:
    found = compare(RAIN, answer(0.81, 0.19), answer(0.36, 0.64))
    assert found.reason == "class no-rain 0.81 → rain 0.64, total variation 0.45"
    assert type(found.score) is float
    assert type(found.incumbent_confidence) is float


def test_equal_bytes_are_recognised_before_the_second_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    real = V2Reader.read

    def counting(reader: V2Reader, body: bytes, media: Media = JSON) -> Prediction:
        reads.append(body)
        return real(reader, body, media)

    monkeypatch.setattr(V2Reader, "read", counting)
    same = Divergence(0.0, False, "equal bytes", 0.7, 0.7, "rain", "rain")
    assert compare(RAIN, answer(0.3, 0.7), answer(0.3, 0.7)) == same
    assert len(reads) == 1
    assert (
        compare(RAIN, answer(0.3, 0.7), answer(0.3, 0.7, space=" ")).reason == "same class, total variation 0"
    )
    assert len(reads) == 3


def test_equal_bytes_that_cannot_be_read_are_no_agreement() -> None:
    with pytest.raises(ComparatorFault) as caught:
        compare(RAIN, b"<html>", b"<html>")
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
        compare(RAIN, incumbent, candidate)
    assert caught.value.arm is arm


def test_a_json_writer_that_drops_the_fraction_makes_no_flip() -> None:
    plain = Comparison("json", CompareSettings("classification", output="/p"))
    found = compare(plain, b'{"p": 0.99}', b'{"p": 1}')
    assert (found.score, found.flip) == (pytest.approx(0.01), False)


def test_nan_literals_are_compared() -> None:
    numbers = Comparison("json", CompareSettings("regression", output="/y"))
    assert compare(numbers, b'{"y": NaN}', b'{"y":NaN}').score == 0.0
    assert compare(numbers, b'{"y": NaN}', b'{"y": 1}').flip
    assert describe(numbers, b'{"y": [NaN, 1.5, -Infinity]}') == ["NaN", 1.5, "-Infinity"]


def test_an_unreadable_answer_is_described_by_the_reason() -> None:
    assert describe(RAIN, b"") == "unreadable: the answer is empty"
    assert str(describe(RAIN, answer(0.5, 0.6))).startswith("unreadable: output 'proba' is no distribution")


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


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(EVERY), BODIES, BODIES)
def test_any_two_bodies_are_a_divergence_or_a_fault(
    comparison: Comparison, incumbent: bytes, candidate: bytes
) -> None:
    for first, second in ((incumbent, candidate), (incumbent, incumbent + b" "), (incumbent, incumbent)):
        try:
            found = compare(comparison, first, second)
        except ComparatorFault as fault:
            reason = fault.reason
        else:
            reason = found.reason
            assert 0.0 <= found.score <= 1.0
            if first == second.strip():
                assert (found.score, found.flip) == (0.0, False)
        assert reason.isprintable()
        assert 0 < len(reason) < 500
    json.dumps(describe(comparison, candidate), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("protocol", "settings_", "path"),
    [
        ("grpc", CompareSettings("regression"), "endpoints.rain.protocol"),
        ("v2", CompareSettings("opinions"), "endpoints.rain.compare.kind"),
        ("v2", CompareSettings("ranking", p=1.0), "endpoints.rain.compare.p"),
        ("v2", CompareSettings("ranking", top=0), "endpoints.rain.compare.top"),
        ("v2", CompareSettings("text", short=-1), "endpoints.rain.compare.short"),
        ("v2", CompareSettings("boxes", iou=0.0), "endpoints.rain.compare.iou"),
        ("v2", CompareSettings("boxes", format="polar"), "endpoints.rain.compare.format"),
        ("v2", CompareSettings("json", ignore=("id",)), "endpoints.rain.compare.ignore"),
        ("v2", CompareSettings("json", tolerances=(("id", 1.0),)), "endpoints.rain.compare.tolerances"),
        (
            "v2",
            CompareSettings("json", tolerances=(("/id", -1.0),)),
            "endpoints.rain.compare.tolerances./id",
        ),
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
    kinds = "regression, classification, ranking, embedding, text, json, boxes, series"
    with pytest.raises(ConfigError, match=f"^kind: 'opinions' is not allowed; one of {kinds}$"):
        Comparison("v2", CompareSettings("opinions"))
    with pytest.raises(ConfigError, match=r"^protocol: 'x' is not allowed; one of v2, "):
        Comparison("x", CompareSettings("regression"))


def test_bytes_are_equal_only_when_they_are_written_the_same_way() -> None:
    body = answer(0.3, 0.7)
    packed = gzip.compress(body)
    as_gzip = Media("application/json", "gzip").text()
    found = RAIN.compare(seen(packed, as_gzip), seen(body))
    assert (found.score, found.reason) == (0.0, "same class, total variation 0")
    assert RAIN.compare(seen(packed, as_gzip), seen(packed, as_gzip)).reason == "equal bytes"
    with pytest.raises(ComparatorFault) as caught:
        RAIN.compare(seen(packed, as_gzip), seen(packed))
    assert caught.value.arm is Arm.CANDIDATE


def findings(comparison: Comparison, pairs: list[tuple[Observation, Observation]]) -> list[object]:
    """What `compare` answers or raises, pair by pair."""
    found: list[object] = []
    for pair in pairs:
        try:
            found.append(comparison.compare(*pair))
        except ComparatorFault as fault:
            found.append((fault.arm, fault.reason))
    return found


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(EVERY), st.lists(st.tuples(BODIES, BODIES), max_size=6), st.integers(0, 3))
def test_a_batch_finds_what_its_pairs_find_one_by_one(
    comparison: Comparison, bodies: list[tuple[bytes, bytes]], same: int
) -> None:
    pairs = [
        (seen(first), seen(first if at % 4 == same else second)) for at, (first, second) in enumerate(bodies)
    ]
    many: list[object] = [
        (found.arm, found.reason) if isinstance(found, ComparatorFault) else found
        for found in comparison.compare_many(pairs)
    ]
    assert many == findings(comparison, pairs)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["regression", "classification", "embedding", "series", "ranking", "boxes", "json"]),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1)), max_size=12),
)
def test_a_batch_of_tables_finds_what_its_pairs_find_one_by_one(
    kind: str, shapes: list[tuple[int, int, int]]
) -> None:
    def table(rows: int, width: int, numbers: np.random.Generator) -> bytes:
        data = numbers.dirichlet(np.ones(width), rows).ravel() if width > 1 else numbers.random(rows)
        output = {"name": "p", "shape": [rows, width], "datatype": "FP64", "data": data.tolist()}
        return json.dumps({"outputs": [output]}).encode()

    pairs = []
    for rows, width, seed in shapes:
        numbers = np.random.default_rng(seed)
        other = rows + (seed % 7 == 0)
        pairs.append((seen(table(rows, width, numbers)), seen(table(other, width, numbers))))
    comparison = Comparison("v2", CompareSettings(kind))
    many: list[object] = [
        (found.arm, found.reason) if isinstance(found, ComparatorFault) else found
        for found in comparison.compare_many(pairs)
    ]
    assert many == findings(comparison, pairs)


def test_more_pairs_than_are_held_at_once_come_back_in_order() -> None:
    pairs = [(seen(answer(at / 3000, 1 - at / 3000)), seen(answer(0.0, 1.0))) for at in range(2500)]
    scores = [found.score for found in RAIN.compare_many(pairs) if isinstance(found, Divergence)]
    assert scores == pytest.approx([at / 3000 for at in range(2500)])


def test_a_batch_of_nothing_is_nothing() -> None:
    assert RAIN.compare_many([]) == []


def test_the_features_of_a_request_are_named_columns() -> None:
    request = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0]}]}
    found = RAIN.features(json.dumps(request).encode())
    assert found.names == ("x.0", "x.1")
    assert found.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert RAIN.features(b"").reason == "the request is empty"
