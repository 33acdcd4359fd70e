"""A process that is killed at any transition of the release table goes on there, and takes the step once.

For each entry of `gates.release.TRANSITIONS` a release stands in its phase, in a real database, under a real
control process. The process ends at the worst moments: when the step is decided and not written, and when it
is written and nothing has followed from it. Its next life has to end up at the same step, taken once, with
clients served what the phase says. An entry that is added without a case here fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control import releasing
from control.releasing import ReleaseDesk, terms
from domain.routing import Mode
from domain.verdict import Verdict
from gates import release as machine
from gates import releases
from gates.release import TRANSITIONS, Phase, Release, Seen, Trigger
from gates.result import demands_digest, version_digest
from settings.file import load
from storage.database import Database
from tests.support.control import FakeWorker, document, here, write

ENDPOINT: dict[str, Any] = {
    "flag": None,
    "guards": {"flips": {"rate": "10%"}, "certify": False, "vote": {"per": "pair"}},
    "plan": [
        {"mode": "shadow", "pairs": 20},
        {"mode": "canary", "weight": "10%", "pairs": 20},
        {"mode": "canary", "weight": "50%", "pairs": 20},
    ],
    "watch": "1h",
    "patience": "2h",
    "gates": {"custom": [{"name": "own", "command": ["/bin/true"]}]},
    "approvals": {"people": 1},
}

SEEN: dict[Trigger, Callable[[Release], Seen]] = {
    Trigger.ABORTED: lambda at: Seen(at.since + 1, abort="no"),
    Trigger.TRIPPED: lambda at: Seen(at.since + 1, tripped=True),
    Trigger.REARMED: lambda at: Seen(at.since + 1),
    Trigger.GATES_PASSED: lambda at: Seen(at.since + 1, gates=Verdict.PASS),
    Trigger.GATES_FAILED: lambda at: Seen(at.since + 1, gates=Verdict.FAIL),
    Trigger.GATES_BROKEN: lambda at: Seen(at.since + 1, gates=Verdict.ERROR),
    Trigger.GATES_VOID: lambda at: Seen(at.since + 1, approved=True),
    Trigger.APPROVED: lambda at: Seen(at.since + 1, gates=Verdict.PASS, approved=True),
    Trigger.EVIDENCE: lambda at: Seen(at.since + 1, verdict=Verdict.PASS, pairs=1000),
    Trigger.GUARDS_BROKEN: lambda at: Seen(at.since + 1, verdict=Verdict.ERROR),
    Trigger.PATIENCE_OVER: lambda at: Seen(at.since + 7201),
    Trigger.WATCH_OVER: lambda at: Seen(at.since + 3601, verdict=Verdict.PASS),
}
"""What makes each trigger happen, to a release that stands in a phase where it can."""

ENTRIES = sorted(TRANSITIONS, key=str)


def staying(at: Release) -> Seen:
    """What keeps a release where it is."""
    return Seen(at.since, tripped=at.phase is Phase.ROLLED_BACK)


def test_every_trigger_of_the_table_has_a_case() -> None:
    assert {trigger for _, trigger in TRANSITIONS} == set(SEEN)


@pytest.mark.parametrize("written", [False, True], ids=["before the step", "after the step"])
@pytest.mark.parametrize(("phase", "trigger"), ENTRIES, ids=lambda one: str(one.name))
def test_a_process_that_ends_at_a_transition_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase, trigger: Trigger, written: bool
) -> None:
    settings = load(write(tmp_path, document(tmp_path, **ENDPOINT)))
    endpoint = settings.endpoints[0]
    assert endpoint.candidate is not None
    stage = {Phase.CANARY: 1, Phase.PROMOTED: 2, Phase.DONE: 2}.get(phase, 0)
    stands = Release(
        "r1", "rain", "rain-1", "rain-2", version_digest(endpoint.incumbent, endpoint.path),
        version_digest(endpoint.candidate, endpoint.path), phase, stage, 1000.0, 1000.0,
        steps=7, reason="before", gates=demands_digest(endpoint.gates, endpoint.approvals),
    )  # fmt: skip
    moved = machine.step(stands, terms(endpoint), SEEN[trigger](stands))
    assert moved is not None
    assert moved[1] is trigger, "the case does not make happen what it should"
    expected = moved[0]
    database = Database.open(settings.database)
    database.write(lambda on: releases.open_release(on, stands, 1))
    database.close()

    happening, reached = [False], asyncio.Event()
    write_step = ReleaseDesk._write

    async def seen(self: ReleaseDesk, found: Release, judge: Any) -> Seen:
        due = happening[0] and found.steps == stands.steps
        return SEEN[trigger](found) if due else staying(found)

    async def cut(self: ReleaseDesk, *arguments: Any) -> Any:
        if written:
            await write_step(self, *arguments)
        reached.set()
        await asyncio.Event().wait()  # nothing more is done in this life

    async def first() -> None:
        async with here(tmp_path):
            monkeypatch.setattr(ReleaseDesk, "_write", cut)
            happening[0] = True
            await asyncio.wait_for(reached.wait(), 20)

    async def second() -> None:
        async with here(tmp_path) as control:
            worker = await FakeWorker(session="t").connect(control.link)
            desk = control.control.releases
            await control.until(
                lambda: (found := desk.latest.get("rain")) is not None and found.steps == expected.steps
            )
            found = await desk.find("r1")
            assert replace(found, reason="") == replace(expected, reason="")
            (taken,) = await desk.steps("r1")
            assert taken["trigger"] == trigger.name.lower()
            assert expected.phase in TRANSITIONS[phase, trigger]
            judge = control.control.switchboard.judge("rain")
            placed = machine.placed(expected) or endpoint.plan[expected.stage]
            share = placed.weight if placed.mode is not Mode.SHADOW else 0
            await worker.until(lambda: worker.snapshot.endpoint("rain").weight == share)
            assert judge.ruled
            assert judge.placed == machine.placed(expected)
            for _ in range(3):
                await desk.look()
            assert len(await desk.steps("r1")) == 1, "the step was taken once"
            await worker.close()

    monkeypatch.setattr(ReleaseDesk, "_seen", seen)
    monkeypatch.setattr(releasing, "TICK", 0.01)
    asyncio.run(first())
    monkeypatch.setattr(ReleaseDesk, "_write", write_step)
    asyncio.run(second())
