"""The release plan: how far a release has come, and the one way it moves on.

A release moves by evidence only. A stage is left when three things hold together: enough pairs were judged in
this stage, the guards say PASS, and the stage has lasted as long as it must. Pairs of one stage never count
for the next, a step passes one stage at most, and nothing here goes back: taking a candidate out is the kill
switch's business, and after a re-arm the release starts again from shadow.

`now` is wall-clock time in seconds, because a stage outlives restarts. A clock that is set back can only make
a stage last longer; one that is set forward shortens the wait, but never the evidence.

| stage is | pairs | verdict | at_least | step |
|---|---|---|---|---|
| the last | any | any | any | stay, count the pairs |
| another | too few | any | any | stay, count the pairs |
| another | enough | not PASS | any | stay, count the pairs |
| another | enough | PASS | not over | stay, count the pairs |
| another | enough | PASS | over | the next stage, no pairs, since now |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from domain.routing import Mode
from domain.verdict import Verdict
from settings.schema import Stage

REARM_SHADOW = Stage(Mode.SHADOW, pairs=500)
"""Where a re-armed release starts when its plan does not begin with a shadow stage."""

_BEFORE_THE_PLAN = -1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a release has come.

    Attributes:
        stage: index into the plan; -1 is `REARM_SHADOW`, before the plan.
        pairs: judged in this stage.
        since: when this stage began, wall clock, seconds since the epoch.
    """

    stage: int
    pairs: int
    since: float


def start(now: float) -> Progress:
    """A new release: the plan's first stage."""
    return Progress(0, 0, now)


def rearmed(plan: Sequence[Stage], now: float) -> Progress:
    """The release after a re-arm: in shadow, whatever the plan begins with."""
    in_shadow = bool(plan) and plan[0].mode is Mode.SHADOW
    return Progress(0 if in_shadow else _BEFORE_THE_PLAN, 0, now)


def current(plan: Sequence[Stage], progress: Progress) -> Stage:
    """The stage that the release is in.

    A stage that `plan` does not have (the plan was shortened while the release ran) counts as
    `REARM_SHADOW`: an unknown position exposes nobody.
    """
    index = _index(plan, progress)
    return REARM_SHADOW if index == _BEFORE_THE_PLAN else plan[index]


def step(plan: Sequence[Stage], progress: Progress, *, judged: int, verdict: Verdict, now: float) -> Progress:
    """The progress after `judged` more pairs (0 or more), with the guards' `verdict` on this stage."""
    if judged < 0:
        raise ValueError(f"judged: {judged} pairs; a count of pairs is 0 or more")
    index = _index(plan, progress)
    stage = current(plan, progress)
    pairs = progress.pairs + judged
    last = index == len(plan) - 1
    enough = pairs >= max(1, stage.pairs)
    over = now - progress.since >= stage.at_least
    if not last and enough and verdict is Verdict.PASS and over:
        return Progress(index + 1, 0, now)
    return replace(progress, stage=index, pairs=pairs)


def _index(plan: Sequence[Stage], progress: Progress) -> int:
    return progress.stage if 0 <= progress.stage < len(plan) else _BEFORE_THE_PLAN
