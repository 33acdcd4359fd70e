"""Boards as Grafana reads them: JSON, made with Grafana's own builders (the extra `dashboards`)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboards.board import Board, Panel, Query, Row

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
"""The Prometheus that is chosen above the board."""

_HEIGHT = 8
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Builder = TypeVar("Builder", timeseries.Panel, stat.Panel)


def write(folder: Path, boards: tuple[Board, ...]) -> list[Path]:
    """Write each of `boards` to a file in `folder`, which is made; the files' paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for board in boards:
        path = folder / f"{board.name}.json"
        path.write_text(text(board) + "\n", encoding="utf-8")
        written.append(path)
    return written


def text(board: Board) -> str:
    """`board` as Grafana's JSON."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.name)
        .description(board.text)
        .tags(["pointsman"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .link(
            dashboard.DashboardLink("Pointsman")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["pointsman"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    if board.chosen:
        built = built.with_variable(
            dashboard.QueryVariable("endpoint")
            .label("Endpoint")
            .datasource(SOURCE)
            .query("label_values(pointsman_killswitch_tripped, endpoint)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    numbers = itertools.count(1)
    for row in board.rows:
        built = _with_row(built, row, numbers)
    return json.dumps(json.loads(JSONEncoder().encode(built.build())), indent=2, sort_keys=True)


def _with_row(built: dashboard.Dashboard, row: Row, numbers: Iterator[int]) -> dashboard.Dashboard:
    built = built.with_row(dashboard.Row(row.title).id(next(numbers)))
    for panel in row.panels:
        if panel.numbers:
            built = built.with_panel(_fill(_numbers(), panel).id(next(numbers)))
        else:
            built = built.with_panel(_fill(_lines(), panel).id(next(numbers)))
    return built


def _numbers() -> stat.Panel:
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(reduced).text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)


def _lines() -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    return timeseries.Panel().line_width(1).fill_opacity(8).legend(legend)


def _fill(built: Builder, panel: Panel) -> Builder:
    built = (
        built.title(panel.title)
        .description(panel.text)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(_HEIGHT)
        .thresholds(_thresholds(panel.alarm))
    )
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        built = built.with_target(_target(letter, query))
    return built


def _thresholds(alarm: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if alarm is not None:
        steps.append(models.Threshold(value=alarm, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(letter)
        .datasource(SOURCE)
        .exemplar("_bucket" in query.expression)
    )
