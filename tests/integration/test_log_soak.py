"""Traffic at speed with a kill in the middle: nothing lost, nothing twice, in bounds, memory flat."""

from __future__ import annotations

from pathlib import Path

from bench.soak import Soak, soak


def test_the_log_s_process_keeps_all_of_it_in_bounds(tmp_path: Path) -> None:
    seen = soak(tmp_path, 50_000)
    assert seen.faults() == []
    assert seen.kept == seen.sent == 50_000


def test_a_soak_tells_what_should_not_have_been() -> None:
    flat = (10**8,) * 4
    fine = Soak(100, 100, 0, 1, 1, 1000, (flat, flat), 1e-4)
    assert fine.faults() == []
    grown = (10**8, 10**8, 2 * 10**8, 4 * 10**8)
    bad = Soak(100, 99, 1, 1, 1, 10**9, (flat, grown), 1e-4)
    assert len(bad.faults()) == 4
