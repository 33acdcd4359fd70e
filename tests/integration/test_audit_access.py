"""What is recorded of those who were refused, of gates, of gateways that died; and what is erased in time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from audit import lives
from control.refusals import BURST
from settings.file import load
from tests.support.control import Here, document, write
from tests.support.decisions import Hand, deciding

NOON = 1_772_000_000.0
DAY = 86_400.0
KILL, REARM = "/api/v1/endpoints/rain/kill", "/api/v1/endpoints/rain/rearm"


async def events(control: Here, prefix: str = "") -> list[dict[str, Any]]:
    answer = await control.client.get("/api/v1/audit?limit=1000")
    found: list[dict[str, Any]] = answer.json()["events"]
    return [one for one in found if one.get("action", "").startswith(prefix)]


def test_whoever_was_refused_a_change_is_recorded_with_what_and_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            post, put = control.client.post, control.client.put
            await post(KILL, json={"reason": "  "})
            await post("/api/v1/endpoints/wind/kill", json={"reason": "gone"})
            await post(REARM, json={"reason": "fine", "kills": ["k-unknown"]})
            await post("/api/v1/releases", json={"endpoint": "nobody"})
            await post("/api/v1/labels", json=[])
            await put("/api/v1/flags", json={"features": "none"})
            (tmp_path / "pointsman.yaml").write_text("{")
            await post("/api/v1/config/reload")
            await post(KILL, json={"reason": "x"}, headers={"origin": "https://evil.example"})
            await post("/api/v1/nothing/here")
            found = await events(control, "refused.")
            told = [
                (one["action"], one["name"], one["evidence"]["status"]) for one in found if one["evidence"]
            ]
            assert told == [
                ("refused.kill", "rain", 422), ("refused.kill", "wind", 404), ("refused.rearm", "rain", 409),
                ("refused.release", "", 404), ("refused.labels", "", 422), ("refused.flags", "", 422),
                ("refused.configuration", "", 422), ("refused.kill", "rain", 403),
                ("refused.request", "", 404),
            ]  # fmt: skip
            assert all(one["result"] == "refused" and one["actor"] for one in found)
            assert "wind" in found[1]["reason"]
            assert "another origin" in found[-2]["reason"]
            assert len(found[0]["evidence"]["body"]) == 64
            assert not control.control.switchboard.tripped("rain")

    asyncio.run(scenario())


def test_what_a_refused_caller_wrote_is_not_in_the_chain(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        async with deciding(tmp_path, Hand(NOON)) as control:
            await control.client.post(KILL, json={"reason": "", "secret": "canary-4711"})
            await control.client.post(f"{KILL}?token=canary-4711", content=b"canary-4711")
            return (await control.client.get("/api/v1/audit/export")).content

    exported = asyncio.run(scenario())
    assert b"refused.kill" in exported
    assert b"canary-4711" not in exported


def test_a_caller_that_is_refused_in_a_loop_does_not_fill_the_chain(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            for _ in range(int(BURST) + 40):
                await control.client.post(KILL, json={})
            found = await events(control, "refused.")
            assert BURST <= len(found) < BURST + 30
            (await control.client.get("/healthz")).raise_for_status()

    asyncio.run(scenario())


def test_a_bad_file_that_nobody_asked_to_load_is_recorded_as_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            write(tmp_path, {**document(tmp_path), "listne": "127.0.0.1:0"})
            await control.control.configuration.try_reload()
            found = await events(control, "refused.configuration")
            assert found
            assert "listne" in found[0]["reason"]

    asyncio.run(scenario())


def test_access_records_lose_their_content_in_time_and_the_chain_verifies_over_them(tmp_path: Path) -> None:
    async def first() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            await control.client.post(KILL, json={})
            await control.client.post(KILL, json={"reason": "looks wrong"})

    async def second() -> None:
        hand = Hand(NOON + 401 * DAY)
        async with deciding(tmp_path, hand) as control:
            await control.until(lambda: control.control.heads.last is not None)
            await control.control.retention.round()
            found = (await control.client.get("/api/v1/audit?limit=1000")).json()["events"]
            assert sum(one.get("erased", False) for one in found) == 1
            (erased,) = [one for one in found if one.get("action") == "audit.erased"]
            assert erased["after"]["records"] == 1
            assert [one["name"] for one in found if one.get("action") == "switch.tripped"] == ["rain"]
            state = (await control.client.get("/api/v1/audit/verify")).json()
            assert (state["intact"], state["erased"]) == (True, 1)
            before = len(found)
            assert await control.control.retention.round()
            again = (await control.client.get("/api/v1/audit?limit=1000")).json()
            assert again["size"] == before  # nothing is left to erase, so nothing is recorded

    asyncio.run(first())
    asyncio.run(second())


def test_a_clock_that_is_set_forward_erases_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            await control.client.post(KILL, json={})
            await control.control.recorder.flush()
            await control.control.heads.take()
            hand.at = NOON + 5000 * DAY
            assert await control.control.retention.round()
            assert len(await events(control, "refused.")) == 1

    asyncio.run(scenario())


def test_without_a_signed_head_nothing_is_erased(tmp_path: Path) -> None:
    async def first() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            await control.client.post(KILL, json={})

    async def second() -> None:
        async with deciding(tmp_path, Hand(NOON + 401 * DAY)) as control:
            await control.until(lambda: control.control.heads.problem is not None)
            assert await control.control.retention.round()
            assert len(await events(control, "refused.")) == 1

    asyncio.run(first())
    heads = tmp_path / "pointsman-audit-heads.jsonl"
    heads.unlink()
    heads.mkdir()  # no head can be kept
    asyncio.run(second())


@pytest.mark.parametrize("given", ["0s", "1m", "for ever", -1])
def test_keep_access_is_a_duration_that_makes_sense(given: object, tmp_path: Path) -> None:
    path = write(tmp_path, {**document(tmp_path), "audit": {"keep_access": given}})
    with pytest.raises(Exception, match="keep_access"):
        load(path)


def test_keep_access_is_changed_without_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deciding(tmp_path, Hand(NOON)) as control:
            write(tmp_path, {**document(tmp_path), "audit": {"keep_access": "30d"}})
            answer = await control.client.post("/api/v1/config/reload")
            assert answer.status_code == 200, answer.text
            assert control.control.switchboard.settings.audit.keep_access == 30 * DAY
            write(tmp_path, {**document(tmp_path), "audit": {"every": "9s"}})
            assert (await control.client.post("/api/v1/config/reload")).status_code == 409

    asyncio.run(scenario())


def test_a_gateway_that_died_is_shown_with_when_it_was_last_heard_of(tmp_path: Path) -> None:
    """Its start is in the chain, its stop is not: it must not look as alive as the others."""

    async def died() -> None:
        hand = Hand(NOON)
        async with deciding(tmp_path, hand) as control:
            hand.at = NOON + 100
            await control.control.retention.tell()
            control.control.recorder.ended = lambda reason: None  # type: ignore[method-assign] # SIGKILL
            later = NOON + 100 + lives.SILENCE / 1e6
            for at, silent in ((NOON + 50, None), (later - 1, None), (later + 30, "2026-02-25T06:15:00")):
                hand.at = later + 60
                answer = await control.client.get("/api/v1/live", params={"at": _iso(at)})
                (gateway,) = answer.json()["gateways"]
                (endpoint,) = answer.json()["endpoints"]
                assert gateway["silent_since"] == endpoint["silent_since"]
                assert (gateway["silent_since"] or "").startswith(silent or "")
                assert (gateway["silent_since"] is None) == (silent is None)

    async def again() -> None:
        async with deciding(tmp_path, Hand(NOON + 9000)) as control:
            (gateway,) = (await control.client.get("/api/v1/live")).json()["gateways"]
            assert gateway["silent_since"] is None
            old = await control.client.get("/api/v1/live", params={"at": _iso(NOON + 5000)})
            assert old.json()["gateways"][0]["silent_since"] is not None

    asyncio.run(died())
    asyncio.run(again())


def _iso(at: float) -> str:
    from audit.times import iso, micros

    return iso(micros(at))


def test_each_gate_that_was_executed_is_recorded_with_what_it_found_and_what_that_is_about(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        whole = document(tmp_path, gates={"lineage": {"require": ["commit"]}})
        whole["registry"] = {"source": "file", "path": str(tmp_path / "lineage.yaml")}
        whole["endpoints"]["rain"]["candidate"]["lineage"] = "file:rain-2"
        (tmp_path / "lineage.yaml").write_text("versions: {rain-2: {author: ada}}")
        async with deciding(tmp_path, Hand(NOON), configuration=whole) as control:
            async with asyncio.timeout(50):  # the release that begins by itself has them executed
                while not (executed := await events(control, "gate.executed")):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.1)
            (gate,) = (await control.client.get("/api/v1/gates/rain")).json()["results"]
            told = executed[0]
            assert (told["name"], told["actor"], told["reason"]) == ("rain", "gate:lineage", gate["sentence"])
            assert told["after"]["verdict"] == gate["verdict"] == "fail"
            assert told["evidence"]["numbers"] == {"missing": 1, "required": 1}
            assert told["evidence"]["binding"]["configuration"] == gate["configuration_digest"]
            assert (await control.client.get("/api/v1/audit/verify")).json()["intact"] is True

    asyncio.run(scenario())


def test_the_registries_are_asked_when_somebody_says_that_an_alias_moved(tmp_path: Path) -> None:
    async def scenario() -> None:
        lineage = tmp_path / "lineage.yaml"
        lineage.write_text("versions: {rain-1: {commit: aaaa}}")
        whole = {
            **document(tmp_path),
            "registry": {"source": "file", "path": str(lineage), "poll": "1h"},
        }
        async with deciding(tmp_path, Hand(NOON), configuration=whole) as control:
            first = (await control.client.post("/api/v1/lineage/refresh")).json()["versions"]
            assert {one["version"]: one["condition"] for one in first} == {
                "rain-1": "known",
                "rain-2": "none",
            }
            lineage.write_text("versions: {rain-1: {commit: bbbb}}")
            await control.client.post("/api/v1/lineage/refresh")
            changed = await events(control, "lineage.changed")
            assert [one["after"]["commit"] for one in changed] == ["aaaa", "bbbb"]

    asyncio.run(scenario())
