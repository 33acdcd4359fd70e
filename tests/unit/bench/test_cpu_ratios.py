"""CPU time per request and the ratios between subjects."""

from __future__ import annotations

import os

import pytest

from bench.cpu import Sample, Subject, measure, median_ratio, of, take_turns
from bench.process import BenchError, cpu_seconds, parse_stat
from bench.side_by_side import GATEWAY, NGINX, cpu_ratio, row, spread
from bench.wrk import Load


def load(requests: int = 1000, failed: int = 0) -> Load:
    return Load(requests, 1.0, float(requests), 0.001, 0.004, failed)


def sample(subject: str, cpu: float, failed: int = 0) -> Sample:
    return Sample(subject, cpu, 0.0, 32 * 2**20, load(failed=failed))


def test_the_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine was twice as slow in the second round: both suffered, the ratio did not.
    assert median_ratio([40.0, 80.0, 41.0], [20.0, 40.0, 20.0]) == pytest.approx(2.0)


def test_rounds_that_do_not_match_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0, 2.0], [1.0])


def test_subjects_take_turns() -> None:
    visited: list[int] = []

    def visit(port: int) -> Load:
        visited.append(port)
        return load()

    subjects = [Subject("a", 1, os.getpid()), Subject("b", 2, os.getpid())]
    samples = take_turns(subjects, 3, visit)
    assert visited == [1, 2, 1, 2, 1, 2]
    assert [each.subject for each in of(samples, "b")] == ["b"] * 3
    assert all(each.resident > 0 for each in samples)


def test_a_subject_that_answers_nothing_ends_the_run() -> None:
    with pytest.raises(BenchError, match="answered nothing"):
        measure(Subject("mute", 1, os.getpid()), lambda port: load(0))


def test_the_gateway_is_held_against_nginx() -> None:
    samples = [sample(NGINX, 20e-6), sample(GATEWAY, 30e-6), sample(NGINX, 40e-6), sample(GATEWAY, 68e-6)]
    assert cpu_ratio(samples) == pytest.approx(1.6)


def test_a_row_shows_medians_the_ratio_and_every_failure() -> None:
    samples = [
        sample(NGINX, 20e-6),
        sample(GATEWAY, 30e-6, 1),
        sample(NGINX, 20e-6),
        sample(GATEWAY, 34e-6, 2),
    ]
    assert row(samples, GATEWAY, 1.6) == (GATEWAY, "32.0", "1.6", "1000", "1.00", "4.00", "32", "3")
    assert row(samples, NGINX, 1.6, "paced")[:3] == ("nginx, paced", "20.0", "")
    assert spread(samples).endswith("nginx 20.0 to 20.0; pointsman 30.0 to 34.0")


def test_a_command_name_with_brackets_does_not_shift_the_fields_of_stat() -> None:
    fields = "S 77 1 1 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 100"
    assert parse_stat(f"4242 (a (strange) name) {fields}") == (77, 300)


def test_cpu_time_of_this_process_grows() -> None:
    before = cpu_seconds(os.getpid())
    sum(range(3_000_000))
    assert cpu_seconds(os.getpid()) > before
