"""The lineage of the versions that are configured: followed, kept in an outage, told when it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control.lineage import LineageDesk
from domain.lineage import FIELDS, Lineage
from domain.routing import Arm
from tests.support.control import Here, document, here, write

RECORD = {
    "commit": "4f1a",
    "dataset": {"name": "weather", "digest": "sha256:1"},
    "metrics": {"accuracy": 0.9},
}


def configure(folder: Path, **registry: Any) -> None:
    configuration = document(folder)
    configuration["registry"] = {"path": str(folder / "lineage.yaml"), "poll": "100ms", **registry}
    write(folder, configuration)


def record(folder: Path, **versions: Any) -> None:
    (folder / "lineage.yaml").write_text(json.dumps({"versions": versions}))


def scenario(folder: Path, work: Callable[[Here], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with here(folder) as control:
            await work(control)

    asyncio.run(whole())


async def becomes(control: Here, arm: Arm, condition: str) -> dict[str, Any]:
    await control.until(lambda: control.control.lineage.of("rain", arm).condition == condition)
    shown: dict[str, Any] = (await control.endpoint())[arm.value]["lineage"]
    return shown


def test_a_version_shows_its_record_and_what_is_not_known_of_it(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        shown = await becomes(control, Arm.CANDIDATE, "known")
        assert shown["record"]["commit"] == "4f1a"
        assert shown["record"]["datasets"][0]["digest"] == "sha256:1"
        assert shown["references"] == ["file:rain-2"]
        assert set(shown["missing"]) == set(FIELDS) - {"dataset", "dataset_digest", "commit", "metrics"}
        assert (shown["reason"], shown["stale_since"], shown["moves"]) == (None, None, False)
        assert shown["confirmed_at"] is not None

    scenario(tmp_path, work)


def test_a_version_without_a_record_is_seen_to_have_none(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "known")
        shown = await becomes(control, Arm.INCUMBENT, "none")
        assert shown["record"] is None
        assert "no version 'rain-1'" in shown["reason"]
        assert shown["missing"] == list(FIELDS)
        metrics = (await control.client.get("/metrics")).text
        assert 'pointsman_lineage_known{endpoint="rain",version="rain-1"} 0.0' in metrics
        assert 'pointsman_lineage_known{endpoint="rain",version="rain-2"} 1.0' in metrics
        assert 'pointsman_lineage_missing_fields{endpoint="rain",version="rain-1"} 15.0' in metrics

    scenario(tmp_path, work)


def test_without_a_registry_no_version_has_lineage(tmp_path: Path) -> None:
    async def work(control: Here) -> None:
        for arm in Arm:
            shown = (await control.endpoint())[arm.value]["lineage"]
            assert (shown["condition"], shown["references"]) == ("none", [])
            assert shown["reason"] == "no lineage is configured for this version"

    scenario(tmp_path, work)


def test_a_record_that_changes_is_told_with_what_changed(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        told: list[tuple[str, Arm, Lineage | None, Lineage | None]] = []
        await becomes(control, Arm.CANDIDATE, "known")
        listener = control.control.events.listen()
        control.control.lineage.react(lambda *change: told.append(change))
        record(tmp_path, **{"rain-2": RECORD | {"commit": "5e2b", "author": "ada"}})
        await control.until(lambda: bool(told))
        ((endpoint, arm, before, after),) = told
        assert (endpoint, arm) == ("rain", Arm.CANDIDATE)
        assert before is not None
        assert after is not None
        assert (before.commit, after.commit) == ("4f1a", "5e2b")
        event = await listener.next(20)
        assert event is not None
        assert (event.kind, event.data["changed"]) == ("lineage", ["commit", "author"])
        record(tmp_path)
        await becomes(control, Arm.CANDIDATE, "none")
        assert told[-1] == ("rain", Arm.CANDIDATE, after, None)

    scenario(tmp_path, work)


def test_what_cannot_be_read_leaves_the_last_record_and_says_since_when(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        told: list[Any] = []
        await becomes(control, Arm.CANDIDATE, "known")
        control.control.lineage.react(lambda *change: told.append(change))
        record(tmp_path, **{"rain-2": {"comit": "5e2b"}})
        shown = await becomes(control, Arm.CANDIDATE, "stale")
        assert shown["record"]["commit"] == "4f1a"
        assert "did you mean 'commit'" in shown["reason"]
        since = shown["stale_since"]
        assert since > shown["confirmed_at"]
        await control.control.lineage.look()
        assert (await becomes(control, Arm.CANDIDATE, "stale"))["stale_since"] == since
        record(tmp_path, **{"rain-2": RECORD})
        assert (await becomes(control, Arm.CANDIDATE, "known"))["stale_since"] is None
        assert told == []

    scenario(tmp_path, work)


def test_a_registry_that_was_never_reached_leaves_a_version_waiting(tmp_path: Path) -> None:
    configure(tmp_path)

    async def work(control: Here) -> None:
        await control.until(lambda: control.control.lineage.of("rain", Arm.CANDIDATE).problem is not None)
        shown = await becomes(control, Arm.CANDIDATE, "waiting")
        assert shown["record"] is None
        assert "registry.path" in shown["reason"]

    scenario(tmp_path, work)


def test_a_restart_while_the_registry_is_away_remembers_what_it_said(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def first(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "known")

    async def second(control: Here) -> None:
        told: list[Any] = []
        control.control.lineage.react(lambda *change: told.append(change))
        shown = await becomes(control, Arm.CANDIDATE, "stale")
        assert shown["record"]["commit"] == "4f1a"
        assert shown["stale_since"] > shown["confirmed_at"]
        record(tmp_path, **{"rain-2": RECORD})
        await becomes(control, Arm.CANDIDATE, "known")
        assert told == []

    scenario(tmp_path, first)
    (tmp_path / "lineage.yaml").unlink()
    scenario(tmp_path, second)


def test_a_record_is_remembered_for_its_own_references_only(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "known")
        configuration = json.loads((tmp_path / "pointsman.yaml").read_text())
        configuration["endpoints"]["rain"]["candidate"]["lineage"] = "rain-two"
        (tmp_path / "pointsman.yaml").write_text(json.dumps(configuration))
        await control.control.configuration.reload()
        shown = await becomes(control, Arm.CANDIDATE, "none")
        assert shown["references"] == ["file:rain-two"]

    scenario(tmp_path, work)


def test_a_token_that_is_missing_after_a_reload_is_told_and_nothing_is_asked(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "known")
        missing = {"url": "http://127.0.0.1:1", "token_env": "POINTSMAN_TEST_NO_SUCH_TOKEN"}
        configure(tmp_path, mlflow=missing)
        await control.control.configuration.reload()
        shown = await becomes(control, Arm.CANDIDATE, "stale")
        assert "POINTSMAN_TEST_NO_SUCH_TOKEN" in shown["reason"]
        assert shown["record"]["commit"] == "4f1a"

    scenario(tmp_path, work)


def test_what_cannot_be_decoded_is_not_remembered(tmp_path: Path) -> None:
    configure(tmp_path)

    async def work(control: Here) -> None:
        desk = LineageDesk(control.control.switchboard, control.control.keeper, control.control._clock)
        desk.restore({"lineage:file:rain-2": b"\xff garbage"})
        assert desk.of("rain", Arm.CANDIDATE).condition == "waiting"

    scenario(tmp_path, work)
