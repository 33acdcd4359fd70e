"""Releases in the control process: what is seen of an endpoint, the step kept, and then what clients get.

A step is durable before anything follows from it, and what follows from it is read off the release as it
stands in the database, again and again. So a process that is killed at any moment goes on from where the
release is: either the step was not taken, and is taken now, or it was, and only its effect is repeated.

An endpoint is under this rule when gates or a watch are configured for it, or when a release was started for
it. Others move by their plan alone (`control.judge`), as ever. Where the database cannot be read, an endpoint
under the rule stays as it is; before the first reading nobody is served by its candidate.

Only the leader takes steps. The others follow what stands in the database that all replicas share.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection

from control.approving import ApprovalDesk
from control.audit_recorder import numbers
from control.clock import Clock, iso
from control.events import Events
from control.gating import GateDesk, GatesBusy, Run
from control.hearing import Hearing
from control.identity import NOBODY, Identity
from control.judge import Judge
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard, UnknownEndpoint
from domain.errors import GateError, PointsmanError, StateUnavailable
from domain.kill import is_rehearsed
from domain.ports import Lease
from domain.verdict import Verdict
from gates import plan, release, releases
from gates.approvals import Agreement
from gates.plan import Progress
from gates.release import Phase, Release, Seen, Terms, Trigger
from gates.releases import AlreadyOpen, StaleStep
from gates.result import demands_digest, version_digest
from gates.runner import demand_two
from settings.schema import EndpointSettings
from shadow.tasks import Tasks

TICK, IDLE = 0.25, 1.0
"""Seconds between two looks, where there are releases and where there are none."""

RETRY, LONGEST_RETRY = 60.0, 900.0
"""Seconds after which gates that were INCONCLUSIVE, or whose results are void, are executed again: at first,
and at most, for the pause doubles each time."""

MOST_LISTED = 200
PLAN = "plan"
"""Who takes the steps that nobody asked for."""

BY_ITSELF = Identity(PLAN, "")

log = logging.getLogger("pointsman.release")
T = TypeVar("T")


class ReleaseRefused(PointsmanError):  # noqa: N818 - named after what was refused
    """The release cannot be started, or aborted; the message says why."""


class UnknownRelease(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """No release has this id."""


class ReleaseDesk:
    """Every endpoint's release.

    `latest`: where each stands, by endpoint, as it was read or written last; `agreements`: how far people
    agree on those that ask for approvals.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        hearing: Hearing,
        gates: GateDesk,
        approvals: ApprovalDesk,
        *,
        keeper: Keeper,
        lease: Lease,
        events: Events,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self.latest: dict[str, Release] = {}
        self.agreements: dict[str, Agreement] = {}
        self._switchboard = switchboard
        self._hearing = hearing
        self._gates = gates
        self._approvals = approvals
        self._keeper = keeper
        self._lease = lease
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._running: set[str] = set()
        self._runs: dict[str, tuple[Release, Run]] = {}
        self._executed: dict[str, tuple[tuple[str, float], int]] = {}
        self._turn = asyncio.Lock()

    # Life.

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            ruled = any(judge.ruled for judge in self._switchboard.judges.values())
            await asyncio.sleep(TICK if ruled else IDLE)

    async def look(self) -> None:
        """Let every release take the step that is due, and see to it that what it says is served."""
        if self._switchboard.unreadable is not None:
            return
        async with self._turn:
            try:
                known = await self._read(releases.newest)
                for name, judge in tuple(self._switchboard.judges.items()):
                    # A drill's trip is none, and it is over before a release has missed anything.
                    rehearses = self._switchboard.rehearses(name)
                    if self._switchboard.judges.get(name) is judge and not rehearses:
                        await self._look_safely(name, judge, known.get(name))
            except StateUnavailable:
                return  # counted and logged by the keeper; nothing has changed
            except Exception:
                # Such as a release that a newer version wrote: what is served stays, and this goes on.
                log.exception("releases not looked at")

    async def _look_safely(self, name: str, judge: Judge, found: Release | None) -> None:
        try:
            await self._look_at(name, judge, found)
        except (StaleStep, AlreadyOpen) as error:
            note(log, logging.INFO, "step not taken", endpoint=name, reason=str(error))
        except StateUnavailable:
            raise  # it is so for all of them
        except Exception as error:
            # A mistake of ours with one endpoint must not stop the others from being rolled back.
            fields = {"endpoint": name, "reason": f"{type(error).__name__}: {error}"}
            log.exception("release not looked at", extra={"fields": fields})

    async def _look_at(self, name: str, judge: Judge, found: Release | None) -> None:
        settings, token = judge.settings, self._lease.held()
        if found is not None and not _is_of(found, settings):
            if token is not None:
                await self._supersede(found, settings, token)
            found = None
        if found is None and (settings.candidate is None or not settings.released):
            self.latest.pop(name, None)
            if judge.ruled:
                judge.free()
                self._switchboard.moved(name)
            return
        if token is not None:
            found = found or await self._open(settings, token)
            digest = self._switchboard.settings.digest
            seen = await self._seen(found, judge)
            now = self._switchboard.judges.get(name), self._switchboard.settings.digest
            if now != (judge, digest):
                return  # another configuration came meanwhile: what was seen is not of it
            moved = release.step(found, terms(settings), seen)
            if moved is not None:
                found = await self._take(*moved, token)
        elif found is not None and found.phase is Phase.APPROVING:
            await self._approved(found)
        if found is not None and self._switchboard.judges.get(name) is judge:
            self._apply(name, judge, found)

    async def _supersede(self, found: Release, settings: EndpointSettings, token: int) -> None:
        """Abort `found`, which is of other versions, or of other gates, than those that are configured."""
        seen = Seen(self._clock.wall(), abort="other versions or gates are configured")
        moved = release.step(found, terms(settings), seen)
        if moved is not None:
            await self._take(*moved, token)

    async def _open(self, settings: EndpointSettings, token: int, who: Identity = BY_ITSELF) -> Release:
        candidate, now = settings.candidate, self._clock.wall()
        if candidate is None:
            raise ReleaseRefused(f"endpoint {settings.name} has no candidate")
        fresh = Release(
            uuid.uuid4().hex, settings.name, settings.incumbent.name, candidate.name,
            version_digest(settings.incumbent, settings.path), version_digest(candidate, settings.path),
            Phase.GATING, 0, now, now, reason="started", by=who.name,
            gates=demands_digest(settings.gates, settings.approvals), cleared=self._cleared(settings.name),
        )  # fmt: skip
        begun = release.begun(fresh, terms(settings))
        await self._write(lambda on: releases.open_release(on, begun, token), begun, "started", who)
        self._tell(begun, "started")
        return begun

    async def _take(self, moved: Release, why: Trigger, token: int, who: Identity = BY_ITSELF) -> Release:
        told = moved
        if why in (Trigger.GATES_FAILED, Trigger.GATES_BROKEN) and moved.endpoint in self._runs:
            told = replace(moved, reason=f"{why.value}: {_failures(self._runs[moved.endpoint][1])}")
        await self._write(lambda on: releases.take(on, told, why, token), told, why.value, who)
        self._runs.pop(moved.endpoint, None)
        self._tell(told, why.value)
        return told

    def _tell(self, moved: Release, why: str) -> None:
        told: dict[str, object] = {
            "endpoint": moved.endpoint, "release": moved.id, "phase": moved.phase.value,
            "stage": moved.stage, "steps": moved.steps, "candidate": moved.candidate, "reason": moved.reason,
            "at": iso(moved.since), "trigger": why,
        }  # fmt: skip
        note(log, logging.INFO, "release", **told)
        self._events.tell("release", told)
        if moved.phase is Phase.APPROVING:
            asked: dict[str, object] = {
                "endpoint": moved.endpoint, "release": moved.id, "state": "wanted", "by": PLAN,
                "at": iso(moved.since),
            }  # fmt: skip
            self._events.tell("approval", asked)

    # What is seen.

    async def _seen(self, found: Release, judge: Judge) -> Seen:
        staged = found.phase in (Phase.SHADOW, Phase.CANARY)
        gates = await self._gated(found, judge.settings) if found.phase is Phase.GATING else None
        approved = found.phase is Phase.APPROVING and await self._approved(found)
        if approved and judge.settings.gates.configured:
            run = await self._gates.latest(found.endpoint)
            gates = Verdict.PASS if run.passed else None
        # Nothing is awaited from here until the step is being written, so that it rests on one moment.
        arrived = not staged or _is_at(judge, found)
        return Seen(
            self._clock.wall(),
            tripped=self._switchboard.tripped(found.endpoint),
            verdict=judge.verdict if arrived and judge.may_move() else Verdict.INCONCLUSIVE,
            pairs=judge.progress.pairs if arrived else 0,
            gates=gates,
            restart=judge.restart,
            approved=approved,
            cleared=self._cleared(found.endpoint),
        )

    def _cleared(self, name: str) -> int:
        cleared = self._switchboard.kill_state(name).cleared
        return sum(not is_rehearsed(kill) for kill in cleared)

    async def _approved(self, found: Release) -> bool:
        agreed = await self._approvals.agreement(found)
        self.agreements[found.endpoint] = agreed
        return not agreed.missing

    async def _gated(self, found: Release, settings: EndpointSettings) -> Verdict | None:
        """What the gates say for this very phase of this release; they are executed if that is unknown."""
        name = found.endpoint
        if name in self._running or self._switchboard.tripped(name):
            return None
        if name not in self._runs:
            known = await self._gates.latest(name)
            begun = min((one.started for one in known.results), default=0.0)
            if known.results and begun >= found.since:
                self._runs[name] = found, known
        phase, run = self._runs.get(name, (found, None))
        if run is None or (phase.id, phase.since) != (found.id, found.since):
            self._execute(found)
            return None
        ended = max((one.ended for one in run.results), default=found.since)
        if run.passed:
            # A step rests on what holds when it is taken, not on what held when the gates ended.
            run = await self._gates.held(run)
            self._runs[name] = phase, run
        unsettled = run.void is not None or run.verdict is Verdict.INCONCLUSIVE
        if unsettled and self._clock.wall() - ended >= self._pause(name):
            self._execute(found)
        return run.verdict if run.void is None else None

    def _pause(self, name: str) -> float:
        """Seconds until gates that said nothing are executed once more."""
        times = self._executed[name][1] if name in self._executed else 1
        return min(LONGEST_RETRY, RETRY * 2.0 ** min(times - 1, 10))

    def _execute(self, found: Release) -> None:
        at = found.id, found.since
        before, times = self._executed.get(found.endpoint, (at, 0))
        self._executed[found.endpoint] = at, times + 1 if before == at else 1
        self._running.add(found.endpoint)
        self._tasks.spawn(self._run_gates(found), f"gates of {found.endpoint}")

    async def _run_gates(self, found: Release) -> None:
        name = found.endpoint
        try:
            self._runs[name] = found, await self._gates.run(name)
        except GateError as error:
            self._runs[name] = found, Run(name, Verdict.ERROR, detail=str(error))
        except (GatesBusy, StateUnavailable, UnknownEndpoint) as error:
            note(log, logging.WARNING, "gates not executed", endpoint=name, reason=str(error))
            await asyncio.sleep(TICK)
        finally:
            self._running.discard(name)

    # What follows.

    def _apply(self, name: str, judge: Judge, found: Release) -> None:
        """See to it that what `found` says is served."""
        self.latest[name] = found
        if found.phase is Phase.APPROVING:
            self.agreements.setdefault(name, Agreement(judge.settings.approvals.people))
        else:
            self.agreements.pop(name, None)
        if release.missed(found, self._cleared(name)):
            return  # the re-arm has put it into shadow, and the next step is the roll-back
        placed = release.placed(found)
        staged = found.phase in (Phase.SHADOW, Phase.CANARY)
        elsewhere = staged and not _is_at(judge, found)
        shared = self._hearing.shared
        if elsewhere and shared is not None:
            if shared.leads(name):
                shared.move(name, found.stage, found.since)
            if judge.ruled and judge.placed == placed:
                return
        elif elsewhere:
            judge.progress = Progress(found.stage, 0, found.since)
        if elsewhere or not judge.ruled or judge.placed != placed:
            judge.rule(placed)
            self._switchboard.moved(name)

    # What operators ask for.

    async def start(self, name: str, who: Identity) -> Release:
        """Start a release of what is configured for endpoint `name`, because `who` wants to.

        Raises UnknownEndpoint, GateError and ReleaseRefused (it cannot be started, and why), AlreadyOpen, and
        StateUnavailable.
        """
        async with self._turn:
            found = (await self._read(releases.newest)).get(name)
            judge, token = self._startable(name, who)
            if found is not None and found.phase is Phase.DONE and _is_of(found, judge.settings):
                raise ReleaseRefused(f"{found.candidate} is released already: name it as the incumbent")
            opened = await self._open(judge.settings, token, who)
            if self._switchboard.judges.get(name) is judge:
                self._apply(name, judge, opened)
            return opened

    def _startable(self, name: str, who: Identity) -> tuple[Judge, int]:
        """Whose release may be started by `who`, and the token to do so. Raises as `start`."""
        judge = self._switchboard.judge(name)
        settings = judge.settings
        demand_two(settings)
        if self._switchboard.rehearses(name):
            raise ReleaseRefused(f"a drill of {name} is under way: wait for its end")
        if self._switchboard.tripped(name):
            raise ReleaseRefused(f"{name} is tripped: the candidate is out until somebody re-arms it")
        endless = release.never_ends(terms(settings), settings.guards.watched)
        if endless is not None:
            raise ReleaseRefused(f"this release could never finish: {endless}")
        if settings.approvals.people and not who.authentication:
            raise ReleaseRefused(
                "this release has to be approved, and not by whoever starts it: say who that is (--as NAME)"
            )
        token = self._lease.held()
        if token is None:
            raise ReleaseRefused("another replica leads: ask that one")
        return judge, token

    async def approve(self, name: str, reason: str, who: Identity) -> Release:
        """`who` approves the release whose id is `name`, which goes on by itself when everybody has.

        Raises UnknownRelease, ApprovalRefused, and StateUnavailable.
        """
        found = await self.find(name)
        self.agreements[found.endpoint] = await self._approvals.approve(found, reason, who)
        return await self.find(name)

    async def agreement(self, found: Release) -> Agreement:
        """How far people agree on `found`. Raises StateUnavailable."""
        return await self._approvals.agreement(found)

    async def abort(self, name: str, reason: str, who: Identity = NOBODY) -> Release:
        """Abort the release whose id is `name`; nobody is served by its candidate any more.

        Raises UnknownRelease, ReleaseRefused (it has ended), and StateUnavailable.
        """
        async with self._turn:
            found = await self.find(name)
            token = self._lease.held()
            if token is None:
                raise ReleaseRefused("another replica leads: ask that one")
            judge = self._switchboard.judges.get(found.endpoint)
            seen = Seen(self._clock.wall(), abort=f"aborted: {reason}")
            going_by = terms(judge.settings) if judge is not None else _NO_TERMS
            moved = release.step(found, going_by, seen)
            if moved is None:
                raise ReleaseRefused(f"the release has ended: it is {found.phase.value}")
            taken = await self._take(*moved, token, who)
            if judge is not None and self._switchboard.judges.get(found.endpoint) is judge:
                self._apply(found.endpoint, judge, taken)
            return taken

    def unsettled(self, found: Release) -> bool:
        """Whether its endpoint's switch says something that `found` has not heard of yet."""
        name = found.endpoint
        return self._switchboard.tripped(name) or release.missed(found, self._cleared(name))

    async def find(self, name: str) -> Release:
        """The release whose id is `name`. Raises UnknownRelease and StateUnavailable."""
        found = await self._read(lambda on: releases.find(on, name))
        if found is None:
            raise UnknownRelease(f"there is no release {name!r}; GET /api/v1/releases lists them")
        return found

    async def steps(self, name: str) -> tuple[dict[str, object], ...]:
        """Every step that it took."""
        return await self._read(lambda on: releases.steps(on, name))

    async def listed(self, endpoint: str | None) -> tuple[Release, ...]:
        """The newest releases, of one endpoint or of all."""
        return await self._read(lambda on: releases.listed(on, endpoint, MOST_LISTED))

    def now(self) -> float:
        """The wall clock that releases go by."""
        return self._clock.wall()

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.read(work))

    async def _write(self, work: Callable[[Connection], T], moved: Release, why: str, who: Identity) -> T:
        """Take a step and record it with the evidence that it rests on, in one transaction."""
        recorder, name = self._switchboard.recorder, moved.endpoint
        judge = self._switchboard.judges.get(name)
        reports = () if judge is None else judge.reports()
        evidence: dict[str, object] = {one.guard: numbers(one) for one in reports}
        if name in self._runs:
            evidence["gates"] = {one.gate: one.document() for one in self._runs[name][1].results}
        if why == Trigger.APPROVED.value and name in self.agreements:
            evidence["approvals"] = [
                {"by": one.by, "authentication": one.authentication, "at": one.at}
                for one in self.agreements[name].given
            ]
        after = {
            "release": moved.id, "phase": moved.phase.value, "stage": moved.stage, "trigger": why,
            "incumbent": moved.incumbent, "candidate": moved.candidate,
        }  # fmt: skip
        step = recorder.event(
            "release.moved", "release", name, actor=who.name, authentication=who.authentication,
            reason=moved.reason, after=after, evidence=evidence,
        )  # fmt: skip
        return await recorder.together(work, step)


def terms(settings: EndpointSettings) -> Terms:
    """What a release of this endpoint goes by."""
    return Terms(
        settings.gates.configured, settings.plan, settings.patience, settings.watch, settings.approvals.people
    )


_NO_TERMS = Terms(False, (plan.REARM_SHADOW,), 0.0, 0.0)


def _is_of(found: Release, settings: EndpointSettings) -> bool:
    candidate = settings.candidate
    return (
        candidate is not None
        and found.candidate_digest == version_digest(candidate, settings.path)
        and found.incumbent_digest == version_digest(settings.incumbent, settings.path)
        and (found.phase is Phase.DONE or found.gates == demands_digest(settings.gates, settings.approvals))
    )


def _is_at(judge: Judge, found: Release) -> bool:
    """Whether the evidence is being gathered for the very stage that the release is in."""
    return judge.progress.stage == found.stage and judge.progress.since >= found.since


def _failures(run: Run) -> str:
    bad = [one for one in run.results if one.verdict in (Verdict.FAIL, Verdict.ERROR)]
    return "; ".join(f"{one.gate}: {one.sentence}" for one in bad)[:2000] or run.detail
