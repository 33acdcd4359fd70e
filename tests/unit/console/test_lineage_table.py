"""Lineage as people see it on the command line: what is known, what is not, and nothing read as markup."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from console import lineage, tables
from console.views import (
    DatasetView,
    EndpointView,
    LineageView,
    RecordView,
    SwitchView,
    VersionView,
)

RECORD = RecordView(
    source="models:/rain@champion",
    version="3",
    datasets=(DatasetView("weather", "7", "sha256:1", "s3://rain/weather"), DatasetView("soil", role="test")),
    commit="4f1a",
    repository="https://git.example/rain",
    schema="v3 [bold]x[/bold]\x1b[2J",
    hyperparameters={f"p{number:02}": str(number) for number in range(15)},
    metrics={"accuracy": 0.91},
    created="2026-01-02T03:04:05+00:00",
    author="ada",
)
KNOWN = LineageView("known", None, ("models:/rain@champion",), missing=("transformation",), record=RECORD)
NONE = LineageView("none", "lineage.yaml has no version 'rain-1'", ("file:rain-1",), missing=("commit",))
STALE = LineageView("stale", "MLflow is away", stale_since="2026-01-02T03:04:05+00:00", record=RECORD)


def view(incumbent: LineageView | None, candidate: LineageView | None) -> EndpointView:
    return EndpointView(
        endpoint="rain",
        path="/rain",
        incumbent=VersionView("rain-1", (), incumbent),
        candidate=VersionView("rain-2", (), candidate),
        switch=SwitchView(tripped=False),
        verdict="pass",
    )


def seen(*parts: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_both_versions_stand_side_by_side_with_what_is_known() -> None:
    text = seen(*lineage.section(view(NONE, KNOWN)))
    for word in (
        "models:/rain@champion", "weather 7, sha256:1, s3://rain/weather", "soil (test)", "4f1a of https://git",
        "p00 = 0", "and 3 more", "accuracy = 0.91", "2026-01-02 03:04:05.000 UTC", "ada", "transformation",
        "no lineage: lineage.yaml has no version 'rain-1'",
    ):  # fmt: skip
        assert word in text
    assert "[bold]x[/bold]" in text
    assert "\x1b" not in text


def test_a_version_without_lineage_is_seen_in_the_overview_too() -> None:
    text = seen(tables.overview([view(NONE, KNOWN)]))
    assert "rain-1 (no lineage)" in text
    assert "rain-2 (" not in text
    text = seen(tables.overview([view(LineageView("waiting"), STALE)]))
    assert "rain-1 (lineage not known yet)" in text
    assert "rain-2 (lineage stale)" in text


def test_stale_lineage_says_since_when_and_why() -> None:
    text = seen(tables.endpoint(view(STALE, STALE)))
    assert "lineage stale since 2026-01-02 03:04:05.000 UTC: MLflow is away" in text


def test_a_gateway_that_does_not_tell_is_taken_as_it_is() -> None:
    assert lineage.section(view(None, None)) == []
    assert "(" not in str(lineage.named(VersionView("rain-1")))
