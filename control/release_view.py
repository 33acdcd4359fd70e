"""What the admin API shows of a release: where it stands, and what it waits for, in words."""

from __future__ import annotations

import math
from dataclasses import asdict

from control.clock import iso
from control.judge import Judge
from control.panel import Panel
from gates import plan
from gates.approvals import Agreement
from gates.plan import Progress
from gates.release import Phase, Release


async def shown(panel: Panel, found: Release) -> dict[str, object]:
    """As JSON; what is live of it only while it is the newest of its endpoint."""
    latest = panel.releases.latest.get(found.endpoint)
    judge = panel.switchboard.judges.get(found.endpoint)
    if latest is None or latest.id != found.id:
        judge = None
    agreed = await panel.releases.agreement(found) if found.phase is Phase.APPROVING else None
    return {
        **asdict(found),
        "phase": found.phase.value,
        "since": iso(found.since),
        "opened": iso(found.opened),
        "asked": iso(found.asked) if found.asked else None,
        "tier": None if judge is None else judge.settings.tier,
        "waits_for": waits_for(found, judge, agreed, panel.releases.now()),
        "approvals": None if agreed is None else _agreement(agreed),
    }


def waits_for(found: Release, judge: Judge | None, agreed: Agreement | None, now: float) -> str:
    """What has to come before its next step; "" when nothing will."""
    match found.phase:
        case Phase.GATING:
            return "a PASS of every gate"
        case Phase.APPROVING:
            return _people(agreed)
        case Phase.SHADOW | Phase.CANARY:
            return "" if judge is None else _stage(found, judge, now)
        case Phase.PROMOTED:
            return "the end of its watch"
        case Phase.ROLLED_BACK:
            return "a re-arm"
        case _:
            return ""


def _stage(found: Release, judge: Judge, now: float) -> str:
    settings = judge.settings
    if found.stage == len(settings.plan) - 1 and not settings.watch:
        return ""
    stage = plan.current(settings.plan, Progress(found.stage, 0, 0.0))
    parts = []
    if judge.progress.pairs < stage.pairs:
        parts.append(f"{stage.pairs - judge.progress.pairs} more pairs")
    parts.append(f"a PASS of every guard ({judge.verdict.value} now)")
    left = found.since + stage.at_least - now
    if left > 0:
        parts.append(f"{math.ceil(left)} s more of its least time")
    return ", ".join(parts)


def _people(agreed: Agreement | None) -> str:
    if agreed is None:
        return "approvals"
    if not agreed.missing:
        return "a PASS of every gate that still holds"
    return f"{agreed.missing} of {agreed.people} approvals"


def _agreement(agreed: Agreement) -> dict[str, object]:
    return {
        "wanted": agreed.people,
        "missing": agreed.missing,
        "given": [
            {"by": one.by, "authentication": one.authentication, "reason": one.reason, "at": iso(one.at)}
            for one in agreed.given
        ],
        "void": [{"by": by, "reason": reason} for by, reason in agreed.void],
    }
