"""The lineage of the versions that are configured: followed, kept in an outage, told when it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from control.lineage import LineageDesk
from domain.lineage import FIELDS, Lineage
from domain.reference import Reference
from domain.routing import Arm
from registry.catalog import Catalog, Found
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


async def reload(control: Here, folder: Path, configuration: dict[str, Any]) -> None:
    write(folder, configuration)
    await control.control.configuration.reload()


async def versions_recorded(control: Here) -> list[str]:
    answer = await control.client.get("/api/v1/audit?limit=1000")
    events = answer.json()["events"]
    return [one["name"] for one in events if one["action"] == "lineage.changed"]


def renamed(folder: Path) -> dict[str, Any]:
    """The configuration with another version, whose lineage stands where that of the first one did."""
    configuration: dict[str, Any] = json.loads((folder / "pointsman.yaml").read_text())
    candidate = configuration["endpoints"]["rain"]["candidate"]
    configuration["endpoints"]["rain"]["candidate"] = candidate | {"version": "rain-3", "lineage": "rain-2"}
    return configuration


def test_another_version_with_the_same_record_is_told_of_and_recorded(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def work(control: Here) -> None:
        told: list[Any] = []
        await becomes(control, Arm.CANDIDATE, "known")
        control.control.lineage.react(lambda *change: told.append(change))
        await reload(control, tmp_path, renamed(tmp_path))
        await control.until(lambda: bool(told))
        held = control.control.lineage.of("rain", Arm.CANDIDATE)
        assert told == [("rain", Arm.CANDIDATE, None, held.record)]
        assert await versions_recorded(control) == ["rain-2", "rain-3"]

    scenario(tmp_path, work)


def test_a_version_that_was_renamed_between_two_lives_gets_its_record(tmp_path: Path) -> None:
    configure(tmp_path)
    record(tmp_path, **{"rain-2": RECORD})

    async def first(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "known")

    async def second(control: Here) -> None:
        await becomes(control, Arm.CANDIDATE, "stale")
        await control.control.lineage.look()
        assert await versions_recorded(control) == ["rain-2", "rain-3"]

    async def third(control: Here) -> None:
        await second(control)  # and once only

    scenario(tmp_path, first)
    (tmp_path / "lineage.yaml").unlink()
    write(tmp_path, renamed(tmp_path))
    scenario(tmp_path, second)
    scenario(tmp_path, third)


class SlowCatalog(Catalog):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def lookup(self, references: Sequence[Reference]) -> Found:
        self.asked.set()
        await self.let.wait()
        return Found(Lineage(source="slow", version="1"), ())


def test_what_registries_say_of_a_configuration_that_was_replaced_meanwhile_is_not_told(
    tmp_path: Path,
) -> None:
    configure(tmp_path)

    async def work(control: Here) -> None:
        board, told = control.control.switchboard, list[Any]()
        slow = SlowCatalog()
        desk = LineageDesk(board, control.control.keeper, control.control._clock, lambda *_: slow)
        desk.react(
            lambda endpoint, arm, *_: told.append((endpoint, arm, board.judge(endpoint).settings.path))
        )
        looking = asyncio.get_running_loop().create_task(desk.look())
        await slow.asked.wait()
        configuration = json.loads((tmp_path / "pointsman.yaml").read_text())
        configuration["endpoints"] = {"snow": configuration["endpoints"]["rain"]}
        await reload(control, tmp_path, configuration)
        slow.let.set()
        await looking
        assert told == []
        await desk.look()
        assert told == [("snow", Arm.INCUMBENT, "/predict"), ("snow", Arm.CANDIDATE, "/predict")]
        await desk.end()

    scenario(tmp_path, work)
