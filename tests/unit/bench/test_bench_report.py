"""Reports for people and for machines."""

from __future__ import annotations

import json

import pytest

from bench.report import Goal, Report, Section, number, rendered, table

SECTION = Section(
    name="forward",
    title="Forwarding",
    columns=("", "CPU µs/request", "× nginx"),
    rows=(("nginx", "24.1", ""), ("pointsman", "31.0", "1.29")),
    goals=(Goal("CPU a request", 31.0, 45.0, " µs"), Goal("over nginx's", 2.75, 2.5, " ×")),
    remarks=("two rounds",),
    raw={"rounds": [1, 2]},
)
REPORT = Report("2026-01-02T03:04:05Z", {"run": "quick"}, (SECTION,))


def test_a_table_lines_up_and_is_markdown() -> None:
    assert table(SECTION.columns, SECTION.rows) == (
        "|           | CPU µs/request | × nginx |\n"
        "|-----------|---------------:|--------:|\n"
        "| nginx     |           24.1 |         |\n"
        "| pointsman |           31.0 |    1.29 |"
    )


def test_a_section_says_of_every_goal_whether_it_was_met() -> None:
    text = rendered(SECTION)
    assert "- met: CPU a request 31 µs, limit 45 µs" in text
    assert "- MISSED: over nginx's 2.75 ×, limit 2.5 ×" in text
    assert text.endswith("- two rounds")


def test_what_was_not_measured_is_not_met() -> None:
    goal = Goal("p99", float("nan"), 1.0)
    assert not goal.met
    assert "not measured" in goal.sentence()


def test_the_limit_itself_is_met() -> None:
    assert Goal("median", 20.0, 20.0).met


def test_the_report_names_the_missed_goals_only() -> None:
    assert [goal.name for goal in REPORT.missed] == ["over nginx's"]


def test_the_document_survives_json() -> None:
    document = json.loads(json.dumps(REPORT.document()))
    assert document["at"] == REPORT.at
    (section,) = document["sections"]
    assert section["raw"] == {"rounds": [1, 2]}
    assert [goal["met"] for goal in section["goals"]] == [True, False]


def test_the_markdown_opens_with_when_and_where() -> None:
    assert REPORT.markdown().startswith(
        "# Benchmarks of 2026-01-02T03:04:05Z\n\n- run: quick\n\n## Forwarding\n"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(1.2345, "1.23"), (0.0, "0"), (123456.7, "123457"), (99.95, "100"), (2.5, "2.5")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text
