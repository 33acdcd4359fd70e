"""Guards in words."""

from __future__ import annotations

import pytest

from killswitch.sentences import finding, milliseconds, number, odds, percent
from killswitch.signals import signals
from settings.schema import DivergenceGuard, ErrorsGuard, FlipsGuard, GuardSettings, LatencyGuard


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (1.04, "1 in 1"),
        (2.34, "1 in 2.3"),
        (9.97, "1 in 10"),
        (995.0, "1 in 1 000"),
        (39_612.4, "1 in 40 000"),
        (994_999.0, "1 in 990 000"),
        (999_999.0, "1 in 1 million"),
        (5_000_001.0, "1 in 5 million"),
        (7.26e9, "1 in 7.3 billion"),
        (1.2e14, "1 in 120 trillion"),
        (1e300, "1 in 10^300"),
    ],
)
def test_evidence_reads_as_one_in_so_many(evidence: float, words: str) -> None:
    assert odds(evidence) == words


def test_numbers_have_no_exponents_and_no_minus_zero() -> None:
    assert percent(0.2349) == "23 %"
    assert percent(1.0) == "100 %"
    assert percent(0.0051) == "0.51 %"
    assert percent(-0.0) == "0 %"
    assert number(0.123456) == "0.12"
    assert milliseconds(1.5) == "1500 ms"


def test_every_guard_has_its_own_units() -> None:
    settings = GuardSettings(
        divergence=DivergenceGuard(0.02),
        flips=FlipsGuard(0.01),
        errors=ErrorsGuard(0.005),
        latency=LatencyGuard(p95_ratio=1.5, p99_ratio=2.0, slo=0.2, slo_rate=0.125),
    )
    found = signals(settings)
    slow = next(signal for signal in found if signal.name == "latency_p95")
    assert slow.quantile is not None
    for _ in range(100):
        slow.quantile.learn(0.031)
    assert [finding(signal, 0.23) for signal in found] == [
        "divergence 0.23 against a limit of 0.02",
        "flips 23 % against a limit of 1 %",
        "errors in excess of the incumbent's 23 % against a limit of 0.5 %",
        "latency p95: excess of answers over 1.5 × the incumbent's p95 of 31 ms 23 % against a limit of 0 %",
        "latency p99: excess of answers over 2 × the incumbent's p99 23 % against a limit of 0 %",
        "answers over 200 ms 23 % against a limit of 12.5 %",
    ]
