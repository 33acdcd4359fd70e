"""The data are what PROVENANCE.md says; the guard is right about the healthy and the broken candidate."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files

import numpy
import pytest
from numpy.typing import NDArray

from examples.rain.configuration import SHADOW_PAIRS, configuration
from examples.rain.data import FEATURES, ROTATED_FROM, Series, load
from examples.rain.models import CANDIDATE, INCUMBENT, REPLAY_FROM, Trained, refactored, train
from killswitch.evidence import EDetector

GUARDS = configuration(1, 2, 3, 4, 1)["endpoints"]["rain"]["guards"]
LIMIT = float(GUARDS["flips"]["rate"].rstrip("%")) / 100
THRESHOLD = 2 / GUARDS["false_alarm"]
"""Two guards share α."""


@pytest.fixture(scope="module")
def series() -> Series:
    return load()


@pytest.fixture(scope="module")
def incumbent(series: Series) -> Trained:
    return train(series, INCUMBENT)


@pytest.fixture(scope="module")
def candidate(series: Series) -> Trained:
    return train(series, CANDIDATE)


def flips(one: NDArray[numpy.float64], other: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    return numpy.not_equal(one >= 0.5, other >= 0.5).astype(numpy.float64)


def evidence(healthy: NDArray[numpy.float64], after: NDArray[numpy.float64]) -> tuple[float, int]:
    """The highest evidence over `healthy`, in batches of 10, and the pairs of `after` until a breach."""
    detector = EDetector(LIMIT, 0.0, 1.0)
    state, peak = detector.start(), 0.0
    for at in range(0, len(healthy), 10):
        state = detector.apply(state, detector.increment(healthy[at : at + 10]))
        peak = max(peak, float(numpy.exp(detector.log_evidence(state))))
    for at in range(0, len(after), 10):
        state = detector.apply(state, detector.increment(after[at : at + 10]))
        if detector.log_evidence(state) >= numpy.log(THRESHOLD):
            return peak, at + 10
    return peak, len(after) + 1


def test_the_file_is_the_one_whose_provenance_is_written_down() -> None:
    folder = files("examples.rain")
    packed = folder.joinpath("rainfall.csv.gz").read_bytes()
    written = re.findall(r"\b[0-9a-f]{64}\b", folder.joinpath("PROVENANCE.md").read_text(encoding="utf-8"))
    assert hashlib.sha256(packed).hexdigest() in written
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in written
    assert packed[4:8] == bytes(4), "the time stamp is left out, so that packing again gives the same bytes"


def test_mended_columns_carry_the_same_feature_before_and_after_the_rotation(series: Series) -> None:
    assert series.rows.shape == (18_159, len(FEATURES))
    before, after = series.rows[:ROTATED_FROM], series.rows[ROTATED_FROM:]
    assert numpy.abs(before.mean(axis=0) - after.mean(axis=0)).max() < 0.3
    assert numpy.abs(before.std(axis=0) / after.std(axis=0) - 1).max() < 0.2
    assert numpy.abs(series.rows).max() < 10, "no reading is missing"
    assert set(series.rained.tolist()) == {0, 1}


def test_both_models_forecast_days_they_never_saw_better_than_always_dry(
    series: Series, incumbent: Trained, candidate: Trained
) -> None:
    rows, rained = series.rows[REPLAY_FROM:], series.rained[REPLAY_FROM:]
    for model in (incumbent, candidate):
        right = ((model.probabilities(rows) >= 0.5) == rained).mean()
        assert right > (rained == 0).mean() + 0.1


def test_the_models_differ(series: Series, incumbent: Trained, candidate: Trained) -> None:
    rows = series.rows[REPLAY_FROM:]
    assert flips(incumbent.probabilities(rows), candidate.probabilities(rows)).sum() > 10


def test_the_healthy_candidate_keeps_the_limit_on_every_stretch_and_gathers_no_evidence(
    series: Series, incumbent: Trained, candidate: Trained
) -> None:
    rows = series.rows[REPLAY_FROM:]
    found = flips(incumbent.probabilities(rows), candidate.probabilities(rows))
    assert found.mean() < LIMIT / 2
    stretch = numpy.convolve(found, numpy.ones(SHADOW_PAIRS) / SHADOW_PAIRS, "valid")
    assert stretch.max() <= LIMIT
    peak, _ = evidence(numpy.tile(found, 3), numpy.empty(0))
    assert peak < THRESHOLD / 100


@pytest.mark.parametrize("change", range(1000, 6000, 500))
def test_the_refactored_pipeline_trips_within_a_few_hundred_pairs_whenever_it_comes(
    series: Series, incumbent: Trained, candidate: Trained, change: int
) -> None:
    rows = series.rows[REPLAY_FROM:]
    truth = incumbent.probabilities(rows)
    healthy = flips(truth, candidate.probabilities(rows))
    broken = refactored(series, REPLAY_FROM + change)
    wrong = candidate.classifier.predict_proba(broken.transform(rows))[:, 1]
    _, pairs = evidence(healthy[:change], numpy.roll(flips(truth, wrong), -change)[:1000])
    assert pairs <= 400


def test_the_refactored_pipeline_has_the_same_schema(series: Series, candidate: Trained) -> None:
    broken = refactored(series, REPLAY_FROM + 1000)
    assert broken.features == candidate.pipeline.features
    assert broken.mean.shape == candidate.pipeline.mean.shape
    assert (broken.scale > 0).all()
