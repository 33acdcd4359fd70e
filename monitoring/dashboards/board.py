"""A dashboard as values: rows of panels, each with its queries. Nothing here knows Grafana."""

from __future__ import annotations

from dataclasses import dataclass

ENDPOINT = 'endpoint=~"$endpoint"'
"""Selects the endpoints that are chosen above the board."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called; `$__rate_interval` and variables are Grafana's."""

    expression: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `unit` is Grafana's name of it; `numbers` shows the latest values instead of lines.

    `alarm` is the value from which on it is drawn red.
    """

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: str = "short"
    numbers: bool = False
    alarm: float | None = None
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side under a headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `name` is its identity, in URLs and as a file; `chosen`: it asks for endpoints."""

    name: str
    title: str
    text: str
    rows: tuple[Row, ...]
    chosen: bool = True


def quantile(q: float, metric: str, by: str, selector: str = "") -> str:
    """PromQL: the `q` quantile of a histogram of late, by some labels."""
    return (
        f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"
    )


def rate(metric: str, by: str, selector: str = "") -> str:
    """PromQL: how fast a counter grows, by some labels."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"
