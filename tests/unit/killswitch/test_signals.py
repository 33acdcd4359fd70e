"""What each guard reads from a judged pair."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from domain.errors import ConfigError
from domain.observation import Divergence, Observation, Outcome, Pair
from domain.routing import Arm
from killswitch.signals import JudgedPair, Signal, signals
from settings.schema import DivergenceGuard, ErrorsGuard, FlipsGuard, GuardSettings, LatencyGuard

ALL = GuardSettings(
    divergence=DivergenceGuard(0.02),
    flips=FlipsGuard(0.01),
    errors=ErrorsGuard(0.005),
    latency=LatencyGuard(p95_ratio=1.5, p99_ratio=2.0, slo=0.2, slo_rate=0.01),
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
    assert [signal.name for signal in signals(ALL)] == everything
    assert [s.name for s in signals(GuardSettings(flips=FlipsGuard(0.01)))] == ["flips"]
    assert [s.name for s in signals(GuardSettings(latency=LatencyGuard(p99_ratio=2.0)))] == ["latency_p99"]
    assert signals(GuardSettings()) == ()


def test_predictions_are_read_only_when_compared() -> None:
    compared = replace(pair(), divergence=Divergence(0.3, True, "rain, not dry"))
    assert named("divergence").read(compared) == 0.3
    assert named("flips").read(compared) == 1.0
    assert named("flips").read(replace(compared, divergence=Divergence(0.1, False, "same"))) == 0.0
    for silent in (pair(), replace(pair(), fault="not JSON"), pair(candidate=BROKEN)):
        assert named("divergence").read(silent) is None
        assert named("flips").read(silent) is None


@pytest.mark.parametrize("failure", [BROKEN, LATE, ended(Outcome.CONNECT), ended(Outcome.PROTOCOL)])
def test_errors_are_the_candidates_minus_the_incumbents(failure: Observation) -> None:
    read = named("errors").read
    assert read(pair()) == 0.0
    assert read(pair(candidate=failure)) == 1.0
    assert read(pair(incumbent=failure)) == -1.0
    assert read(pair(failure, failure)) == 0.0


@pytest.mark.parametrize("silent", [ended(Outcome.ABANDONED), ended(Outcome.OVERLOAD)])
def test_what_says_nothing_about_an_arm_is_no_error_vote(silent: Observation) -> None:
    read = named("errors").read
    assert read(pair(candidate=silent)) is None
    assert read(pair(incumbent=silent)) is None
    assert read(pair(silent, BROKEN)) is None


def warm(signal: Signal, latency: float = 0.010) -> None:
    assert signal.quantile is not None
    for _ in range(signal.quantile.minimum):
        signal.quantile.learn(latency)


@pytest.mark.parametrize(("name", "ratio", "minimum"), [("latency_p95", 1.5, 100), ("latency_p99", 2.0, 200)])
def test_a_latency_quantile_votes_only_once_it_is_known(name: str, ratio: float, minimum: int) -> None:
    signal = named(name)
    assert signal.quantile is not None
    assert signal.quantile.minimum == minimum
    for _ in range(minimum - 1):
        signal.quantile.learn(0.010)
    assert signal.read(pair()) is None
    signal.quantile.learn(0.010)
    assert signal.read(pair()) == 0.0
    assert signal.read(pair(candidate=OK._replace(latency=0.010 * ratio))) == 0.0
    assert signal.read(pair(candidate=OK._replace(latency=0.0101 * ratio))) == 1.0
    assert signal.read(pair(incumbent=OK._replace(latency=0.011))) == -1.0
    assert signal.read(pair(OK._replace(latency=0.011), OK._replace(latency=0.1))) == 0.0


def test_a_timeout_is_above_everything_on_both_sides() -> None:
    signal = named("latency_p95")
    warm(signal, latency=1e6)
    assert signal.read(pair(candidate=LATE)) == 1.0
    assert signal.read(pair(incumbent=LATE)) == -1.0
    assert signal.read(pair(LATE, LATE)) == 0.0
    assert named("latency_slo").read(pair(candidate=LATE._replace(latency=0.1))) == 1.0


def test_an_incumbent_that_mostly_times_out_sets_no_standard() -> None:
    signal = named("latency_p95")
    warm(signal, latency=math.inf)
    assert signal.read(pair(candidate=LATE)) is None


@pytest.mark.parametrize("outcome", [Outcome.CONNECT, Outcome.PROTOCOL, Outcome.ABANDONED, Outcome.OVERLOAD])
def test_an_arm_that_did_not_answer_has_no_latency(outcome: Outcome) -> None:
    for name in ("latency_p95", "latency_p99"):
        signal = named(name)
        warm(signal)
        assert signal.read(pair(candidate=ended(outcome))) is None
        assert signal.read(pair(incumbent=ended(outcome))) is None
    slo = named("latency_slo")
    assert slo.read(pair(candidate=ended(outcome))) is None
    # The SLO is the candidate's alone: an incumbent that is down must not hide its fast answers.
    assert slo.read(pair(incumbent=ended(outcome))) == 0.0


def test_the_slo_is_exceeded_only_above_it() -> None:
    read = named("latency_slo").read
    assert read(pair(candidate=OK._replace(latency=0.2))) == 0.0
    assert read(pair(candidate=OK._replace(latency=0.2001))) == 1.0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (GuardSettings(flips=FlipsGuard(0.0)), "guards.flips"),
        (GuardSettings(flips=FlipsGuard(1.0)), "guards.flips"),
        (GuardSettings(divergence=DivergenceGuard(-0.1)), "guards.divergence"),
        (GuardSettings(errors=ErrorsGuard(math.nan)), "guards.errors"),
        (GuardSettings(latency=LatencyGuard(p95_ratio=0.0)), "guards.latency_p95"),
        (GuardSettings(latency=LatencyGuard(slo=math.inf)), "guards.latency_slo"),
        (GuardSettings(latency=LatencyGuard(slo=0.1, slo_rate=0.0)), "guards.latency_slo"),
    ],
)
def test_a_limit_that_nothing_can_breach_names_its_key(settings: GuardSettings, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        signals(settings)
    assert refused.value.path == key
