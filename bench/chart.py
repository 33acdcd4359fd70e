"""One picture of a run: CPU time a request of the gateway and of its peers, forwarding and mirroring."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PANELS = {"forward": "forwarding", "mirror": "mirroring 100 %"}
OFF_THE_SCALE = "naive"
"""A hundred times the others: its bar is cut, and labelled with its figure."""


def medians(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """CPU µs a request by subject, cheapest first; `samples` as a report's JSON holds them."""
    by_subject: dict[str, list[float]] = {}
    for sample in samples:
        by_subject.setdefault(sample["subject"], []).append(sample["cpu"] * 1e6)
    costs = {subject: statistics.median(values) for subject, values in by_subject.items()}
    return dict(sorted(costs.items(), key=lambda item: item[1]))


def draw(document: Mapping[str, Any], path: Path) -> bool:
    """Write the chart of a report's JSON to `path`; False when the run has neither of the two scenarios.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra `bench`).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "pointsman"  # the same run makes the same file
    from matplotlib import pyplot as plt

    panels = {section["name"]: section for section in document["sections"] if section["name"] in PANELS}
    if not panels:
        return False
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.2), squeeze=False)
    for axis, (name, section) in zip(axes[0], panels.items(), strict=True):
        costs = medians(section["raw"]["samples"])
        longest = 1.25 * max(
            (cost for subject, cost in costs.items() if subject != OFF_THE_SCALE), default=1.0
        )
        colours = ["#1f77b4" if subject.startswith("pointsman") else "#b0b0b0" for subject in costs]
        bars = axis.barh(list(costs), [min(cost, longest) for cost in costs.values()], color=colours)
        axis.bar_label(bars, [f"{cost:.0f}" for cost in costs.values()], padding=3)
        axis.set_xlim(0, longest * 1.18)
        axis.invert_yaxis()
        axis.set_title(PANELS[name])
        axis.set_xlabel("CPU µs a request")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return True
