"""Whether every stage of a plan can come to an end: whether its requests reach what its guards judge.

No stage moves on without pairs and a PASS of every guard. With nothing mirrored a shadow stage has no pairs
at all, and a canary stage only the counts of each arm, from which nothing but errors can be judged. A guarded
stage asks both arms, mirrored or not, so that its pairs speak for the stages behind it too.
"""

from __future__ import annotations

from domain.routing import Mode
from settings.reader import Section
from settings.schema import GuardSettings, Stage


def reachable(shadow: Section, stages: tuple[Stage, ...], guards: GuardSettings) -> None:
    """Keep a problem with `shadow` when nothing is mirrored and a stage could therefore never move on."""
    if guards.mirrored:
        return
    guarded = False
    for number, stage in enumerate(stages[:-1]):
        guarded = guarded or stage.mode is Mode.GUARDED
        stuck = _stuck(stage, guards, guarded=guarded)
        if stuck is not None:
            why, way_out = stuck
            said = f"plan[{number}] could never move on: {why}; give a share above 0%, or {way_out}"
            shadow.refuse("share", shadow.given("share"), said)
            return


def _stuck(stage: Stage, guards: GuardSettings, *, guarded: bool) -> tuple[str, str] | None:
    """Why the stage would never end, and the way out; None when it can."""
    if stage.mode is Mode.SHADOW:
        return "a shadow stage without mirrored requests has no pairs", "begin the plan with another mode"
    if stage.mode is Mode.GUARDED:
        return None
    if guards.errors is None:
        return "without mirrored requests only errors can be judged", "guards.errors"
    of_pairs = {
        "divergence": guards.divergence, "flips": guards.flips, "latency": guards.latency,
        "confidence": guards.confidence, "classes": guards.classes, "drift": guards.drift,
        "accuracy": guards.accuracy,
    }  # fmt: skip
    blind = ", ".join(f"guards.{name}" for name, guard in of_pairs.items() if guard is not None)
    if not blind or guarded:
        return None
    return f"{blind} need mirrored requests", "keep no guard but errors, or begin with a guarded stage"
