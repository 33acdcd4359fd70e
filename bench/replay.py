"""`python -m bench.replay [--chart FILE] [--json]`: the rain series replayed, day by day, its labels late.

A model is trained on the first ten years of daily weather and serves the forty that follow, as the file was
published: from day 12 000 on, which is day 8400 of the replay, every feature stands one column to the left of
its heading (examples/rain/PROVENANCE.md). Nothing about the requests is wrong in form. What must be seen:
the drift of the inputs at once, the loss of accuracy when labels tell, neither of them before.

The code is the control process's own: a profile of the training days, the alarm of `control.drift_watch`, and
the anytime-valid evidence of `killswitch.guard` on whether a prediction was wrong. Two things are the
experiment's. The days of a year come in an order drawn by lot, as if clients asked about any day of the last
year: against a profile of whole years each winter is a drift by itself. And visibility is left out of the
alarm: it was measured in another way in later years and drifts on its own, as the chart shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.process import ROOT
from control.drift_view import column_named, sentence
from control.drift_watch import DriftWatch
from examples.rain.data import FEATURES, ROTATED_FROM, load
from examples.rain.models import Recipe, train
from killswitch.guard import Guard
from killswitch.signals import ACCURACY, Signal, check
from monitoring.drift.drawing import Seen
from monitoring.drift.hour import Hour, columns
from monitoring.drift.profile import FEATURE, Profile, profile
from settings.schema import DriftGuard, GuardSettings

__all__ = ["ROOT", "Replay", "Year", "draw", "main", "replay", "summary"]

Rows = npt.NDArray[np.float64]

TRAINED = 3600
"""Days that the model learns from: the rest is replayed."""
TURNED = ROTATED_FROM - TRAINED
"""The day of the replay from which on the columns are turned."""
YEAR = 365
BATCH = 20
"""Requests that come at once."""
POST = 7
"""Days between two deliveries of labels."""
DAY = 86_400.0
SHIFT = 0.4
"""The total variation that is allowed."""
WRONG = 0.25
"""The share of wrong predictions that is allowed; in training it is 0.2."""
FALSE_ALARM = 0.001
LATEST = 60
"""A label is known after 1 to so many days, and comes with the next delivery."""
LEFT_OUT = "visibility"
SEED = 1


@dataclass(frozen=True, slots=True)
class Year:
    """One year of the replay: its last day, the share of wrong predictions, and the shift by feature."""

    until: int
    wrong: float
    shifts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Replay:
    """What was found. Days count from the replay's first one; None: never."""

    turned: int
    drift_found: int | None
    drift_column: str
    drift_sentence: str
    accuracy_found: int | None
    accuracy_labels: int
    years: tuple[Year, ...]


def replay(seed: int = SEED) -> Replay:
    """Replay the series; the same seed finds the same."""
    series = load()
    model = train(series, Recipe("rain-1", TRAINED, 1.0))
    served = as_published(series.rows)[TRAINED:]
    truth = series.rained[TRAINED:] == 1
    likely = model.probabilities(served)
    wrong = (likely >= 0.5) != truth
    random = np.random.default_rng(seed)
    learned = requests(series.rows[:TRAINED], model.probabilities(series.rows[:TRAINED]), range(TRAINED))
    reference = profile(columns(learned), f"the first {TRAINED} days", categories=10)
    order = np.concatenate([begin + random.permutation(YEAR) for begin in range(0, len(served) - YEAR, YEAR)])
    years, found = drifted(reference, served[order], likely[order], wrong[order])
    alarmed, by, told = found
    lost, labels = accuracy_lost(wrong[order], random)
    return Replay(TURNED, alarmed, by, told, lost, labels, years)


def as_published(rows: Rows) -> Rows:
    """`rows` with every feature one column to the left from `ROTATED_FROM` on, as the file has them."""
    whole = rows.copy()
    whole[ROTATED_FROM:] = np.roll(rows[ROTATED_FROM:], -1, axis=1)
    return whole


def requests(rows: Rows, likely: Rows, days: Sequence[int]) -> list[Seen]:
    """A request a day, as the prediction log has it."""
    return [
        Seen(
            day * DAY, day + 1, 0.01, dict(zip(FEATURES, row.tolist(), strict=True)), True,
            "rain" if chance >= 0.5 else "dry", max(chance, 1 - chance), (),
        )
        for day, row, chance in zip(days, rows, likely.tolist(), strict=True)
    ]  # fmt: skip


def drifted(
    reference: Profile, served: Rows, likely: Rows, wrong: npt.NDArray[np.bool_]
) -> tuple[tuple[Year, ...], tuple[int | None, str, str]]:
    """Every year's distances; and the day, the column and the words of the first alarm."""
    watched = Profile(
        tuple(one for one in reference.columns if one.name != FEATURE + LEFT_OUT), reference.origin
    )
    settings = GuardSettings(false_alarm=FALSE_ALARM, drift=DriftGuard(SHIFT), vote_window=0.0)
    watch = DriftWatch(watched, watched.digest, settings)
    years: list[Year] = []
    first: tuple[int | None, str, str] = None, "", ""
    for begin in range(0, len(served), YEAR):
        whole = Hour(reference)
        days = range(begin, begin + YEAR)
        rows = requests(served[begin : days.stop], likely[begin : days.stop], days)
        cells = whole.take(rows, {}, ())
        for start in range(0, YEAR, BATCH):
            part = slice(start, start + BATCH)
            day = begin + min(part.stop, YEAR)
            mine = {name: found[part] for name, found in cells.items()}
            if watch.take(rows[part], mine, day * DAY, day * DAY) and first[0] is None:
                report = watch.alarm().report
                first = day, column_named(report.cohort), sentence(report.sentence)
        shifts = {
            name.removeprefix(FEATURE): one.distance(0.05).shift.estimate
            for name, one in whole.sketches.items()
        }
        years.append(Year(begin + YEAR, float(wrong[begin : begin + YEAR].mean()), shifts))
    return tuple(years), first


def accuracy_lost(wrong: npt.NDArray[np.bool_], random: np.random.Generator) -> tuple[int | None, int]:
    """The day on which labels have shown that too many predictions are wrong, and how many had come since
    the columns were turned."""
    guard = Guard(check(Signal(ACCURACY, WRONG, 0.0, 1.0)), 1 / FALSE_ALARM)
    arrival = np.arange(len(wrong)) + random.integers(1, LATEST + 1, len(wrong))
    by_day: dict[int, list[int]] = {}
    for place, day in enumerate(arrival.tolist()):
        by_day.setdefault(POST * -(-day // POST), []).append(place)
    since = 0
    for day in sorted(by_day):
        mine = by_day[day]
        since += sum(place >= TURNED for place in mine)
        guard.add([guard.read(wrong[mine].astype(np.float64), [place * DAY for place in mine])])
        if guard.breaches:
            return day, since
    return None, since


def draw(found: Replay, path: Path) -> None:
    """Write the chart to `path`. Raises ModuleNotFoundError without matplotlib (the extra `bench`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "pointsman"  # the same replay makes the same file
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6.2), sharex=True)
    ends = [year.until for year in found.years]
    for name in found.years[0].shifts:
        colour = {"prediction": "#d62728", "confidence": "#ff9896", LEFT_OUT: "#2ca02c"}.get(name, "#b0b0b0")
        label = f"{name} (left out of the alarm)" if name == LEFT_OUT else name
        plain = colour == "#b0b0b0"
        above.plot(
            ends, [year.shifts[name] for year in found.years], color=colour, linewidth=1.2,
            label="a feature" if plain and name == FEATURES[0] else None if plain else label,
        )  # fmt: skip
    above.axhline(SHIFT, color="black", linestyle=":", linewidth=1)
    above.set_ylabel("total variation from training, by year")
    below.plot(
        ends, [year.wrong for year in found.years], color="#1f77b4", label="wrong predictions, by year"
    )
    below.axhline(WRONG, color="black", linestyle=":", linewidth=1)
    below.set_ylabel("share of wrong predictions")
    below.set_xlabel("day of the replay")
    for axis, day, words in (
        (above, found.drift_found, "drift found"), (below, found.accuracy_found, "loss of accuracy found"),
    ):  # fmt: skip
        axis.axvline(found.turned, color="#888888", linestyle="--", linewidth=1, label="columns are turned")
        if day is not None:
            axis.axvline(day, color="#d62728", linewidth=1, label=f"{words}, day {day}")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def summary(found: Replay) -> str:
    """For people."""
    before = [year.wrong for year in found.years if year.until <= found.turned]
    after = [year.wrong for year in found.years if year.until > found.turned + YEAR]

    def said(day: int | None) -> str:
        return "never" if day is None else f"day {day}, {day - found.turned} days after"

    return "\n".join(
        (
            f"columns are turned      day {found.turned} of the replay",
            f"drift found             {said(found.drift_found)}: {found.drift_sentence}",
            f"loss of accuracy found  {said(found.accuracy_found)}, with {found.accuracy_labels} labels",
            f"wrong a year, before    {min(before):.2f} to {max(before):.2f}, mean {np.mean(before):.2f}",
            f"wrong a year, after     {min(after):.2f} to {max(after):.2f}, mean {np.mean(after):.2f}",
        )
    )


def main(given: Sequence[str]) -> int:
    """Run the replay; returns the exit code: 1 where something was found too early, or never."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description="the rain series replayed")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write a chart, .svg or .png")
    parser.add_argument("--json", action="store_true", help="print JSON for machines, nothing else")
    asked = parser.parse_args(given)
    found = replay()
    print(json.dumps(asdict(found)) if asked.json else summary(found))
    if asked.chart is not None:
        draw(found, asked.chart)
    days = (found.drift_found, found.accuracy_found)
    return 0 if all(day is not None and day >= found.turned for day in days) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
