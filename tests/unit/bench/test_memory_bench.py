"""What the scenario `memory` says of its phases."""

from __future__ import annotations

import os

import pytest

from bench.memory import LIMIT, Group, Phase, proportional_bytes, section
from bench.process import BenchError

MIRRORS = {"paired": 10.0, "dropped": 2.0, "failed": 0.0, "timeout": 0.0}


def phase(turn: int, worker: int, *, kills: int = 0, failed: int = 0) -> Phase:
    return Phase("good", turn, 100, failed, 3 * worker, worker, worker, kills)


def test_the_goals_are_about_kills_the_worker_and_failed_requests() -> None:
    first, again = phase(1, LIMIT // 4), phase(2, LIMIT // 2)
    assert all(goal.met for goal in section([first, again], MIRRORS, limited=True).goals)
    for worse in (phase(2, LIMIT + 1), phase(2, 1, kills=1), phase(2, 1, failed=1)):
        missed = [goal for goal in section([first, worse], MIRRORS, limited=True).goals if not goal.met]
        assert len(missed) == 1


def test_a_run_that_mirrored_nothing_says_nothing() -> None:
    with pytest.raises(BenchError, match="nothing was mirrored"):
        section([phase(1, 1), phase(2, 1)], MIRRORS | {"paired": 0.0}, limited=True)


def test_where_no_group_can_be_made_the_table_says_so() -> None:
    made = section([phase(1, 1), phase(2, 1)], MIRRORS, limited=False)
    assert any("not limited" in remark for remark in made.remarks)
    assert Group(None).kills() == 0


def test_memory_is_that_of_a_process_and_none_of_one_that_ended() -> None:
    assert proportional_bytes(os.getpid()) > 2**20
    assert proportional_bytes(2**30) == 0
