"""CPU time per request and the ratios between subjects."""

from __future__ import annotations

import math
import os

import pytest

from bench.bed import ACCELERATED, PURE
from bench.comparison import Limit, absences, alone, columns, goals, ratio, row, rows, spread
from bench.cpu import Sample, Subject, measure, median_ratio, of, take_turns
from bench.process import BenchError, cpu_seconds, parse_stat
from bench.wrk import Load


def load(requests: int = 1000, failed: int = 0) -> Load:
    return Load(requests, 1.0, float(requests), 0.001, 0.004, 0.009, failed)


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


ROUNDS = [
    sample("nginx", 20e-6), sample(PURE, 30e-6, 1), sample(ACCELERATED, 18e-6),
    sample("nginx", 40e-6), sample(PURE, 68e-6, 2), sample(ACCELERATED, 40e-6),
]  # fmt: skip


def test_each_variant_of_the_gateway_is_held_against_each_peer() -> None:
    assert ratio(ROUNDS, PURE, "nginx") == pytest.approx(1.6)
    assert ratio(ROUNDS, ACCELERATED, "nginx") == pytest.approx(0.95)
    assert math.isnan(ratio(ROUNDS, PURE, "envoy"))


def test_a_row_shows_medians_the_ratios_and_every_failure() -> None:
    assert columns(ROUNDS)[1:4] == ("CPU µs/request", "pure ÷ it", "accelerated ÷ it")
    assert row(ROUNDS, "nginx", "paced")[:4] == ("nginx, paced", "30.0", "1.6", "0.95")
    assert row(ROUNDS, PURE)[:4] == (PURE, "49.0", "", "")
    assert row(ROUNDS, PURE)[-1] == "3"
    assert all(len(each) == len(columns(ROUNDS)) for each in rows(ROUNDS))
    assert spread(ROUNDS).endswith(f"{ACCELERATED} 18.0 to 40.0")


def test_what_stands_alone_has_no_ratio_and_fits_the_table() -> None:
    cells = alone(sample("model server", 9e-6), columns(ROUNDS))
    assert cells[:4] == ("model server", "9.0", "", "")
    assert len(cells) == len(columns(ROUNDS))


LIMITS = (Limit("nginx", 2.0, PURE), Limit("nginx", 0.9, ACCELERATED), Limit("envoy", 0.5))


def test_a_goal_holds_the_variant_it_names_and_else_the_one_that_is_shipped() -> None:
    made = goals(ROUNDS, LIMITS, "forwarding", ["nginx", "envoy"])
    assert [goal.met for goal in made] == [True, False, False]
    assert ACCELERATED in made[2].name


def test_without_the_accelerator_its_own_goals_are_not_asked() -> None:
    pure = [each for each in ROUNDS if each.subject != ACCELERATED]
    made = goals(pure, LIMITS, "forwarding", ["nginx", "envoy"])
    assert [goal.limit for goal in made] == [2.0, 0.5]
    assert PURE in made[1].name


def test_a_peer_that_could_not_start_leaves_its_goal_unmet_and_one_not_asked_for_has_none() -> None:
    assert [goal.met for goal in goals(ROUNDS, LIMITS[2:], "forwarding", ["envoy"])] == [False]
    assert goals(ROUNDS, LIMITS[2:], "forwarding", ["nginx"]) == ()


def test_an_absence_is_named_in_one_line() -> None:
    assert absences({"envoy": "ended:\n  no such file"}) == ("not measured: envoy: ended: no such file",)


def test_a_command_name_with_brackets_does_not_shift_the_fields_of_stat() -> None:
    fields = "S 77 1 1 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 100"
    assert parse_stat(f"4242 (a (strange) name) {fields}") == (77, 300)


def test_cpu_time_of_this_process_grows() -> None:
    before = cpu_seconds(os.getpid())
    sum(range(3_000_000))
    assert cpu_seconds(os.getpid()) > before
