"""The release: one attempt to move an endpoint from incumbent to candidate. All steps are in one table.

A release moves by evidence, never by time alone, and only the table below says where to. `trigger` says what
has happened, in the order of what is more urgent; `step` looks the target up. Everything else (where the
gates run, who tripped the switch, what clients are served) is somebody else's business, so that a release can
be thought through without a clock, a network or a database.

* Gates come first. FAIL and ERROR halt. INCONCLUSIVE waits, and the gates are executed again, until
  patience is over. There is no step past the gates but theirs.
* Approvals come next, where they are asked for. People add to the gates: whoever approves, the gates still
  have to hold when the first stage begins, and are executed again when they do not. From the first time that
  a release asks, patience runs once: gates that are executed again in between do not renew it.
* A stage is left as in `gates.plan`: with enough pairs judged in it, every guard's PASS, and its least time
  over. A guard's ERROR halts; what stays INCONCLUSIVE beyond the patience halts.
* After the last stage comes the promotion, when a watch is configured: all units, with the guards on.
  Without a watch the last stage stays.
* A trip rolls back, whatever the phase, also after the end, and also when it was cleared again before anybody
  looked: kills that were cleared are counted in the release. A re-arm begins again with the gates, and what
  was approved before the trip counts no more.

`now` is wall-clock time in seconds, as in `gates.plan`: a clock that is set back makes phases longer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from domain.routing import FULL_WEIGHT, Mode
from domain.verdict import Verdict
from gates import plan
from gates.plan import Progress
from settings.schema import Stage
from settings.tiers import endless


class Phase(enum.StrEnum):
    """Where a release stands."""

    GATING = "gating"
    APPROVING = "approving"
    SHADOW = "shadow"
    CANARY = "canary"  # also guarded stages: units are served by the candidate
    PROMOTED = "promoted"
    DONE = "done"
    HALTED = "halted"
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"

    @property
    def is_open(self) -> bool:
        """Whether the release may still take steps by itself; an endpoint has one such release at most."""
        return self not in (Phase.DONE, Phase.HALTED, Phase.ABORTED)


class Trigger(enum.StrEnum):
    """What makes a release take a step."""

    ABORTED = "an operator aborts, or other versions or gates are configured"
    TRIPPED = "the switch tripped"
    REARMED = "re-armed"
    GATES_PASSED = "every gate PASS"
    GATES_FAILED = "a gate FAIL"
    GATES_BROKEN = "a gate ERROR"
    GATES_VOID = "the gates hold no more"
    APPROVED = "approved, the gates hold"
    EVIDENCE = "pairs, PASS of every guard, least time"
    GUARDS_BROKEN = "a guard ERROR"
    PATIENCE_OVER = "patience is over"
    WATCH_OVER = "the watch is over, no guard FAIL"


NEXT_STAGES: Final = frozenset({Phase.SHADOW, Phase.CANARY, Phase.PROMOTED})
"""Which of them, the plan says."""

_FIRST_STAGES: Final = frozenset({Phase.SHADOW, Phase.CANARY})
_AGAIN: Final = frozenset({Phase.GATING, Phase.APPROVING, Phase.SHADOW, Phase.CANARY})


def _to(*phases: Phase) -> frozenset[Phase]:
    return frozenset(phases)


TRANSITIONS: Final[Mapping[tuple[Phase, Trigger], frozenset[Phase]]] = {
    (Phase.GATING, Trigger.GATES_PASSED): _FIRST_STAGES | {Phase.APPROVING},
    (Phase.GATING, Trigger.GATES_FAILED): _to(Phase.HALTED),
    (Phase.GATING, Trigger.GATES_BROKEN): _to(Phase.HALTED),
    (Phase.GATING, Trigger.PATIENCE_OVER): _to(Phase.HALTED),
    (Phase.GATING, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.GATING, Trigger.ABORTED): _to(Phase.ABORTED),
    (Phase.APPROVING, Trigger.APPROVED): _FIRST_STAGES,
    (Phase.APPROVING, Trigger.GATES_VOID): _to(Phase.GATING),
    (Phase.APPROVING, Trigger.PATIENCE_OVER): _to(Phase.HALTED),
    (Phase.APPROVING, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.APPROVING, Trigger.ABORTED): _to(Phase.ABORTED),
    (Phase.SHADOW, Trigger.EVIDENCE): NEXT_STAGES,
    (Phase.SHADOW, Trigger.GUARDS_BROKEN): _to(Phase.HALTED),
    (Phase.SHADOW, Trigger.PATIENCE_OVER): _to(Phase.HALTED),
    (Phase.SHADOW, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.SHADOW, Trigger.ABORTED): _to(Phase.ABORTED),
    (Phase.CANARY, Trigger.EVIDENCE): NEXT_STAGES,  # to shadow: the plan was shortened meanwhile
    (Phase.CANARY, Trigger.GUARDS_BROKEN): _to(Phase.HALTED),
    (Phase.CANARY, Trigger.PATIENCE_OVER): _to(Phase.HALTED),
    (Phase.CANARY, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.CANARY, Trigger.ABORTED): _to(Phase.ABORTED),
    (Phase.PROMOTED, Trigger.WATCH_OVER): _to(Phase.DONE),
    (Phase.PROMOTED, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.PROMOTED, Trigger.ABORTED): _to(Phase.ABORTED),
    (Phase.DONE, Trigger.TRIPPED): _to(Phase.ROLLED_BACK),
    (Phase.ROLLED_BACK, Trigger.REARMED): _AGAIN,
    (Phase.ROLLED_BACK, Trigger.ABORTED): _to(Phase.ABORTED),
}
"""Every step there is. Of several targets the plan, and whether there are gates, decide."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a release goes by.

    Attributes:
        gated: whether there are gates.
        stages: the plan, at least one stage.
        patience: seconds that gates and a stage may wait for evidence.
        watch: seconds after the promotion in which the guards decide; 0: no promotion.
        people: how many have to approve.
    """

    gated: bool
    stages: tuple[Stage, ...]
    patience: float
    watch: float
    people: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """One release. Digests of versions are by `gates.result.version_digest`; times are wall clock.

    Attributes:
        stage: index into the plan; -1 is `gates.plan.REARM_SHADOW`.
        since: when this phase, or stage, began.
        steps: how many it has taken; the number of the next one.
        reason: why it is where it is, in words.
        gates: digest of what it has to pass, by `gates.result.demands_digest`; "" without anything.
        by: who started it.
        attempt: how often it was re-armed; what was approved in one attempt counts for no other.
        asked: when this attempt first asked for approvals, 0.0 while it has not.
        cleared: kills of its endpoint that had been cleared when it took its last step; -1: not known.
    """

    id: str
    endpoint: str
    incumbent: str
    candidate: str
    incumbent_digest: str
    candidate_digest: str
    phase: Phase
    stage: int
    since: float
    opened: float
    steps: int = 0
    reason: str = ""
    gates: str = ""
    by: str = ""
    attempt: int = 0
    asked: float = 0.0
    cleared: int = -1


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now.

    Attributes:
        tripped: whether the candidate is out.
        verdict: the worst of the guards', for the stage that the release is in.
        pairs: judged in this stage.
        gates: what the gates say, where they hold for what is configured; None: not executed yet.
        abort: why to abort; None: nobody wants to.
        restart: where in the plan a re-armed release starts.
        approved: whether everybody who has to has approved.
        cleared: kills of the endpoint that have been cleared, ever.
    """

    now: float
    tripped: bool = False
    verdict: Verdict = Verdict.INCONCLUSIVE
    pairs: int = 0
    gates: Verdict | None = None
    abort: str | None = None
    restart: int = 0
    approved: bool = False
    cleared: int = -1


def begun(release: Release, terms: Terms) -> Release:
    """`release` where it begins: at its gates, else where it asks for approvals, else at the first stage."""
    return _asking(replace(release, phase=_first(terms, terms.stages[0]), stage=0), release.since)


def trigger(release: Release, terms: Terms, seen: Seen) -> Trigger | None:
    """What makes the release take a step now; None while it stays."""
    phase = release.phase
    if seen.abort is not None and phase.is_open:
        return Trigger.ABORTED
    if phase is Phase.ROLLED_BACK:
        return None if seen.tripped else Trigger.REARMED
    if phase in (Phase.HALTED, Phase.ABORTED):
        return None
    if seen.tripped or missed(release, seen.cleared):
        return Trigger.TRIPPED
    waited = seen.now - release.since
    if phase is Phase.GATING:
        return _of_gates(seen.gates, waited > terms.patience)
    if phase is Phase.APPROVING:
        return _of_people(release, terms, seen)
    if phase is Phase.PROMOTED:
        fine = seen.verdict not in (Verdict.FAIL, Verdict.ERROR)
        return Trigger.WATCH_OVER if fine and waited >= terms.watch else None
    if phase is Phase.DONE:
        return None
    return _of_stage(release, terms, seen, waited)


def step(release: Release, terms: Terms, seen: Seen) -> tuple[Release, Trigger] | None:
    """The release after its next step, and what made it; None while it stays.

    A step that the table does not have cannot be taken: LookupError says that this module is wrong.
    """
    found = trigger(release, terms, seen)
    if found is None:
        return None
    targets = TRANSITIONS[release.phase, found]
    phase, stage = _target(release, terms, found, seen.restart)
    if phase not in targets:
        raise LookupError(f"{release.phase} does not lead to {phase} because of: {found}")
    reason = seen.abort if found is Trigger.ABORTED and seen.abort else found.value
    again = found is Trigger.REARMED
    moved = replace(
        release,
        phase=phase,
        stage=stage,
        since=seen.now,
        steps=release.steps + 1,
        reason=reason,
        attempt=release.attempt + again,
        asked=0.0 if again else release.asked,
        cleared=max(release.cleared, seen.cleared),
    )
    return _asking(moved, seen.now), found


def missed(release: Release, cleared: int) -> bool:
    """Whether the candidate was out and in again since the last step, which no look may have seen: more
    kills are `cleared` now than then."""
    return 0 <= release.cleared < cleared and (release.phase, Trigger.TRIPPED) in TRANSITIONS


def placed(release: Release) -> Stage | None:
    """What the candidate gets: nobody while it is not trusted, everybody once promoted; None: what its stage
    says."""
    if release.phase in (Phase.SHADOW, Phase.CANARY):
        return None
    if release.phase in (Phase.PROMOTED, Phase.DONE):
        return Stage(Mode.CANARY, FULL_WEIGHT)
    return Stage(Mode.SHADOW)


def never_ends(terms: Terms, guarded: bool) -> str | None:
    """Why a release by these terms could never come to its end; None when it can. `guarded`: some guard is
    configured."""
    return endless(terms.stages, terms.patience, terms.watch, guarded=guarded)


def diagram(transitions: Mapping[tuple[Phase, Trigger], frozenset[Phase]] = TRANSITIONS) -> str:
    """The table as a state diagram in Mermaid's language."""
    lines = [
        "stateDiagram-v2",
        "    [*] --> gating",
        "    [*] --> approving: no gates, approvals",
        "    [*] --> shadow: no gates",
        "    [*] --> canary: no gates",
    ]
    for (phase, why), targets in transitions.items():
        lines += [f"    {_name(phase)} --> {_name(one)}: {why.value}" for one in sorted(targets)]
    ends = sorted(phase for phase in Phase if not phase.is_open)
    lines += [f"    {_name(phase)} --> [*]" for phase in ends]
    return "\n".join(lines)


def _of_gates(verdict: Verdict | None, over: bool) -> Trigger | None:
    if verdict is Verdict.PASS:
        return Trigger.GATES_PASSED
    if verdict is Verdict.FAIL:
        return Trigger.GATES_FAILED
    if verdict is Verdict.ERROR:
        return Trigger.GATES_BROKEN
    return Trigger.PATIENCE_OVER if over else None


def _of_people(release: Release, terms: Terms, seen: Seen) -> Trigger | None:
    if seen.approved:
        return Trigger.APPROVED if not terms.gated or seen.gates is Verdict.PASS else Trigger.GATES_VOID
    return Trigger.PATIENCE_OVER if seen.now - release.asked > terms.patience else None


def _of_stage(release: Release, terms: Terms, seen: Seen, waited: float) -> Trigger | None:
    if seen.verdict is Verdict.ERROR:
        return Trigger.GUARDS_BROKEN
    if _is_last(release, terms.stages) and not terms.watch:
        return None
    stage = plan.current(terms.stages, Progress(release.stage, 0, 0.0))
    enough = seen.pairs >= max(1, stage.pairs)
    if enough and seen.verdict is Verdict.PASS and waited >= stage.at_least:
        return Trigger.EVIDENCE
    return Trigger.PATIENCE_OVER if waited > terms.patience else None


def _target(release: Release, terms: Terms, why: Trigger, restart: int) -> tuple[Phase, int]:
    if why is Trigger.EVIDENCE:
        if _is_last(release, terms.stages):
            return Phase.PROMOTED, release.stage
        index = release.stage + 1 if 0 <= release.stage < len(terms.stages) else 0
        return _phase(terms.stages[index]), index
    current = plan.current(terms.stages, Progress(release.stage, 0, 0.0))
    if why is Trigger.GATES_PASSED:
        return (Phase.APPROVING if terms.people else _phase(current)), release.stage
    if why is Trigger.APPROVED:
        return _phase(current), release.stage
    if why is Trigger.REARMED:
        return _first(terms, plan.current(terms.stages, Progress(restart, 0, 0.0))), restart
    only = {
        Trigger.GATES_FAILED: Phase.HALTED,
        Trigger.GATES_BROKEN: Phase.HALTED,
        Trigger.GATES_VOID: Phase.GATING,
        Trigger.GUARDS_BROKEN: Phase.HALTED,
        Trigger.PATIENCE_OVER: Phase.HALTED,
        Trigger.TRIPPED: Phase.ROLLED_BACK,
        Trigger.ABORTED: Phase.ABORTED,
        Trigger.WATCH_OVER: Phase.DONE,
    }
    return only[why], release.stage


def _is_last(release: Release, stages: Sequence[Stage]) -> bool:
    return release.stage == len(stages) - 1


def _first(terms: Terms, stage: Stage) -> Phase:
    if terms.gated:
        return Phase.GATING
    return Phase.APPROVING if terms.people else _phase(stage)


def _asking(release: Release, now: float) -> Release:
    first = release.phase is Phase.APPROVING and not release.asked
    return replace(release, asked=now) if first else release


def _phase(stage: Stage) -> Phase:
    return Phase.SHADOW if stage.mode is Mode.SHADOW else Phase.CANARY


def _name(phase: Phase) -> str:
    return phase.value.replace(" ", "_")
