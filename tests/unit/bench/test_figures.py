"""A run's figures in the documentation, and its chart."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import chart
from bench.document import BEGIN, END, PAGE, figures, replaced
from bench.process import BenchError
from bench.report import Goal, Report, Section

SAMPLES = [
    {"subject": "nginx", "cpu": 30e-6},
    {"subject": "nginx", "cpu": 20e-6},
    {"subject": "nginx", "cpu": 28e-6},
    {"subject": "pointsman, pure Python", "cpu": 25e-6},
    {"subject": "naive", "cpu": 3e-3},
]
REPORT = Report(
    "2026-01-02T03:04:05Z",
    {"run": "quick"},
    (
        Section(
            "forward",
            "Forwarding",
            ("", "CPU"),
            (("nginx", "28.0"),),
            (Goal("over nginx's", 0.9, 1.0, " ×"),),
            ("a remark",),
            {"samples": SAMPLES},
        ),
    ),
).document()


def test_what_stands_between_the_markers_is_replaced_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = replaced(page, "new")
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replaced(once, "new") == once


@pytest.mark.parametrize("page", ["nothing", BEGIN, END, f"{END} {BEGIN}"])
def test_a_page_without_its_markers_is_left_alone(page: str) -> None:
    with pytest.raises(BenchError, match="markers"):
        replaced(page, "new")


def test_the_page_has_its_markers() -> None:
    assert "new" in replaced(PAGE.read_text(), "new")


def test_the_figures_survive_the_way_through_json() -> None:
    text = figures(REPORT, "performance.svg")
    assert "Measured 2026-01-02." in text
    assert "### Forwarding" in text
    assert "- met: over nginx's 0.9 ×, limit 1 ×" in text
    assert "(performance.svg)" in text
    assert "- a remark" in text


def test_the_chart_shows_medians_cheapest_first() -> None:
    found = chart.medians(SAMPLES)
    assert list(found) == ["pointsman, pure Python", "nginx", "naive"]
    assert found["nginx"] == pytest.approx(28)


def test_a_chart_is_drawn_of_the_two_comparisons_only(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    path = tmp_path / "chart.svg"
    assert chart.draw(REPORT, path)
    assert path.read_text().count("<path") > 10
    assert not chart.draw({"sections": []}, tmp_path / "none.svg")
