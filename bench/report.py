"""What a run has measured, as one table for people (Markdown) and one document for machines (JSON)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.openloop import percentile


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that must not exceed `limit`."""

    name: str
    measured: float
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """False also when the figure is not a number: not measured is not met."""
        return self.measured <= self.limit

    def sentence(self) -> str:
        verdict = "met" if self.met else "MISSED"
        measured, limit = number(self.measured), number(self.limit)
        return f"{verdict}: {self.name} {measured}{self.unit}, limit {limit}{self.unit}"


@dataclass(frozen=True, slots=True)
class Section:
    """One scenario: a table, the goals it is held against, remarks, and every single measurement (`raw`)."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...] = ()
    remarks: tuple[str, ...] = ()
    raw: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One run: when (UTC, ISO), on what, and its sections."""

    at: str
    environment: Mapping[str, str]
    sections: tuple[Section, ...]

    def document(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "at": self.at,
            "environment": dict(self.environment),
            "sections": [
                {
                    "name": section.name,
                    "title": section.title,
                    "columns": list(section.columns),
                    "rows": [list(row) for row in section.rows],
                    "goals": [
                        {
                            "name": goal.name,
                            "measured": goal.measured,
                            "limit": goal.limit,
                            "unit": goal.unit,
                            "met": goal.met,
                        }
                        for goal in section.goals
                    ],
                    "remarks": list(section.remarks),
                    "raw": dict(section.raw),
                }
                for section in self.sections
            ],
        }

    def markdown(self) -> str:
        """The form for people."""
        lines = [f"# Benchmarks of {self.at}", ""]
        lines += [f"- {name}: {value}" for name, value in self.environment.items()]
        for section in self.sections:
            lines += ["", rendered(section)]
        return "\n".join(lines) + "\n"

    @property
    def missed(self) -> tuple[Goal, ...]:
        return tuple(goal for section in self.sections for goal in section.goals if not goal.met)


def rendered(section: Section) -> str:
    """One section as Markdown, its table aligned so that it can be read as plain text too."""
    lines = [f"## {section.title}", "", table(section.columns, section.rows)]
    if section.goals:
        lines += ["", *(f"- {goal.sentence()}" for goal in section.goals)]
    if section.remarks:
        lines += ["", *(f"- {remark}" for remark in section.remarks)]
    return "\n".join(lines)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((first, *rest))} |"

    first, *rest = widths
    rule = "|".join(("-" * (first + 2), *("-" * (width + 1) + ":" for width in rest)))
    return "\n".join((line(columns), f"|{rule}|", *map(line, rows)))


def number(value: float) -> str:
    """Three significant digits, no exponent for what a benchmark measures."""
    if value != value:
        return "not measured"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


DELAYS = ("", "median ms", "p90 ms", "worst ms")


def delays(seconds: Mapping[str, Sequence[float]]) -> tuple[tuple[str, ...], ...]:
    """A row for each name, under the columns DELAYS."""
    return tuple(
        (
            name,
            milliseconds(statistics.median(values)),
            milliseconds(percentile(values, 0.9)),
            milliseconds(max(values)),
        )
        for name, values in seconds.items()
    )


def mebibytes(size: float) -> str:
    return f"{size / 2**20:.0f}"
