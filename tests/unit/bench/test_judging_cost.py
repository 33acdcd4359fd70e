"""The scenario `judging` judges what it says: healthy pairs, with eight guards, each of which votes."""

from __future__ import annotations

from pathlib import Path

from bench import judging
from bench.report import rendered


def test_every_pair_is_judged_by_every_guard_and_the_candidate_is_healthy() -> None:
    one = judging.judge()
    for start in range(0, 1024, 256):
        assert one.judge(judging.pairs(1024)[start : start + 256]) is None
    assert one.tally.judged == 1024
    reports = one.reports()
    assert len(reports) == 8
    assert all(report.count >= 700 for report in reports), "but for the latencies that are learned from first"


def test_the_table_has_a_row_a_batch_size(tmp_path: Path) -> None:
    cost = judging.measured(judging.pairs(512), 256)
    assert cost.lowest <= cost.median
    assert 0 < cost.guards < cost.lowest
    section = judging.run(tmp_path, quick=True)
    assert [row[0] for row in section.rows] == [str(size) for size in judging.BATCHES]
    assert "pairs/s" in rendered(section)
