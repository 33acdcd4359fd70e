"""What each guard reads from a judged pair."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from domain.errors import ConfigError
from domain.observation import Divergence, Observation, Outcome, Pair, RowFinding
from domain.routing import Arm
from killswitch.columns import Columns, JudgedPair, Numbers
from killswitch.quantile import counted
from killswitch.signals import Learned, Signal, signals, unpaired_errors
from settings.schema import (
    ClassesGuard,
    ConfidenceGuard,
    DivergenceGuard,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
    LatencyGuard,
)

ALL = GuardSettings(
    divergence=DivergenceGuard(0.02),
    flips=FlipsGuard(0.01),
    errors=ErrorsGuard(0.005),
    latency=LatencyGuard(p95_ratio=1.5, p99_ratio=2.0, slo=0.2, slo_rate=0.01),
    confidence=ConfidenceGuard(0.05),
    classes=ClassesGuard(0.05),
)

OK = Observation("v", Outcome.ANSWERED, 200, 0.010, b"")
BROKEN = OK._replace(status=500)
LATE = OK._replace(outcome=Outcome.TIMEOUT, status=0, latency=2.0)


def pair(incumbent: Observation = OK, candidate: Observation = OK) -> JudgedPair:
    return JudgedPair(Pair("id", "rain", 1, 1, Arm.INCUMBENT, 0.0, incumbent, candidate), None, None)


def named(name: str, settings: GuardSettings = ALL) -> Signal:
    return next(signal for signal in signals(settings) if signal.name == name)


def ended(outcome: Outcome) -> Observation:
    return OK._replace(outcome=outcome, status=0)


def test_only_what_is_configured_is_read() -> None:
    everything = ["divergence", "flips", "errors", "latency_p95", "latency_p99", "latency_slo"]
    everything += ["confidence", "classes"]
    assert [signal.name for signal in signals(ALL)] == everything
    assert [s.name for s in signals(GuardSettings(flips=FlipsGuard(0.01)))] == ["flips"]
    assert [s.name for s in signals(GuardSettings(latency=LatencyGuard(p99_ratio=2.0)))] == ["latency_p99"]
    assert signals(GuardSettings()) == ()


def numbers(signal: Signal, *judged: JudgedPair, per: str = "unit") -> Numbers:
    assert signal.read is not None
    return signal.read(Columns(judged, per))


def read(signal: Signal, judged: JudgedPair) -> float | None:
    """The one number of a pair."""
    x = numbers(signal, judged).x.tolist()
    assert len(x) <= 1
    return x[0] if x else None


def test_predictions_are_read_only_when_compared() -> None:
    compared = replace(pair(), divergence=Divergence(0.3, True, "rain, not dry"))
    assert read(named("divergence"), compared) == 0.3
    assert read(named("flips"), compared) == 1.0
    assert read(named("flips"), replace(compared, divergence=Divergence(0.1, False, "same"))) == 0.0
    for silent in (pair(), replace(pair(), fault="not JSON"), pair(candidate=BROKEN)):
        assert read(named("divergence"), silent) is None
        assert read(named("flips"), silent) is None


@pytest.mark.parametrize("failure", [BROKEN, LATE, ended(Outcome.CONNECT), ended(Outcome.PROTOCOL)])
def test_errors_are_the_candidates_minus_the_incumbents(failure: Observation) -> None:
    errors = named("errors")
    assert read(errors, pair()) == 0.0
    assert read(errors, pair(candidate=failure)) == 1.0
    assert read(errors, pair(incumbent=failure)) == -1.0
    assert read(errors, pair(failure, failure)) == 0.0


@pytest.mark.parametrize("silent", [ended(Outcome.ABANDONED), ended(Outcome.OVERLOAD)])
def test_what_says_nothing_about_an_arm_is_no_error_vote(silent: Observation) -> None:
    errors = named("errors")
    assert read(errors, pair(candidate=silent)) is None
    assert read(errors, pair(incumbent=silent)) is None
    assert read(errors, pair(silent, BROKEN)) is None


def warm(signal: Signal, latency: float = 0.010, short_of: int = 0) -> Signal:
    assert signal.quantile is not None
    signal.quantile.profile.learn(counted(np.full(signal.quantile.minimum - short_of, latency)))
    return signal


@pytest.mark.parametrize(("name", "ratio", "minimum"), [("latency_p95", 1.5, 100), ("latency_p99", 2.0, 200)])
def test_a_latency_quantile_votes_only_once_it_is_known(name: str, ratio: float, minimum: int) -> None:
    signal = warm(named(name), short_of=1)
    assert signal.quantile is not None
    assert signal.quantile.minimum == minimum
    assert read(signal, pair()) is None
    signal.quantile.profile.learn(counted(np.array([0.010])))
    threshold = signal.quantile.value
    assert threshold == pytest.approx(0.010, rel=0.01)
    assert read(signal, pair()) == 0.0
    assert read(signal, pair(candidate=OK._replace(latency=threshold * ratio))) == 0.0
    assert read(signal, pair(candidate=OK._replace(latency=threshold * ratio * 1.001))) == 1.0
    assert read(signal, pair(incumbent=OK._replace(latency=0.011))) == -1.0
    assert read(signal, pair(OK._replace(latency=0.011), OK._replace(latency=0.1))) == 0.0


def test_a_timeout_is_above_everything_on_both_sides() -> None:
    signal = warm(named("latency_p95"), latency=1e4)
    assert read(signal, pair(candidate=LATE)) == 1.0
    assert read(signal, pair(incumbent=LATE)) == -1.0
    assert read(signal, pair(LATE, LATE)) == 0.0
    assert read(named("latency_slo"), pair(candidate=LATE._replace(latency=0.1))) == 1.0


def test_an_incumbent_that_mostly_times_out_sets_no_standard() -> None:
    assert read(warm(named("latency_p95"), latency=math.inf), pair(candidate=LATE)) is None


@pytest.mark.parametrize("outcome", [Outcome.CONNECT, Outcome.PROTOCOL, Outcome.ABANDONED, Outcome.OVERLOAD])
def test_an_arm_that_did_not_answer_has_no_latency(outcome: Outcome) -> None:
    for name in ("latency_p95", "latency_p99"):
        signal = warm(named(name))
        assert read(signal, pair(candidate=ended(outcome))) is None
        assert read(signal, pair(incumbent=ended(outcome))) is None
    slo = named("latency_slo")
    assert read(slo, pair(candidate=ended(outcome))) is None
    # The SLO is the candidate's alone: an incumbent that is down must not hide its fast answers.
    assert read(slo, pair(incumbent=ended(outcome))) == 0.0


def test_the_slo_is_exceeded_only_above_it() -> None:
    slo = named("latency_slo")
    assert read(slo, pair(candidate=OK._replace(latency=0.2))) == 0.0
    assert read(slo, pair(candidate=OK._replace(latency=0.2001))) == 1.0


def found(score: float = 0.0, flip: bool = False, **more: Any) -> JudgedPair:
    return replace(pair(), divergence=Divergence(score, flip, "", **more))


def confident(incumbent: float | None, candidate: float | None) -> JudgedPair:
    return found(incumbent_confidence=incumbent, candidate_confidence=candidate)


def test_confidence_is_the_clipped_difference_of_those_who_have_one() -> None:
    signal = named("confidence")
    x = numbers(signal, confident(0.9, 0.85), confident(None, 0.9), confident(0.2, 0.9), confident(0.9, 0.2))
    assert x.x == pytest.approx([-0.05, 0.1, -0.1])
    assert x.pair.tolist() == [0, 2, 3]


def labelled(incumbent: str | None, candidate: str | None) -> JudgedPair:
    return found(incumbent_label=incumbent, candidate_label=candidate)


def test_classes_are_watched_where_the_candidate_was_over_and_certified_by_disagreement() -> None:
    learned = Learned()
    signal = next(one for one in signals(ALL, learned) if one.name == "classes")
    pairs = labelled("dry", "rain"), labelled("rain", "rain"), labelled("rain", "dry"), labelled(None, "dry")
    before = numbers(signal, *pairs)
    assert before.x.tolist() == [0.0, 0.0, 0.0]
    learned.classes.learn({"rain": 3}, {"rain": 1, "dry": 2})
    after = numbers(signal, *pairs)
    assert after.x.tolist() == [1.0, 0.0, -1.0]
    assert after.certified is not None
    assert after.certified.tolist() == [1.0, 0.0, 1.0]


NOISY = replace(ALL, noisy=True)


def test_with_noise_only_triplets_vote_and_by_what_exceeds_the_noise() -> None:
    names = [signal.name for signal in signals(NOISY)][:2]
    assert names == ["noise_corrected_divergence", "noise_corrected_flips"]
    flipped, same = Divergence(0.8, True, ""), Divergence(0.1, False, "")
    triplets = [replace(pair(), divergence=c, noise=n) for c in (flipped, same) for n in (flipped, same)]
    judged = [found(0.9, True), *triplets, replace(pair(), divergence=None, noise=flipped)]
    assert numbers(named("noise_corrected_flips", NOISY), *judged).x.tolist() == [0.0, 1.0, -1.0, 0.0]
    divergence = numbers(named("noise_corrected_divergence", NOISY), *judged)
    assert divergence.x == pytest.approx([0.0, 0.7, -0.7, 0.0])
    assert divergence.pair.tolist() == [1, 2, 3, 4]


def batch(*rows: RowFinding, unit: int = 1) -> JudgedPair:
    judged = found(sum(row.score for row in rows) / len(rows), any(row.flip for row in rows), rows=rows)
    return replace(judged, pair=judged.pair._replace(unit=unit))


ROWS = RowFinding(0.8, True, 0.9, 0.8), RowFinding(0.0, False), RowFinding(0.0, False), RowFinding(0.0, False)


@pytest.mark.parametrize(
    ("per", "unit", "votes"),
    [("unit", 1, 1), ("unit", 0, 4), ("pair", 1, 1), ("pair", 0, 1), ("row", 1, 4), ("row", 0, 4)],
)
def test_rows_of_a_batch_vote_by_the_rule(per: str, unit: int, votes: int) -> None:
    judged = [found(0.2), batch(*ROWS, unit=unit), found(0.4)]
    flips = numbers(named("flips"), *judged, per=per)
    expected = [0.25] if votes == 1 else [1.0, 0.0, 0.0, 0.0]
    assert flips.x.tolist() == [0.0, *expected, 0.0]
    assert flips.pair.tolist() == [0, *[1] * votes, 2]
    assert numbers(named("divergence"), *judged, per=per).x[1:-1].mean() == pytest.approx(0.2)
    assert numbers(named("confidence"), *judged, per=per).x == pytest.approx([-0.1])
    assert numbers(named("errors"), *judged, per=per).x.tolist() == [0.0] * 3


def test_without_mirroring_no_errors_are_read_from_pairs() -> None:
    counted_only = replace(ALL, mirrored=False)
    assert "errors" not in [signal.name for signal in signals(counted_only)]
    unpaired = unpaired_errors(counted_only)
    assert unpaired is not None
    assert (unpaired.name, unpaired.limit) == ("errors_unpaired", 0.005)
    assert unpaired_errors(ALL) is None
    assert unpaired_errors(GuardSettings(mirrored=False)) is None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (GuardSettings(flips=FlipsGuard(0.0)), "guards.flips"),
        (GuardSettings(flips=FlipsGuard(1.0)), "guards.flips"),
        (GuardSettings(divergence=DivergenceGuard(-0.1)), "guards.divergence"),
        (GuardSettings(errors=ErrorsGuard(math.nan)), "guards.errors"),
        (GuardSettings(confidence=ConfidenceGuard(0.1)), "guards.confidence"),
        (GuardSettings(confidence=ConfidenceGuard(0.0)), "guards.confidence"),
        (GuardSettings(classes=ClassesGuard(1.0)), "guards.classes"),
        (GuardSettings(flips=FlipsGuard(1.0), noisy=True), "guards.noise_corrected_flips"),
        (GuardSettings(latency=LatencyGuard(p95_ratio=0.0)), "guards.latency_p95"),
        (GuardSettings(latency=LatencyGuard(slo=math.inf)), "guards.latency_slo"),
        (GuardSettings(latency=LatencyGuard(slo=0.1, slo_rate=0.0)), "guards.latency_slo"),
    ],
)
def test_a_limit_that_nothing_can_breach_names_its_key(settings: GuardSettings, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        signals(settings)
    assert refused.value.path == key
