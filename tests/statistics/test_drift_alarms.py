"""The drift alarm: how seldom it is wrong, how soon it is right, and the rain series replayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import replay
from bench.replay import Replay
from control.drift_watch import DriftWatch
from monitoring.drift.drawing import Seen
from monitoring.drift.hour import Hour, columns
from monitoring.drift.profile import Profile, profile
from settings.schema import DriftGuard, GuardSettings

ALPHA = 0.05
SHIFT = 0.1


def requests(count: int, random: np.random.Generator, *, moved: float = 0.0) -> list[Seen]:
    """Requests of which a share `moved` has another place, and ages that do not change."""
    ages = random.normal(40, 10, count).tolist()
    places = np.where(random.random(count) < moved, "abroad", random.choice(["north", "south"], count))
    return [
        Seen(0.0, at + 1, 0.01, {"age": age, "place": place}, True, age > 40, None, ())
        for at, (age, place) in enumerate(zip(ages, places.tolist(), strict=True))
    ]  # fmt: skip


def learned(random: np.random.Generator) -> Profile:
    return profile(columns(requests(20_000, random)), "learned", categories=5)


def alarmed(of: Profile, random: np.random.Generator, moved: float, batches: int) -> int | None:
    """After how many requests the alarm began; None: never."""
    settings = GuardSettings(false_alarm=ALPHA, drift=DriftGuard(SHIFT), vote_window=0.0)
    watch = DriftWatch(of, of.digest, settings)
    for batch in range(batches):
        rows = requests(100, random, moved=moved)
        if watch.take(rows, Hour(of).take(rows, {}, ()), 0.0, 0.0):
            return 100 * (batch + 1)
    return None


def test_a_shift_at_the_limit_raises_the_alarm_as_seldom_as_is_said() -> None:
    """Forty endpoints, each with 2000 requests of which exactly the allowed share has moved."""
    random = np.random.default_rng(1)
    of = learned(random)
    # 4.2 % of a learned reference's 20 000 rows is chance: it is left out of what is moved.
    alarms = sum(alarmed(of, random, SHIFT - 0.01, 20) is not None for _ in range(40))
    assert alarms <= 40 * ALPHA + 3


def test_a_shift_of_three_times_the_limit_is_found_in_some_hundred_requests() -> None:
    random = np.random.default_rng(2)
    of = learned(random)
    found = [alarmed(of, random, 3 * SHIFT, 30) for _ in range(5)]
    assert all(one is not None and one <= 1000 for one in found), found


def test_an_alarm_goes_on_where_it_was_and_only_against_the_same_profile() -> None:
    random = np.random.default_rng(3)
    of, other = learned(random), learned(random)
    settings = GuardSettings(false_alarm=ALPHA, drift=DriftGuard(SHIFT), vote_window=0.0)
    watch = DriftWatch(of, of.digest, settings)
    rows = requests(1000, random, moved=0.5)
    assert watch.take(rows, Hour(of).take(rows, {}, ()), 0.0, 7.0)
    again, fresh = DriftWatch(of, of.digest, settings), DriftWatch(other, other.digest, settings)
    for one in (again, fresh):
        one.restore(watch.keep())
    assert again.alarm() == watch.alarm()
    assert again.alarm().since == 7.0
    assert fresh.alarm().since is None
    assert "place" in again.alarm().report.cohort


@pytest.fixture(scope="module")
def replayed() -> Replay:
    return replay.replay()


def test_the_rains_drift_is_found_where_it_is_and_not_before(replayed: Replay) -> None:
    assert replayed.turned == 8400
    assert replayed.drift_found is not None
    assert replayed.turned < replayed.drift_found <= replayed.turned + 200
    assert replayed.drift_column in ("dew point", "sea-level pressure", "confidence")


def test_the_rains_lost_accuracy_is_found_when_labels_tell_and_not_before(replayed: Replay) -> None:
    assert replayed.accuracy_found is not None
    assert replayed.turned < replayed.accuracy_found <= replayed.turned + 1100
    before = [year.wrong for year in replayed.years if year.until <= replayed.turned]
    after = [year.wrong for year in replayed.years if year.until > replayed.turned + replay.YEAR]
    assert np.mean(before) == pytest.approx(0.2, abs=0.03)
    assert np.mean(after) == pytest.approx(0.38, abs=0.04)
    assert max(before) < min(after)


def test_what_the_documentation_tells_of_the_replay_is_so(replayed: Replay) -> None:
    page = (replay.ROOT / "docs" / "drift.md").read_text()
    for found in (replayed.drift_found, replayed.accuracy_found):
        assert found is not None
        assert f"day {found}" in page
    assert f"{replayed.accuracy_labels} labels" in page
    assert (replay.ROOT / "docs" / "drift.svg").stat().st_size > 10_000


def test_the_replay_is_drawn(replayed: Replay, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / "drift.svg"
    replay.draw(replayed, chart)
    assert chart.read_text().startswith("<?xml")
