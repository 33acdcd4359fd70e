"""The drift gate: bounds that hold, and weeks compared hour by hour."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from gates.checks.drift import Drift, variation, weeks
from gates.files import Table
from gates.gate import GateContext
from gates.result import Judgement
from tests.support.trials import context_of, settings_of

HOUR, DAY = 3600.0, 86_400.0


def written(path: Path, values: Any, names: str = "wet,warm") -> str:
    np.savetxt(path, values, delimiter=",", header=names, comments="", fmt="%.12g")
    return str(path)


def judged(gate: dict[str, Any]) -> Judgement:
    async def scenario() -> Judgement:
        async with context_of(settings_of(1, 2, {"drift": {"shift": "10%", **gate}})) as context:
            return await _run(context)

    return asyncio.run(scenario())


async def _run(context: GateContext) -> Judgement:
    assert context.endpoint.gates.drift is not None
    return await Drift(context.endpoint.gates.drift).run(context)


@pytest.mark.parametrize(
    ("moved", "rows", "verdict"),
    [(0.0, 8000, Verdict.PASS), (0.0, 300, Verdict.INCONCLUSIVE), (1.0, 8000, Verdict.FAIL)],
)
def test_inputs_are_held_against_a_reference_file(
    tmp_path: Path, moved: float, rows: int, verdict: Verdict
) -> None:
    draw = np.random.default_rng(2)
    reference = written(tmp_path / "reference.csv", draw.normal(size=(rows, 2)))
    recent = written(tmp_path / "recent.csv", draw.normal((0.0, moved), size=(rows, 2)))
    found = judged({"data": recent, "against": reference})
    assert found.verdict is verdict, found
    if moved:
        assert "'warm' moved most" in found.sentence


def test_the_bounds_hold_for_every_true_variation() -> None:
    draw = np.random.default_rng(8)
    missed = []
    for _ in range(100):
        # Uniform on [0, 1] against uniform on [d, 1 + d]: the total variation is d, whatever the bins.
        d = draw.uniform(0.0, 0.5)
        _, low, high = variation(draw.uniform(size=2000), draw.uniform(size=1500) + d, 1)
        coarse = np.floor(d * 10) / 10 - 0.1  # bins see a little less than all of it
        missed.append((low > d, high < coarse))
    assert np.mean(missed, axis=0).max() <= 0.05


def test_missing_values_are_a_bin_of_their_own() -> None:
    draw = np.random.default_rng(8)
    known, gone = draw.normal(size=5000), draw.normal(size=5000)
    gone[:2000] = np.nan
    estimate, low, _ = variation(known, gone, 1)
    assert estimate == pytest.approx(0.4, abs=0.05)
    assert low > 0.3


def test_weeks_are_compared_in_the_hours_that_both_have() -> None:
    start = 100 * 7 * DAY
    prior = [start + hour * HOUR for hour in range(24)]
    this = [start + 7 * DAY + hour * HOUR for hour in range(12, 36)]
    old = [start - 3 * DAY]
    times = [*old, *prior, *this]
    table = Table("inputs.csv", {"time": list(times), "x": list(range(len(times)))})
    before, now = weeks(table, "time")
    assert before.columns["time"] == prior[12:]
    assert now.columns["time"] == this[:12]


def test_a_prior_week_comes_from_one_file(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    at = np.arange(20_000) * 60.0 + 1e9
    steady = written(tmp_path / "a.csv", np.stack([at, draw.normal(size=20_000)], axis=1), "time,x")
    shifted = np.where(at > at[-1] - 7 * DAY, 1.0, 0.0) + draw.normal(size=20_000)
    moved = written(tmp_path / "b.csv", np.stack([at, shifted], axis=1), "time,x")
    assert judged({"data": steady}).verdict is Verdict.PASS
    assert judged({"data": moved}).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("gate", "complaint"),
    [
        ({}, "no recorded inputs: give a file"),
        ({"data": "missing.csv"}, "missing.csv cannot be read"),
        ({"data": "DATA"}, "no column 'time'"),
        ({"data": "DATA", "against": "DATA", "features": ["cold"]}, "no column 'cold'"),
        ({"data": "DATA", "against": "WORDS"}, "0 columns of numbers"),
        ({"data": "DATA", "time": "wet"}, "no hour of the week that both weeks"),
        ({"data": "FEW", "against": "DATA"}, "2 recent rows"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(
    tmp_path: Path, gate: dict[str, Any], complaint: str
) -> None:
    draw = np.random.default_rng(4)
    files = {
        "DATA": written(tmp_path / "data.csv", draw.normal(size=(200, 2))),
        "FEW": written(tmp_path / "few.csv", draw.normal(size=(2, 2))),
        "WORDS": str(tmp_path / "words.csv"),
    }
    Path(files["WORDS"]).write_text("city\nWellington\n")
    with pytest.raises(GateError, match=complaint):
        judged(
            {key: files.get(value, value) if isinstance(value, str) else value for key, value in gate.items()}
        )


def test_a_text_among_numbers_is_named_and_never_left_out(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(size=(200, 2))
    whole = written(tmp_path / "whole.csv", values)
    broken = tmp_path / "broken.csv"
    broken.write_text(Path(whole).read_text() + "0.5,unknown\n")
    for gate in (
        {"data": whole, "against": str(broken)},
        {"data": str(broken), "against": whole},
        {"data": str(broken), "against": str(broken), "features": ["warm"]},
    ):
        with pytest.raises(GateError, match=r"column 'warm' of .*broken\.csv holds 'unknown'"):
            judged(gate)
