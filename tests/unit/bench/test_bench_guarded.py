"""The report of the scenario `guarded`, from samples that were made up."""

from __future__ import annotations

import pytest

from bench.cpu import Sample
from bench.guarded import CANARY, GUARDED, MIRRORED_CANARY, SHADOW, SLOW, section
from bench.process import BenchError
from bench.report import rendered
from bench.wrk import Load

NAMES = ("guarded_agreed", "guarded_overruled", "guarded_unanswered", "guarded_incomparable")


def sample(subject: str, cpu: float, latency: float) -> Sample:
    return Sample(subject, cpu, 0.0, 2**25, Load(1000, 1.0, 1000.0, latency, 2 * latency, 3 * latency, 0))


SAMPLES = [
    sample(CANARY, 50e-6, 0.001),
    sample(MIRRORED_CANARY, 100e-6, 0.001),
    sample(SHADOW, 80e-6, 0.001),
    sample(GUARDED, 200e-6, 0.003),
]


def test_the_report_says_what_guarding_adds_and_what_became_of_the_answers() -> None:
    events = dict(zip(NAMES, (990.0, 0.0, 7.0, 3.0), strict=True))
    text = rendered(section([*SAMPLES, sample(SLOW, 200e-6, 0.02)], SAMPLES, {GUARDED: events, SLOW: events}))
    assert "added to canary's latency, paced: p50 2.00 ms, p99 4.00 ms" in text
    assert "CPU a request, guarded over shadow: 2.5" in text
    assert "guarded: 990 agreed, 0 overruled, 7 unanswered, 3 incomparable" in text


def test_a_run_in_which_nothing_was_guarded_is_no_result() -> None:
    with pytest.raises(BenchError, match="none of the candidate's answers was served"):
        section(SAMPLES, SAMPLES, {GUARDED: dict.fromkeys(NAMES, 0.0)})
