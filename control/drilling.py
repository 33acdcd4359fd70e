"""Drills in the control process: asked for or scheduled, performed, measured, and cleared away.

A drill is durable before its fault is in any worker, and so is the word that the real trial is set aside
(`control.rehearsing`). Then nothing is done but to watch: the guards trip the switch by themselves, by the
same way as ever. When every answer that was under way is in, exactly the kills that the fault caused are
cleared, in one transaction with the report and its audit event, and the trial goes on as it was before. A
kill by anybody else stays, and fails the drill.

A process that dies in the middle leaves a fault that ends by itself, a switch that is tripped if it had
tripped, and a drill that is found open by the next life, or after its time by whoever leads: it failed.

In a fleet a drill spoils answers at the replica that runs it, and its trip goes to all of them. Evidence that
replicas share is bound to the kills that were cleared, so there the trial starts anew afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from control import rehearsing
from control.audit_recorder import Recorder
from control.clock import Clock, iso_or_none
from control.drill_traffic import OwnTraffic, bodies
from control.events import Events
from control.identity import NOBODY, Identity
from control.keeper import Keeper
from control.log import note
from control.rehearsing import OpenDrill
from control.switchboard import Switchboard
from domain.errors import PointsmanError, StaleRearm, StateUnavailable
from domain.kill import Clearance
from domain.ports import Lease
from domain.routing import FULL_WEIGHT, Arm, Mode
from domain.snapshot import Drill, Fault
from gates import drill, drills
from gates.drill import Phase, Rehearsal, Trigger
from gates.drills import DrillUnderWay, Report
from killswitch.stores.database import keep_clearance
from settings.drills import DrillSettings
from settings.schema import EndpointSettings
from shadow.tasks import Tasks
from shadow.wire import Batch

LOOK = 1.0
"""Seconds between two looks at the schedules."""
UNDER_WAY = 0.75
"""Seconds beyond the endpoint's timeout until which a worker has reported its last answer."""
READ_EVERY = 15
"""Looks between two readings of the history, for what other replicas have done."""
STEP = 3600.0
"""Seconds by which a clock that was set back is waited for."""
LATE = 60.0
"""Seconds after its time for which a drill of another replica is left to that replica."""
RETRY = 1.0
"""Seconds between two attempts to end a drill that could not be recorded."""
PATIENCE = 5.0
"""Seconds more for which a trip waits for the word of a worker that it has spoilt an answer."""
MOST_LISTED = 200
SCHEDULE = Identity("schedule", "")

log = logging.getLogger("pointsman.drill")
T = TypeVar("T")


class DrillRefused(PointsmanError):  # noqa: N818 - named after what was refused
    """This drill must not run now; the message says why, and the way out."""


class UnknownDrill(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """No drill has this id."""


@dataclass(frozen=True, slots=True)
class LastDrill:
    """The last drill of an endpoint: when it began (wall time) and its report."""

    began: float
    report: Mapping[str, object]


class DrillDesk:
    """Every endpoint's drills.

    Attributes:
        last: the last drill of each endpoint.
        outcomes: drills that ended in this life, by endpoint and outcome.
        since: wall time from which on a schedule is known.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        keeper: Keeper,
        lease: Lease,
        events: Events,
        clock: Clock,
        tasks: Tasks,
        replica: str,
    ) -> None:
        self.last: dict[str, LastDrill] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.since = clock.wall()
        self._switchboard = switchboard
        self._recorder: Recorder = switchboard.recorder
        self._keeper = keeper
        self._lease = lease
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._replica = replica
        self._open: dict[str, OpenDrill] = {}
        self._beginning: set[str] = set()
        self._looked = clock.wall()
        self._told_overdue: set[str] = set()

    # Life.

    async def run(self) -> None:
        """End what an earlier life left, and keep the schedules, for ever."""
        resumed, looks = False, 0
        while True:
            try:
                if resumed:
                    await self._look()
                    looks += 1
                if looks % READ_EVERY == 0:
                    resumed = await self._resumed() or resumed
            except Exception:
                # A mistake of ours with one drill must not end the schedules of all.
                log.exception("drills not looked at")
            await asyncio.sleep(LOOK)

    async def _resumed(self) -> bool:
        """Whether the history is read, and what was interrupted is ended."""
        if self._switchboard.unreadable is not None:
            return False
        try:
            await self._fail_interrupted()
            newest = await self._read(drills.newest)
            self.last |= {name: LastDrill(*found) for name, found in newest.items() if name not in self._open}
        except StateUnavailable:
            return False  # counted and logged by the keeper
        return True

    async def _fail_interrupted(self) -> None:
        now = self._clock.wall()
        mine = self._open.keys() | self._beginning  # before the reading: one may end while it goes on
        for one in await self._read(lambda on: drills.interrupted(on, self._replica, now - LATE)):
            if one.endpoint in mine or one.endpoint in self._open or one.endpoint in self._beginning:
                continue
            report: Report = {
                **one.report, "state": Phase.FAILED.value, "passed": False,
                "reason": "the control process ended in the middle of it",
                "restored": self._switchboard.sharing.alone,
            }  # fmt: skip
            await self._conclude(one.endpoint, report)

    async def _look(self) -> None:
        now, before = self._clock.wall(), self._looked
        # A clock that is set back a little must not run a drill twice, one that was far ahead none for long.
        self._looked = before if before - STEP < now < before else now
        if self._lease.held() is None:
            return
        for settings in self._switchboard.settings.endpoints:
            every = settings.drills.every
            if every is None or not self.stands_here(settings.drills):
                continue
            if drill.next_due(every, before) <= now:
                await self._start_scheduled(settings.name)
            self._tell_if_overdue(settings.name)

    async def _start_scheduled(self, name: str) -> None:
        try:
            await self.start(name, None, SCHEDULE)
        except PointsmanError as error:
            note(log, logging.WARNING, "scheduled drill not run", endpoint=name, reason=str(error))

    def stands_here(self, settings: DrillSettings) -> bool:
        """Whether the drills with these settings are for this gateway's environment."""
        return settings.environment in (None, self._switchboard.settings.stands_in)

    def overdue(self, settings: EndpointSettings) -> bool:
        """Whether a scheduled drill of this endpoint was due and has not been run."""
        every = settings.drills.every
        if every is None or not self.stands_here(settings.drills):
            return False
        last = self.last.get(settings.name)
        return drill.overdue(every, self._clock.wall(), self.since if last is None else last.began)

    def _tell_if_overdue(self, name: str) -> None:
        settings = self._switchboard.settings.endpoint(name)
        if not self.overdue(settings):
            self._told_overdue.discard(name)
        elif name not in self._told_overdue:
            self._told_overdue.add(name)
            reason = f"a drill was due by the schedule {settings.drills.every!r} and was not run"
            self._tell(
                {"endpoint": name, "id": "", "state": "overdue", "recovery_ms": None, "reason": reason}
            )

    # What operators ask for.

    async def start(self, name: str, fault: Fault | None, who: Identity = NOBODY) -> Report:
        """Begin a drill of the endpoint `name`, with its configured fault or another; answers its report.

        Raises UnknownEndpoint, DrillRefused, DrillUnderWay, ConfigError (its requests) and StateUnavailable.
        """
        settings = self._switchboard.judge(name).settings
        rehearsed = settings.drills if fault is None else replace(settings.drills, fault=fault)
        self._demand(settings, rehearsed)
        self._beginning.add(name)
        try:
            return await self._begin(name, settings, rehearsed, who)
        finally:
            self._beginning.discard(name)

    def _demand(self, settings: EndpointSettings, rehearsed: DrillSettings) -> None:
        """Raise DrillRefused, or DrillUnderWay, unless this drill may begin now."""
        board, name = self._switchboard, settings.name
        if name in self._beginning or name in self._open:
            raise DrillUnderWay(f"a drill of {name} is under way: wait for its end")
        if board.unreadable is not None:
            raise StateUnavailable(board.unreadable)
        judge = board.judge(name)
        refused = drill.refusal(
            settings, rehearsed, board.settings.stands_in, judge.stage, tripped=board.tripped(name)
        )
        if refused is None and self._lease.held() is None:
            refused = "another replica leads: ask that one"
        if refused is None and not board.sharing.alone and judge.ruled:
            refused = (
                "replicas share their evidence, which starts anew after a drill, and a release rests on it: "
                "run drills where there is one replica, or without a release"
            )
        if refused is not None:
            raise DrillRefused(f"no drill of {name} now: {refused}")

    async def _begin(
        self, name: str, settings: EndpointSettings, rehearsed: DrillSettings, who: Identity
    ) -> Report:
        board = self._switchboard
        identity = uuid.uuid4().hex
        found = await asyncio.to_thread(bodies, settings)
        traffic = OwnTraffic(board.settings, settings, identity, found) if found else None
        began, at = self._clock.monotonic(), self._clock.wall()
        judge = board.judge(name)
        begun = Rehearsal(
            identity, name, judge.candidate, who.name, rehearsed.fault, rehearsed.share / FULL_WEIGHT,
            rehearsed.served, rehearsed.within, began, at,
        )  # fmt: skip
        told = self._recorder.event(
            "drill.begun", "drill", name, actor=who.name, authentication=who.authentication,
            reason=f"fault {rehearsed.fault.value} in {rehearsed.share / 100:g}% of the candidate's answers",
            after={"drill": identity, "fault": rehearsed.fault.value, "served": rehearsed.served},
        )  # fmt: skip
        ends = at + rehearsed.lasts + settings.timeout + LATE
        await self._recorder.together(
            lambda on: drills.begin(on, begun.report(), at, ends, self._replica), told
        )
        try:
            await board.keep_aside(name)
            self._demand_still(name, judge, settings, rehearsed)
        except (DrillRefused, StateUnavailable) as error:
            judge.aside = False
            if (newer := board.judges.get(name)) is not None:
                newer.aside = False  # a reload put it in the place of the other
            board.touch(name)
            failed = begun.step(Trigger.CALLED_OFF, str(error))
            await self._conclude(name, failed.report())
            raise
        amount = rehearsed.latency if rehearsed.fault is Fault.LATENCY else rehearsed.noise
        staged = Drill(
            identity, rehearsed.fault, rehearsed.share, rehearsed.served,
            self._clock.monotonic() + rehearsed.lasts, amount, settings.compare.kind, settings.compare.output,
        )  # fmt: skip
        stage = drill.staged(rehearsed, judge.stage)
        one = rehearsing.begin(board, name, staged, stage, self._clock)
        board.rehearsed(f"drill:{identity}")
        self._open[name] = one
        self.last[name] = LastDrill(at, begun.report())
        note(log, logging.WARNING, "drill", endpoint=name, drill=identity, fault=rehearsed.fault.value)
        serves = rehearsed.served and stage.mode is Mode.CANARY
        self._tasks.spawn(self._perform(one, begun, traffic, serves=serves), f"drill of {name}")
        return begun.report()

    def _demand_still(
        self, name: str, judge: object, settings: EndpointSettings, rehearsed: DrillSettings
    ) -> None:
        """What was true before the drill was written has to be true when it begins."""
        board = self._switchboard
        if board.judges.get(name) is not judge:
            raise DrillRefused(f"no drill of {name} now: the configuration was changed meanwhile")
        stage = board.judge(name).stage
        refused = drill.refusal(
            settings, rehearsed, board.settings.stands_in, stage, tripped=board.tripped(name)
        )
        if refused is not None:
            raise DrillRefused(f"no drill of {name} now: {refused}")

    async def find(self, name: str) -> Report:
        """The report of the drill whose id is `name`. Raises UnknownDrill and StateUnavailable."""
        found = await self._read(lambda on: drills.find(on, name))
        if found is None:
            raise UnknownDrill(f"there is no drill {name!r}; GET /api/v1/drills lists them")
        return found

    async def listed(self, endpoint: str | None) -> tuple[Report, ...]:
        """The newest drills, of one endpoint or of all."""
        return await self._read(lambda on: drills.listed(on, endpoint, MOST_LISTED))

    def schedule(self) -> tuple[dict[str, object], ...]:
        """Every endpoint with a candidate: when its next drill is due, and what it would do."""
        found: list[dict[str, object]] = []
        for one in self._switchboard.settings.endpoints:
            if one.candidate is None:
                continue
            here, every = self.stands_here(one.drills), one.drills.every
            due = None if every is None or not here else drill.next_due(every, self._clock.wall())
            found.append({
                "endpoint": one.name, "every": every, "next": iso_or_none(due), "overdue": self.overdue(one),
                "environment": one.drills.environment, "here": here, "fault": one.drills.fault.value,
                "share": one.drills.share / FULL_WEIGHT, "served": one.drills.served,
                "within_seconds": one.drills.within, "under_way": one.name in self._open,
                "faults": [fault.value for fault in Fault],
            })  # fmt: skip
        return tuple(found)

    def reported(self, batch: Batch) -> None:
        """What a worker has to say of drills."""
        for report in batch.drills:
            for one in self._open.values():  # those that were called off included
                one.reported(batch.session, report)

    # The drill itself.

    async def _perform(
        self, one: OpenDrill, begun: Rehearsal, traffic: OwnTraffic | None, *, serves: bool
    ) -> None:
        name = begun.endpoint
        before = self._requests(name)
        sending = None if traffic is None else self._tasks.spawn(traffic.run(), f"requests of {name}")
        try:
            ended = await self._watched(one, begun)
            if one.fallen is not None:
                await self._reported(one)
            if ended.phase is not Phase.FAILED:
                ended = self._measured(one, ended)
                if one.called_off is not None:
                    ended = ended.step(Trigger.CALLED_OFF, one.called_off)
                else:
                    unasked = serves and self._requests(name)[2] == before[2]
                    ended = ended.judged(unasked=unasked)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait({sending})
        after = self._requests(name)
        ended = replace(
            self._measured(one, ended),
            pairs=one.judge.tally.judged,
            requests=after[0] - before[0],
            failed_requests=after[1] - before[1],
        )
        await self._end(one, ended)

    async def _reported(self, one: OpenDrill) -> None:
        """Wait until the workers have told of their last bad answers, and of one at least."""
        await asyncio.sleep(one.real.settings.timeout + UNDER_WAY)
        until = self._clock.monotonic() + PATIENCE
        await self._until(one, lambda: one.answers.spoilt > 0, until)

    async def _watched(self, one: OpenDrill, begun: Rehearsal) -> Rehearsal:
        """The drill once all have confirmed, or failed for what came in between."""
        if not await self._until(one, lambda: one.fallen is not None, one.drill.until):
            if one.called_off is not None:
                return begun.step(Trigger.CALLED_OFF, one.called_off)
            answers = one.answers
            lacking = "; no answer was spoilt" if answers.spoilt == 0 else ""
            lacking += f"; {answers.left} could not be altered" if answers.left else ""
            return begun.step(Trigger.UNNOTICED, f"{Trigger.UNNOTICED.value}{lacking}")
        ended = self._measured(one, begun).step(Trigger.FELL)
        patience = self._clock.monotonic() + one.real.settings.timeout + LATE
        if not await self._until(one, lambda: one.settled, patience):
            if one.called_off is not None:
                return ended.step(Trigger.CALLED_OFF, one.called_off)
            return ended.step(Trigger.SHORT, "the workers were never asked")
        ended = self._measured(one, ended)
        if one.confirmed_at is None:
            return ended.step(Trigger.SHORT, "not every worker confirmed that the candidate is out")
        if one.shared is False:
            return ended.step(Trigger.SHORT, "the other replicas could not be told")
        return ended.step(Trigger.CONFIRMED)

    async def _until(self, one: OpenDrill, holds: Callable[[], bool], until: float) -> bool:
        """Wait until it `holds`; False when the time is over, or the drill was called off."""
        while not holds():
            if one.called_off is not None:
                return False
            one.news.clear()
            left = until - self._clock.monotonic()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(one.news.wait(), left)
        return one.called_off is None

    def _measured(self, one: OpenDrill, drilled: Rehearsal) -> Rehearsal:
        """With what is known by now."""
        fallen, breach = one.fallen, one.breach
        drilled = replace(drilled, answers=one.answers, confirmed=one.confirmed_at)
        if fallen is None:
            return drilled
        drilled = replace(drilled, breach=fallen.began, tripped=fallen.applied, cause=fallen.cause)
        if breach is None:
            return drilled
        return replace(
            drilled, detection_pairs=breach.rising_count, estimate=breach.estimate, tolerance=breach.limit,
            evidence=breach.evidence,
        )  # fmt: skip

    def _requests(self, name: str) -> tuple[int, int, int]:
        """Requests of clients: answered, answered with 5xx, and those that the candidate was asked for."""
        counted = self._switchboard.tallies.requests
        mine = [(key[2], key[3], count) for key, count in counted.items() if key[0] == name]
        return (
            sum(count for _, status, count in mine if status != "0"),
            sum(count for _, status, count in mine if status.startswith("5")),
            sum(count for arm, _, count in mine if arm == Arm.CANDIDATE.value),
        )

    async def _end(self, one: OpenDrill, ended: Rehearsal) -> None:
        name, board = ended.endpoint, self._switchboard
        ended = self._measured(one, ended)
        # Whatever the database does, the candidate answers as it is again, and is judged.
        if board.rehearsals.get(name) is one:
            rehearsing.end(board, name)
        self._take_up(name)
        if one.fallen is not None and not ended.is_own:
            await self._keep_out(one)
        if not board.sharing.alone and one.fallen is not None:
            ended = replace(ended, restored=False)
        while True:
            try:
                await self._conclude(name, ended.report())
                break
            except StateUnavailable as error:
                note(log, logging.ERROR, "drill not ended", endpoint=name, drill=ended.id, reason=str(error))
                await asyncio.sleep(RETRY)
        self._open.pop(name, None)
        recovery = ended.recovery
        if recovery is not None:
            self._switchboard.tallies.recovery_seconds.of(name, "drill").add(recovery)

    async def _keep_out(self, one: OpenDrill) -> None:
        """No bad answer had gone out when the switch tripped: the candidate itself is bad, and stays out."""
        board, fallen = self._switchboard, one.fallen
        if fallen is None or fallen.kill.endpoint not in board.judges:
            return
        kill = fallen.kill
        if kill.id in board.kill_state(kill.endpoint).cleared:
            return  # by an operator, who has seen it
        reason = f"{kill.reason} (a drill was under way, and had spoilt no answer yet)"
        made = str(uuid.uuid4()), self._clock.wall()
        # Durable before the drill's own kill is cleared.
        await board.settle(board.trip(kill.endpoint, kill.actor, fallen.cause, reason, one.breach, made))

    async def _conclude(self, name: str, report: Report) -> None:
        """Keep the report, and clear the kills that the fault caused.

        Raises StateUnavailable: then nothing was changed, and it can be done again.
        """
        board, recorder = self._switchboard, self._recorder
        identity, state = str(report["id"]), str(report["state"])
        clearance = await self._clearance(name, identity)
        told = recorder.event(
            f"drill.{state}", "drill", name, reason=str(report["reason"]), after={"drill": identity},
            evidence=report,
        )  # fmt: skip
        events = [told] if clearance is None else [recorder.rearmed(clearance), told]

        def work(on: Connection) -> bool:
            if clearance is not None:
                keep_clearance(on, clearance)
            return drills.end(on, report)

        first = await recorder.together(work, *events)
        if clearance is not None:
            board.cleared_drill(clearance)
            judge = board.trial(name)
            if judge is not None and not board.sharing.alone:  # the other replicas have forgotten it too
                judge.rearm(board.generations.last + 1)
        self._take_up(name)
        if first:
            self._told(name, report)

    async def _clearance(self, name: str, identity: str) -> Clearance | None:
        """What clears exactly the kills that the fault caused; None where there are none, or must not yet."""
        board = self._switchboard
        mine = rehearsing.prefix(identity)
        ids = frozenset(kill.id for kill in board.kill_state(name).uncleared if kill.id.startswith(mine))
        if not ids:
            return None
        reason = f"drill {identity} is over: its own fault tripped the switch"
        clearance = Clearance(name, ids, f"drill:{identity}", reason, self._clock.wall())
        try:
            await board.sharing.rearm(clearance)
        except StaleRearm:
            return None  # somebody else has killed: whoever re-arms clears these too
        return clearance

    def _take_up(self, name: str) -> None:
        """Serve from the trial as it is now."""
        board = self._switchboard
        judge = board.judges.get(name)
        if judge is None:
            return
        board.publish()
        board.rehearsed("drill")
        breach = judge.guards.breach
        if breach is not None and not board.tripped(name):
            board.breached(name, breach)  # labels that came during the drill

    def _told(self, name: str, report: Report) -> None:
        state = str(report["state"])
        began = datetime.fromisoformat(str(report["began_at"])).timestamp()
        self.last[name] = LastDrill(began, report)
        self.outcomes[name, state] += 1
        level = logging.INFO if state == Phase.PASSED.value else logging.ERROR
        note(log, level, f"drill {state}", endpoint=name, drill=report["id"], reason=report["reason"])
        told = {key: report[key] for key in ("endpoint", "id", "recovery_ms", "reason")}
        self._tell({**told, "state": state})

    def _tell(self, data: Mapping[str, object]) -> None:
        self._events.tell("drill", data)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.read(work))
