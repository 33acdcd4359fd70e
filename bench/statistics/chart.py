"""The picture of the delays: median pairs until the alarm, by how bad the candidate is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.statistics import bound
from bench.statistics.delays import ALPHA, EXACT, LIMIT, MANN_WHITNEY, NORMAL, POINTSMAN, WINDOWS, window_name

RATES = (0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.5)


def lines(raw: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Rates and median delays of each line; medians that are never reached are left out."""
    found: dict[str, tuple[list[float], list[float]]] = {
        "bound: ln(1/α) / KL": (list(RATES), [bound.pairs(rate, LIMIT, ALPHA) for rate in RATES])
    }
    found["Pointsman, bad from the start"] = _medians(raw[POINTSMAN]["start"])
    found["Pointsman, bad after 10 000 healthy pairs"] = _medians(raw[POINTSMAN]["late"])
    found["window of 100, late"] = _medians(raw[window_name(100)]["late"])
    found["best window for the rate, late"] = _best([raw[window_name(width)]["late"] for width in WINDOWS])
    found["mSPRT, exact, late"] = _medians(raw[EXACT]["late"])
    found["mSPRT, normal, late"] = _medians(raw[NORMAL]["late"])
    found["Mann-Whitney per minute, late"] = _medians(raw[MANN_WHITNEY]["late"])
    return found


def _medians(delays: Mapping[str, Mapping[str, float]]) -> tuple[list[float], list[float]]:
    """`delays` by rate, as JSON has it."""
    known = sorted((float(rate), one["median"]) for rate, one in delays.items())
    reached = [(rate, median) for rate, median in known if median < float("inf")]
    return [rate for rate, _ in reached], [median for _, median in reached]


def _best(
    delays: Sequence[Mapping[str, Mapping[str, float]]],
) -> tuple[list[float], list[float]]:
    rates = delays[0]
    return _medians({rate: {"median": min(one[rate]["median"] for one in delays)} for rate in rates})


def draw(raw: Mapping[str, Any], path: Path) -> None:
    """The chart, as SVG, the same bytes for the same figures; `raw` as a report's JSON holds it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra `bench`).
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "pointsman"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.5))
    styles = (
        ("black", "--", ""), ("tab:green", "-", "o"), ("tab:green", "-", "s"), ("tab:orange", ":", "v"),
        ("tab:orange", "-", "^"), ("tab:blue", "-", "x"), ("tab:blue", ":", "+"), ("tab:red", "-", "d"),
    )  # fmt: skip
    for (name, (rates, pairs)), (colour, line, mark) in zip(lines(raw).items(), styles, strict=True):
        axes.loglog(
            [100 * rate for rate in rates], pairs, line, color=colour, marker=mark, label=name, linewidth=1.6
        )
    axes.set_xlabel("true flip rate, % (limit 1 %)")
    axes.set_ylabel("pairs until the alarm, median")
    axes.set_xticks([2, 5, 12, 50], ["2", "5", "12", "50"])
    axes.set_xticks([], minor=True)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
