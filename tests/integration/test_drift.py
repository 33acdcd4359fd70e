"""Drift in the control process: from what the prediction log draws to the answer, the alarm, the audit."""

from __future__ import annotations

import asyncio
import csv
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from control import drift_sources
from control.clock import Clock
from control.drift_endpoint import DriftOf, Kept
from control.drifting import DriftDesk
from domain.errors import StateUnavailable
from monitoring.drift.drawing import Drawn, Seen
from tests.support.control import Here, here

NOON = 1_900_000_800.0
"""Wall time at which the tests begin: the first second of an hour."""
HOUR = 3600.0
DAY = 86_400.0

DRIFTING: dict[str, Any] = {
    "drift": {"learn": 400, "over": "0s"},
    "guards": {"flips": {"rate": "1%"}, "drift": {"shift": "20%"}},
    "cohorts": ["header:x-country"],
}


class Time:
    """Both clocks, set by hand."""

    def __init__(self, wall: float = NOON) -> None:
        self.wall = wall
        self.monotonic = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)

    def later(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def requests(count: int, at: float, seed: int, *, moved: float = 0.0, **more: Any) -> list[Seen]:
    """Requests with a number, a text, and a feature that is sometimes missing; `moved`: of the number."""
    random = np.random.default_rng(seed)
    ages = random.normal(40 + moved, 10, count).tolist()
    places = random.choice(["north", "south", "east"], count).tolist()
    some = random.random(count)
    return [
        Seen(
            at + one / count, int(random.integers(1, 2**63)), 0.01 if place != "east" else 0.2,
            {"age": age, "place": place, "income": None if chance < 0.1 else chance} | more,
            True, "yes" if age > 40 else "no", 0.5 + chance / 2, ("de" if chance < 0.5 else "fr",),
        )
        for one, (age, place, chance) in enumerate(zip(ages, places, some.tolist(), strict=True))
    ]  # fmt: skip


class Drawing:
    """Stands in for the log's process: hands over what it was given, once."""

    def __init__(self, desk: DriftDesk) -> None:
        self.waiting: list[Drawn] = []
        desk._predictions = self  # type: ignore[assignment]

    async def drawn(self) -> list[Drawn]:
        found, self.waiting = self.waiting, []
        return found

    def put(self, rows: Sequence[Seen]) -> None:
        self.waiting.append(Drawn("rain", 3 * len(rows), list(rows)))


async def looked(one: Here, time: Time, drawing: Drawing, rows: Sequence[Seen] = ()) -> None:
    """One look, later than what is done now and then; the desk's own loop may look in between."""
    if rows:
        drawing.put(rows)
    time.later(61.0)
    await one.control.drift.look()


async def settled(
    one: Here, time: Time, drawing: Drawing, fine: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Look until what is shown is `fine`: files are read beside it."""
    for _ in range(500):
        await looked(one, time, drawing)
        view = await shown(one)
        if fine(view):
            return view
        await asyncio.sleep(0.01)
    raise AssertionError(view)


def played(
    folder: Path, time: Time, scenario: Callable[[Here, Drawing], Awaitable[None]], **endpoint: Any
) -> None:
    async def play() -> None:
        async with here(folder, clock=time.clock(), **endpoint) as one:
            await scenario(one, Drawing(one.control.drift))

    asyncio.run(asyncio.wait_for(play(), 60))


async def shown(one: Here, query: str = "") -> dict[str, Any]:
    answer = await one.client.get(f"/api/v1/endpoints/rain/drift{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def column(view: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in view["columns"] if one["name"] == name)
    return found


def test_a_profile_is_learned_adopted_and_measured_against(tmp_path: Path) -> None:
    time = Time()

    async def scenario(one: Here, drawing: Drawing) -> None:
        view = await shown(one)
        assert (view["condition"], view["learning"]["requests"]) == ("learning", 0)
        await looked(one, time, drawing, requests(500, time.wall, 1))
        view = await shown(one)
        assert (view["condition"], view["learning"], view["problem"]) == ("watching", None, None)
        assert view["reference"]["rows"] == 500
        assert view["drawn"] == {"records": 1500, "skewed": 0, "taken": 500}
        adopted = [two for two in await events(one) if two["action"] == "drift.adopted"]
        assert [two["after"]["digest"] for two in adopted] == [view["reference"]["digest"]]

        healthy = requests(600, time.wall, 2)
        unsound = [Seen(at, 1, 0.1, {}, True, None, None, ()) for at in (time.wall + DAY, 0.0, float("nan"))]
        await looked(one, time, drawing, healthy + unsound)
        view = await shown(one)
        assert view["window"]["rows"] == 600
        assert view["drawn"]["skewed"] == 3
        assert [two["of"] for two in view["columns"]].count("feature") == 3
        assert all(two["shift_low"] == 0.0 for two in view["columns"]), "the same as it was"
        assert view["alarm"]["verdict"] != "fail"
        slow = [two for two in view["latency"]["slices"] if two["slow"]]
        assert [(two["by"], two["value"]) for two in slow] == [("feature:place", "'east'")]
        assert {two["value"] for two in view["latency"]["slices"] if two["by"] == "header:x-country"} == {
            "de", "fr",
        }  # fmt: skip

        told = one.control.events.listen()
        await looked(one, time, drawing, requests(600, time.wall, 3, moved=15.0, height=1.8))
        event = await told.next(10.0)
        assert event is not None
        assert (event.kind, event.data["endpoint"], event.data["version"]) == ("drift", "rain", "rain-1")
        assert "feature age" in str(event.data["reason"])
        view = await shown(one)
        assert view["alarm"]["verdict"] == "fail"
        assert view["alarm"]["column"] == "age"
        age = column(view, "age")
        assert age["shift_low"] > 0.05
        assert age["moved"] == pytest.approx(0.75, rel=0.2)
        assert age["above"] > 0
        assert sum(cell["share"] for cell in age["cells"]) == pytest.approx(1.0)
        assert view["unknown_features"] == {"height": 600}
        metrics = (await one.client.get("/metrics")).text
        assert 'pointsman_drift_alarm{endpoint="rain"} 1.0' in metrics
        assert 'pointsman_feature_drift{endpoint="rain",feature="age"}' in metrics
        assert 'pointsman_drift_requests_total{endpoint="rain",outcome="skewed"} 3.0' in metrics

        assert (await one.client.get("/api/v1/endpoints/rain/drift?hours=0")).status_code == 422
        assert (await one.client.get("/api/v1/endpoints/snow/drift")).status_code == 404
        digest = view["reference"]["digest"]
        answer = await one.client.post("/api/v1/endpoints/rain/drift/relearn", json={"reason": "new tariff"})
        assert (answer.status_code, answer.json()["condition"]) == (200, "learning")
        retired = [two for two in await events(one) if two["action"] == "drift.retired"]
        assert [(two["reason"], two["before"]) for two in retired] == [("new tariff", digest)]
        await looked(one, time, drawing, requests(500, time.wall, 4, moved=15.0))
        view = await shown(one)
        assert view["reference"]["digest"] != digest
        assert view["alarm"]["verdict"] != "fail"

    played(tmp_path, time, scenario, **DRIFTING)


async def events(one: Here) -> list[dict[str, Any]]:
    found = (await one.client.get("/api/v1/audit?limit=1000")).json()
    records = found["events"] if isinstance(found, dict) else found
    return [record.get("record", record) for record in records]


def test_a_restart_goes_on_with_learning_counts_and_alarm(tmp_path: Path) -> None:
    time = Time()

    async def first(one: Here, drawing: Drawing) -> None:
        await looked(one, time, drawing, requests(300, time.wall, 1))
        assert (await shown(one))["condition"] == "learning"

    async def second(one: Here, drawing: Drawing) -> None:
        assert (await shown(one))["learning"]["requests"] == 300
        await looked(one, time, drawing, requests(300, time.wall, 2))
        await looked(one, time, drawing, requests(500, time.wall, 3, moved=15.0))
        found.append(await shown(one))
        assert found[0]["alarm"]["verdict"] == "fail"

    async def third(one: Here, drawing: Drawing) -> None:
        await looked(one, time, drawing)
        view = await shown(one)
        for key in ("reference", "window", "columns", "latency", "alarm"):
            assert view[key] == found[0][key], key

    found: list[dict[str, Any]] = []
    played(tmp_path, time, first, **DRIFTING)
    for scenario in (second, third):
        time.later(1.0)
        played(tmp_path, time, scenario)


def test_weeks_are_compared_hours_pruned_and_a_dead_store_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()

    async def scenario(one: Here, drawing: Drawing) -> None:
        desk = one.control.drift
        await looked(one, time, drawing, requests(500, time.wall, 1))
        await looked(one, time, drawing, requests(400, time.wall, 2))
        first = await shown(one, "?hours=1")
        assert first["prior_week"] is None
        time.later(7 * DAY - 120.0)
        await looked(one, time, drawing, requests(400, time.wall, 3, moved=30.0))
        view = await shown(one, "?hours=24")
        assert view["prior_week"] == {"rows": 400, "compared_rows": 400}
        assert column(view, "age")["prior_week"]["shift"] > 0.4
        assert column(view, "place")["prior_week"]["shift"] < 0.2

        async def dead(work: object) -> object:
            raise StateUnavailable("no disk")

        before = column(view, "age")["rows"]
        with monkeypatch.context() as patch:
            patch.setattr(one.control.keeper, "run", dead)
            drawing.put(requests(200, time.wall, 4))
            time.later(61.0)
            with pytest.raises(StateUnavailable):
                await desk.look()
            assert (await one.client.get("/api/v1/endpoints/rain/drift")).status_code == 503
        await looked(one, time, drawing)
        assert column(await shown(one), "age")["rows"] == before + 200

        time.later(20 * DAY)
        await looked(one, time, drawing)
        kept = await one.control.keeper.run(
            lambda database: database.read(lambda on: on.exec_driver_sql("SELECT * FROM drift_hours").all())
        )
        assert kept == []

    played(tmp_path, time, scenario, **DRIFTING)


def test_a_file_of_training_data_is_the_reference_once_requests_say_which_columns_count(
    tmp_path: Path,
) -> None:
    time = Time()
    training = tmp_path / "training.csv"
    rows = requests(600, time.wall, 1)
    with training.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "place", "label"])
        writer.writerows([one.features["age"], one.features["place"], at] for at, one in enumerate(rows))

    async def scenario(one: Here, drawing: Drawing) -> None:
        await looked(one, time, drawing, requests(50, time.wall, 2))
        assert (await shown(one))["condition"] == "learning"
        await looked(one, time, drawing, requests(100, time.wall, 3))
        view = await settled(one, time, drawing, lambda view: view["condition"] == "watching")
        assert view["reference"]["origin"] == f"file {training}"
        await looked(one, time, drawing, requests(200, time.wall, 4))
        view = await shown(one)
        assert {two["name"] for two in view["columns"]} == {"age", "place"}, "labels are no feature"
        refused = await one.client.post("/api/v1/endpoints/rain/drift/relearn", json={"reason": "no"})
        assert (refused.status_code, "not learned" in refused.text) == (422, True)
        training.write_text("other\n1\n")
        view = await settled(one, time, drawing, lambda view: view["problem"])
        assert "none of its columns (other)" in view["problem"]
        assert view["condition"] == "watching", "the last good one stays"
        training.unlink()
        await settled(one, time, drawing, lambda view: "there is no file" in (view["problem"] or ""))

    drift = {"reference": str(training)}
    played(tmp_path, time, scenario, **{**DRIFTING, "drift": drift})


def test_a_file_that_takes_long_to_read_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    training = tmp_path / "training.csv"
    training.write_text("age\n" + "\n".join(str(20 + age % 40) for age in range(600)))
    going, may_go = threading.Event(), threading.Event()
    read = drift_sources.read

    def slowly(source: drift_sources.Source) -> drift_sources.Found:
        going.set()
        may_go.wait(30.0)
        return read(source)

    monkeypatch.setattr(drift_sources, "read", slowly)

    async def scenario(one: Here, drawing: Drawing) -> None:
        try:
            await looked(one, time, drawing, requests(150, time.wall, 1))
            await settled(one, time, drawing, lambda view: going.is_set())
            await looked(one, time, drawing, requests(150, time.wall, 2))
            view = await shown(one)
            assert (view["condition"], view["problem"]) == ("learning", None)
            assert view["learning"]["requests"] == 300
        finally:
            may_go.set()
        await settled(one, time, drawing, lambda view: view["condition"] == "watching")

    played(tmp_path, time, scenario, **{**DRIFTING, "drift": {"reference": str(training)}})


def test_an_alarm_outlives_a_restart_and_a_reload_before_its_profile_is_found_again(tmp_path: Path) -> None:
    time = Time()

    async def drifted(one: Here, drawing: Drawing) -> None:
        await looked(one, time, drawing, requests(500, time.wall, 1))
        await looked(one, time, drawing, requests(500, time.wall, 3, moved=15.0))
        assert (await shown(one))["alarm"]["verdict"] == "fail"

    played(tmp_path, time, drifted, **DRIFTING)

    async def again(one: Here, drawing: Drawing) -> None:
        (of,) = one.control.drift.endpoints.values()
        of.adopted, of.watch = None, None
        of.restored = one.control.drift._endpoints["rain"].restored or kept(one)
        assert of.restored is not None
        assert of.keep().watch is not None, "kept again as it was"
        other = DriftOf(of.settings)
        other.succeed(of)
        assert other.restored is of.restored

    def kept(one: Here) -> Kept:
        return msgspec.msgpack.decode(one.control.drift._kept_states["drift:rain"], type=Kept)

    played(tmp_path, time, again, **DRIFTING)
