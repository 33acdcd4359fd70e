"""Approvals, and what a release has to look at again at the moment of a step."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from control.clock import Clock
from control.releasing import ReleaseDesk
from domain.role import Role
from domain.verdict import Verdict
from gates.release import Phase
from tests.support.access import bearer, guarded, issue
from tests.support.control import Here, document, here, write

PASSING: dict[str, Any] = {
    "custom": [
        {
            "name": "own",
            "command": [sys.executable, "-c", 'print(\'{"verdict": "pass", "sentence": "as told"}\')'],
        }
    ]
}
ENDPOINT: dict[str, Any] = {
    "flag": None,
    "guards": {"flips": {"rate": "10%"}},
    "plan": [{"mode": "shadow", "pairs": 20}, {"mode": "canary", "weight": "10%", "pairs": 20}],
    "watch": "1h",
    "gates": PASSING,
    "approvals": {"people": 2},
}


LATER = Clock(wall=lambda: time.time() + 2 * 86_400.0)


async def until(control: Here, phase: Phase) -> dict[str, Any]:
    async with asyncio.timeout(50):
        while (found := control.control.releases.latest.get("rain")) is None or found.phase is not phase:
            await control.control.releases.look()
            await asyncio.sleep(0.02)
    whole: dict[str, Any] = (await control.client.get(f"/api/v1/releases/{found.id}")).json()
    return whole


async def approve(control: Here, release: str, person: str | None, status: int = 200) -> dict[str, Any]:
    body = {"reason": "read the results"} if person is None else {"reason": "read the results", "as": person}
    answer = await control.client.post(f"/api/v1/releases/{release}/approve", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def records(control: Here, action: str) -> list[dict[str, Any]]:
    await control.control.recorder.flush()
    found = (await control.client.get("/api/v1/audit?limit=1000")).json()["events"]
    return [one for one in found if one["action"] == action]


async def exposed(control: Here) -> dict[tuple[str, ...], float]:
    return {
        (one.name, *one.labels.values()): one.value
        for family in control.control.panel.metrics.collect()
        if family.name.startswith("pointsman_release")
        for one in family.samples
    }


def test_a_release_waits_for_two_people_and_their_words_outlive_a_restart(tmp_path: Path) -> None:
    async def first() -> str:
        async with here(tmp_path, **ENDPOINT) as control:
            told: list[dict[str, object]] = []
            listening = control.control.events.tell
            control.control.events.tell = lambda kind, data: (  # type: ignore[method-assign]
                told.append({"kind": kind, **data}) if kind == "approval" else listening(kind, data)
            )
            whole = await until(control, Phase.APPROVING)
            assert whole["waits_for"] == "2 of 2 approvals"
            assert whole["approvals"] == {"wanted": 2, "missing": 2, "given": [], "void": []}
            metrics = await exposed(control)
            assert metrics["pointsman_release_phase", "rain", "approving"] == 1.0
            assert metrics["pointsman_release_phase", "rain", "gating"] == 0.0
            assert metrics["pointsman_release_approvals_missing", "rain"] == 2.0
            for nobody in ("operator", "plan", "a b"):
                problem = await approve(control, whole["id"], nobody, 422)
                assert "give a person's name" in problem["detail"]
            await approve(control, whole["id"], None, 422)
            await approve(control, "none", "ada", 404)
            found = await approve(control, whole["id"], "Ada")
            assert (found["phase"], found["waits_for"]) == ("approving", "1 of 2 approvals")
            again = await approve(control, whole["id"], "ada")
            assert [one["by"] for one in again["approvals"]["given"]] == ["ada"]
            await control.control.releases.look()
            assert (await until(control, Phase.APPROVING))["approvals"]["missing"] == 1
            assert [(one["state"], one["by"]) for one in told] == [("wanted", "plan"), ("given", "ada")]
            return str(whole["id"])

    async def second(release: str) -> None:
        async with here(tmp_path) as control:
            assert (await until(control, Phase.APPROVING))["approvals"]["missing"] == 1
            await approve(control, release, "bob")
            whole = await until(control, Phase.SHADOW)
            assert [one["phase"] for one in whole["history"]] == ["approving", "shadow"]
            late = await approve(control, release, "eve", 409)
            assert "this release is shadow" in late["detail"]
            approved = await records(control, "release.approved")
            assert [(one["actor"], one["authentication"]) for one in approved] == [
                ("ada", "claimed"), ("bob", "claimed"),
            ]  # fmt: skip
            assert len({one["after"]["subject"] for one in approved}) == 1
            moved = (await records(control, "release.moved"))[-1]
            assert [one["by"] for one in moved["evidence"]["approvals"]] == ["ada", "bob"]
            assert (await exposed(control))["pointsman_release_approvals_missing", "rain"] == 0.0

    asyncio.run(second(asyncio.run(first())))


def test_who_starts_a_release_does_not_approve_it_and_another_configuration_asks_anew(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            whole = await until(control, Phase.APPROVING)
            abort = await control.client.post(
                f"/api/v1/releases/{whole['id']}/abort", json={"reason": "by hand now"}
            )
            assert abort.status_code == 200
            nameless = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert (nameless.status_code, "--as NAME" in nameless.text) == (409, True)
            started = await control.client.post("/api/v1/releases", json={"endpoint": "rain", "as": "Ada"})
            assert (started.status_code, started.json()["by"]) == (201, "ada")
            release = (await until(control, Phase.APPROVING))["id"]
            own = await approve(control, release, "ada", 409)
            assert "somebody else has to approve it" in own["detail"]
            await approve(control, release, "bob")
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "timeout": "300ms"}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            found = (await until(control, Phase.APPROVING))["approvals"]
            assert (found["missing"], [one["by"] for one in found["void"]]) == (2, ["bob"])
            write(tmp_path, document(tmp_path, **{**ENDPOINT, "approvals": {"people": 1}}))
            assert (await control.client.post("/api/v1/config/reload")).status_code == 200
            async with asyncio.timeout(50):
                while control.control.releases.latest["rain"].id == release:
                    await control.control.releases.look()
            ended = (await control.client.get(f"/api/v1/releases/{release}")).json()
            await until(control, Phase.APPROVING)
            assert ended["phase"] == "aborted", "others have to agree now, so that it is another release"

    asyncio.run(scenario())


def test_people_do_not_carry_a_release_past_gates_that_have_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            desk, gates = control.control.releases, control.control.gates
            release = (await until(control, Phase.APPROVING))["id"]
            monkeypatch.setattr(gates, "_clock", LATER)
            await approve(control, release, "ada")
            await approve(control, release, "bob")
            history = (await until(control, Phase.GATING))["history"]
            assert [one["trigger"] for one in history] == ["gates_passed", "gates_void"]
            monkeypatch.setattr(gates, "_clock", Clock())
            whole = await until(control, Phase.SHADOW)
            assert [one["phase"] for one in whole["history"]][-2:] == ["approving", "shadow"]
            # A PASS that is remembered is held against its time when the step is taken, not when it was made.
            gating = desk.latest["rain"]
            monkeypatch.setattr(desk, "_execute", lambda found: None)
            run = await gates.latest("rain")
            desk._runs["rain"] = gating, run
            settings = control.control.switchboard.judge("rain").settings
            assert await desk._gated(gating, settings) is Verdict.PASS
            monkeypatch.setattr(gates, "_clock", LATER)
            assert await desk._gated(gating, settings) is None

    asyncio.run(scenario())


def test_a_trip_and_a_rearm_right_before_a_crash_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = {**ENDPOINT, "gates": None, "approvals": None}

    async def blind(self: ReleaseDesk) -> None:
        """It crashes before it looks again."""

    async def first() -> None:
        async with here(tmp_path, **endpoint) as control:
            await until(control, Phase.SHADOW)
            monkeypatch.setattr(ReleaseDesk, "look", blind)
            for word in ("kill", "rearm"):
                told = await control.client.post(
                    f"/api/v1/endpoints/rain/{word}", json={"reason": "for a moment"}
                )
                assert told.status_code == 200, told.text

    async def second() -> None:
        async with here(tmp_path) as control:
            async with asyncio.timeout(50):
                while (found := control.control.releases.latest.get("rain")) is None or found.steps < 2:
                    await control.control.releases.look()
            history = (await control.client.get(f"/api/v1/releases/{found.id}")).json()["history"]
            assert [one["trigger"] for one in history] == ["tripped", "rearmed"]

    look = ReleaseDesk.look
    asyncio.run(first())
    monkeypatch.setattr(ReleaseDesk, "look", look)
    asyncio.run(second())


def test_where_callers_are_known_an_approval_is_the_word_of_whoever_gives_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "tokens.json"
        ada, again = (bearer(issue(path, name, Role.RELEASE, person="ada")) for name in ("ada-1", "ada-2"))
        bob = bearer(issue(path, "bob", Role.RELEASE, "rain"))
        eve = bearer(issue(path, "eve", Role.OPERATOR))
        wanted = {**ENDPOINT, "approvals": {"people": 1}}
        async with guarded(tmp_path, endpoint=wanted) as control:
            control.client.headers.update(ada)
            whole = await until(control, Phase.APPROVING)
            abort = {"reason": "by hand now"}
            url = f"/api/v1/releases/{whole['id']}"
            assert (await control.client.post(f"{url}/abort", json=abort, headers=eve)).status_code == 200
            started = await control.client.post("/api/v1/releases", json={"endpoint": "rain"})
            assert (started.status_code, started.json()["by"]) == (201, "ada")
            release = (await until(control, Phase.APPROVING))["id"]
            await approve(control, release, "bob", 422)  # a name is not hers to claim
            for headers in (ada, again):
                control.client.headers.update(headers)
                refused = await approve(control, release, None, 409)
                assert "ada started this release" in refused["detail"]
            control.client.headers.update(eve)
            await approve(control, release, None, 403)
            control.client.headers.update(bob)
            await approve(control, release, None)
            control.client.headers.update(ada)
            assert [
                (one["actor"], one["authentication"]) for one in await records(control, "release.approved")
            ] == [("bob", "token:bob")]
            ended = (await records(control, "release.moved"))[0:]
            assert ("eve", "token:eve") in {(one["actor"], one["authentication"]) for one in ended}

    asyncio.run(scenario())
