"""Guards in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from killswitch.quantile import counted
from killswitch.sentences import finding, milliseconds, no_votes, number, odds, passed, percent, undecided
from killswitch.signals import Learned, signals, unpaired_errors
from settings.schema import (
    ClassesGuard,
    ConfidenceGuard,
    DivergenceGuard,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
    LatencyGuard,
)


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


ALL = GuardSettings(
    divergence=DivergenceGuard(0.02),
    flips=FlipsGuard(0.01),
    errors=ErrorsGuard(0.005),
    latency=LatencyGuard(p95_ratio=1.5, p99_ratio=2.0, slo=0.2, slo_rate=0.125),
    confidence=ConfidenceGuard(0.05),
    classes=ClassesGuard(0.05),
)


def test_every_guard_has_its_own_units() -> None:
    learned = Learned()
    found = signals(ALL, learned)
    learned.latencies.learn(counted(np.full(100, 0.031)))
    noisy = signals(replace(ALL, noisy=True, latency=None))[:2]
    slow = "latency p95: excess of answers over"
    unpaired = unpaired_errors(replace(ALL, mirrored=False))
    assert unpaired is not None
    assert [finding(signal, 0.23) for signal in (*found, *noisy, unpaired)] == [
        "divergence 0.23 against a limit of 0.02",
        "flips 23 % against a limit of 1 %",
        "errors in excess of the incumbent's 23 % against a limit of 0.5 %",
        f"{slow} 1.5 × the incumbent's p95 of 31.2 ms 23 % against a limit of 0 %",
        "latency p99: excess of answers over 2 × the incumbent's p99 23 % against a limit of 0 %",
        "answers over 200 ms 23 % against a limit of 12.5 %",
        "confidence shifted by 0.23 against a limit of 0.05 in either direction",
        "class shares shifted by 23 % against a limit of 5 %",
        "divergence beyond the incumbent's own noise 0.23 against a limit of 0.02",
        "flips beyond the incumbent's own noise 23 % against a limit of 1 %",
        "errors in excess of the incumbent's, by counts 23 % against a limit of 0.5 %",
    ]


def test_what_is_missing_is_said_before_the_first_vote() -> None:
    found = {signal.name: no_votes(signal) for signal in signals(replace(ALL, noisy=True))}
    assert found["errors"] == "errors: no votes yet"
    assert found["confidence"] == "confidence: no votes yet, it needs predictions with a confidence"
    assert found["classes"] == "classes: no votes yet, it needs predictions that name a class"
    assert "shadow.noise_share" in found["noise_corrected_flips"]
    assert found["latency_p99"].endswith("0 of the 200 incumbent latencies it compares with")


def test_too_little_evidence_says_what_it_takes() -> None:
    words = "flips 0.4 % against a limit of 1 %"
    lead = f"{words}: not enough evidence yet"
    assert undecided(words, 120, 500, None, (0.05, 1234)) == (
        f"{lead} (120 of 500 votes; about 1 200 more to certify it (95 %))"
    )
    assert undecided(words, 700, 500, None, (0.05, None)) == (
        f"{lead} (700 votes; at this rate never enough to certify it (95 %))"
    )
    assert undecided(words, 120, 500, None, None) == f"{lead} (120 of 500 votes)"
    assert undecided(words, 700, 500, (20.0, 1000.0), (0.05, 9)) == (
        f"{lead} (1 in 20 where a breach takes 1 in 1 000, 700 votes)"
    )


def test_a_pass_says_what_is_certain() -> None:
    found = {signal.name: signal for signal in signals(ALL)}
    assert passed(found["flips"], "flips", 800, 0.05) == "flips: certainly below it (95 %), over 800 votes"
    assert passed(found["latency_p95"], "slow", 800, 0.001) == (
        "slow: certainly below 5 % (99.9 %), over 800 votes"
    )
    assert (
        passed(found["flips"], "flips", 800, None) == "flips: within the limit over 800 votes, not certified"
    )
