"""The evidence of all replicas in one order: the shell around `killswitch.evidence_log`.

For each endpoint there is one log for each trial. A trial is what evidence is about: the versions, how they
are compared, the guards, the plan, and which kills were cleared. So evidence of different releases, of
different limits, or from before a re-arm never mixes, whatever a replica believes at the time.

What a replica reads of its own pairs goes to the log and comes back, a millisecond later, in the order that
all share. When the log does not answer within `PATIENCE` the replica goes on alone. While it has not joined
a log (none was begun yet, the leader is elsewhere) it goes on alone as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from control.clock import Clock
from control.judge import Judge
from control.log import note
from control.switchboard import Switchboard
from domain.errors import StateUnavailable
from domain.ports import Lease
from killswitch import evidence_log
from killswitch.evidence_log import Apply, Evidence, LogCopy, Moved, Sent, Standing
from killswitch.stores.redis_log import (
    EPOCH,
    FENCED,
    GAP,
    KNOWN,
    OK,
    Answer,
    LogName,
    LogState,
    Placed,
    Shown,
)
from settings.schema import EndpointSettings
from shadow.tasks import Tasks

PATIENCE = 0.1
"""Seconds that own evidence waits for the log before it is applied all the same."""

LOOK = 0.5
"""Seconds between two looks at all logs."""

CHECKPOINT = 5.0
"""Seconds between two checkpoints of the leader's."""

DEAF = 3.0
"""Seconds after which a subscription that brings nothing, though entries are missing, is made anew."""

TURN = 20
"""Entries that are applied before others get the loop."""

log = logging.getLogger("pointsman.evidence")


class EvidenceStore(Protocol):
    """Where the logs are; everything raises StateUnavailable when it is out of reach."""

    async def states(self, logs: Sequence[LogName]) -> list[LogState]:
        """How each stands."""
        ...

    async def append(self, log: LogName, epoch: str, sent: Sent, token: int | None = None) -> Answer:
        """Append `sent`, unless the log has it."""
        ...

    async def open(
        self, log: LogName, expected: str | None, epoch: str, token: int, standing: Standing
    ) -> Answer:
        """Begin `epoch` with `standing`, if `expected` is still the one in force."""
        ...

    async def checkpoint(self, log: LogName, epoch: str, token: int, standing: Standing) -> Answer:
        """Replace the checkpoint."""
        ...

    async def standing(self, log: LogName, epoch: str) -> Standing | None:
        """The checkpoint of `epoch`, None when there is none that can be read."""
        ...

    async def entries(self, log: LogName, epoch: str, after: int, most: int = 500) -> list[Placed]:
        """At most so many entries after index `after`, in order."""
        ...

    def lines(self, endpoints: Sequence[str]) -> AbstractAsyncContextManager[Any]:
        """What is appended from now on: an object whose `next(within)` gives a `Shown`, or None."""
        ...


class Listener(Protocol):
    """Who acts on evidence."""

    def applied(self, name: str, entry: Evidence | Moved, made: tuple[str, float] | None) -> None:
        """Take `entry` as evidence of the endpoint `name`. What follows from it has the id and the wall time
        of `made` at every replica; None: it is this one's own doing."""


class Trial:
    """One log and this replica's copy of it."""

    def __init__(self, name: LogName, judge: Judge, cleared: frozenset[str], copy: LogCopy) -> None:
        self.name = name
        self.judge = judge
        self.cleared = cleared
        self.copy = copy
        self.asked_at: float | None = None
        self.sending = False
        self.moving = False
        self.looking = False
        self.look_again = False
        self.checkpoint_at = 0.0
        self.checkpointed = 0


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What survives a restart of a copy."""

    trial: str
    sent: dict[str, int]
    heard: dict[str, int]
    waiting: bytes


class SharedEvidence:
    """All logs of this gateway's endpoints. `failures` counts calls that failed, `garbage` entries that
    could not be read."""

    def __init__(
        self,
        store: EvidenceStore,
        board: Switchboard,
        listener: Listener,
        lease: Lease,
        clock: Clock,
        tasks: Tasks,
        life: str,
    ) -> None:
        """`life` is unique for this process."""
        self.failures = 0
        self.garbage = 0
        self._store = store
        self._board = board
        self._listener = listener
        self._lease = lease
        self._clock = clock
        self._tasks = tasks
        self._life = life
        self._trials: dict[str, Trial] = {}
        self._begun = 0
        self._looked = asyncio.Event()

    # For the hearing.

    def offer(self, name: str, evidence: Evidence) -> None:
        """Own evidence of the endpoint `name`."""
        trial = self._trial(name)
        if trial is not None:
            self._apply(trial, trial.copy.offer(evidence))
            self._send(trial)

    def leads(self, name: str) -> bool:
        """Whether a step of the endpoint `name` is this replica's to take, now."""
        trial = self._trials.get(name)
        if trial is None or trial.moving or not trial.copy.following:
            return False
        return self._lease.held() is not None

    def move(self, name: str, stage: int, since: float) -> None:
        """Step to `stage`, if this replica leads and follows the log; done when the log shows it."""
        trial, token = self._trial(name), self._lease.held()
        if trial is None or token is None or trial.moving or not trial.copy.following:
            return
        trial.moving = True
        moved = Moved(token, trial.judge.progress.stage, stage, since)
        sent = Sent(f"{self._life}/{trial.copy.index}/{stage}", 1, moved)
        self._tasks.spawn(self._move(trial, sent, token), f"step of {name}")

    def holds(self, name: str, session: str, sequence: int) -> bool:
        """Whether the batch is in the evidence already, by way of an earlier life of this process."""
        trial = self._trials.get(name)
        return trial is not None and trial.copy.holds(session, sequence)

    async def ready(self, within: float) -> None:
        """Return when the logs were looked at once, or could not be in so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._looked.wait()
        except TimeoutError:
            return

    def watch(self) -> None:
        """Go on alone where the log keeps own evidence waiting; to be called often."""
        now = self._clock.monotonic()
        for trial in tuple(self._trials.values()):
            late = trial.asked_at is not None and now - trial.asked_at > PATIENCE
            if late and self._current(trial):
                self._part(trial, "no answer in time")

    def kept(self, name: str) -> bytes:
        """What has to survive a restart."""
        trial = self._trials.get(name)
        if trial is None:
            return b""
        copy = trial.copy
        kept = _Kept(trial.name.trial, copy.sent, copy.heard, evidence_log.dump_all(copy.waiting))
        return msgspec.msgpack.encode(kept)

    def copy(self, name: str) -> LogCopy | None:
        """This replica's copy of the log of the endpoint `name`, None before there is one."""
        trial = self._trials.get(name)
        return None if trial is None else trial.copy

    def state(self, name: str) -> dict[str, object]:
        """How the log of the endpoint `name` stands, for people."""
        trial = self._trials.get(name)
        if trial is None:
            return {"trial": None, "joined": False, "index": 0, "waiting": 0}
        copy = trial.copy
        return {
            "trial": trial.name.trial,
            "joined": copy.following,
            "index": copy.index,
            "waiting": len(copy.waiting),
        }

    # What goes on all the time.

    async def look_round(self) -> None:
        """Look at all logs, for ever."""
        while True:
            if self._board.unreadable is None:
                try:
                    await self.look()
                except StateUnavailable:
                    self.failures += 1  # told by the fleet, which calls the same store
                self._looked.set()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Bring every copy up to its log. Raises StateUnavailable."""
        trials = [trial for name in tuple(self._board.judges) if (trial := self._trial(name)) is not None]
        states = await self._store.states([trial.name for trial in trials])
        for trial, (epoch, index, last) in zip(trials, states, strict=True):
            copy = trial.copy
            if not copy.following or copy.epoch != epoch or copy.index < index or copy.differs(index, last):
                await self._follow(trial)
            elif copy.index == index:
                copy.read_to_its_end()
            await self._checkpoint(trial)
            self._send(trial)

    async def listen(self) -> None:
        """Hear what is appended, for ever."""
        while True:
            names = tuple(sorted(self._board.judges))
            try:
                async with self._store.lines(names) as lines:
                    await self._hear_all(lines, names)
            except StateUnavailable:
                self.failures += 1  # told by the fleet, which calls the same store
            await asyncio.sleep(LOOK)

    async def _hear_all(self, lines: Any, names: Sequence[str]) -> None:
        heard_at = self._clock.monotonic()
        while tuple(sorted(self._board.judges)) == names:
            shown = await lines.next(1.0)
            now = self._clock.monotonic()
            if shown is not None:
                heard_at = now
                self.hear(shown)
            elif now - heard_at > DEAF:
                return

    def hear(self, shown: Shown) -> None:
        """One entry, as it was told."""
        trial = self._trials.get(shown.endpoint)
        if trial is None or trial.copy.ahead or not self._current(trial):
            return
        known = shown.number <= trial.copy.sent.get(shown.sender, 0)
        if trial.copy.epoch == shown.epoch and shown.position <= trial.copy.index and known:
            return
        if trial.copy.epoch != shown.epoch:
            self._follow_soon(trial)
            return
        name = shown.sender, shown.number
        own = next((one for one in trial.copy.waiting if (one.sender, one.number) == name), None)
        try:
            sent = own or evidence_log.load(shown.entry)
        except ValueError:
            self.garbage += 1
            return
        self._shown(trial, shown.epoch, shown.position, sent, shown.previous)

    # Trials.

    def _trial(self, name: str) -> Trial | None:
        judge = self._board.judges.get(name)
        if judge is None or not judge.candidate:
            self._trials.pop(name, None)
            return None
        cleared = self._board.kill_state(name).cleared
        trial = self._trials.get(name)
        if trial is not None and trial.judge is judge and trial.cleared is cleared:
            return trial
        digest = trial_of(judge.settings, cleared)
        if trial is not None and trial.name.trial == digest:
            trial.judge, trial.cleared = judge, cleared
            return trial
        self._begun += 1
        begun = Trial(LogName(name, digest), judge, cleared, LogCopy(f"{self._life}.{self._begun}"))
        self._trials[name] = begun
        self._inherit(begun)
        return begun

    def _inherit(self, trial: Trial) -> None:
        dumped = self._board.kept_logs.pop(trial.name.endpoint, b"")
        if not dumped:
            return
        try:
            kept = msgspec.msgpack.decode(dumped, type=_Kept)
            waiting = evidence_log.load_all(kept.waiting)
        except (msgspec.MsgspecError, ValueError) as error:
            note(log, logging.WARNING, "what waited for the evidence log is lost", reason=str(error))
            return
        if kept.trial == trial.name.trial:
            self._apply(trial, trial.copy.inherit(kept.sent, kept.heard, waiting))

    def _current(self, trial: Trial) -> bool:
        """Whether `trial` is what is on trial now: a re-arm or a reload ends it at once."""
        return self._trial(trial.name.endpoint) is trial

    # Applying.

    def _apply(self, trial: Trial, todo: Sequence[Apply]) -> None:
        for one in todo:
            if not self._current(trial):
                return  # what was applied ended the trial
            made = None
            if one.place is not None:
                at = one.entry.at if isinstance(one.entry, Evidence) else one.entry.since
                made = _event(trial.name, *one.place), at
            self._listener.applied(trial.name.endpoint, one.entry, made)

    def _shown(
        self, trial: Trial, epoch: str, index: int, sent: Sent, previous: tuple[str, int] | None
    ) -> bool:
        todo = trial.copy.shown(epoch, index, sent, previous)
        if todo is None:
            self._follow_soon(trial)
            return False
        self._apply(trial, todo)
        return True

    def _part(self, trial: Trial, reason: str) -> None:
        trial.asked_at = None
        todo = trial.copy.part()
        if todo:
            note(log, logging.WARNING, "evidence goes on alone", endpoint=trial.name.endpoint, reason=reason)
        self._apply(trial, todo)

    # Sending.

    def _send(self, trial: Trial) -> None:
        if not trial.sending and trial.copy.next is not None:
            trial.sending = True
            self._tasks.spawn(self._send_all(trial), f"evidence of {trial.name.endpoint}")

    async def _send_all(self, trial: Trial) -> None:
        try:
            while (sent := trial.copy.next) is not None and self._current(trial):
                trial.asked_at = self._clock.monotonic()
                if not await self._append(trial, sent, None):
                    return
        finally:
            trial.sending = False
            trial.asked_at = None

    async def _append(self, trial: Trial, sent: Sent, token: int | None) -> bool:
        """Whether the log has `sent` now."""
        copy, epoch = trial.copy, trial.copy.epoch
        if epoch is None:
            return False
        try:
            answer = await self._store.append(trial.name, epoch, sent, token)
        except StateUnavailable as error:
            self.failures += 1
            if token is None:
                self._part(trial, str(error))
            return False
        trial.asked_at = None
        if answer.kind == FENCED or copy.epoch != epoch or copy.ahead:
            return False
        if answer.kind in (GAP, EPOCH):
            self._apply(trial, copy.lost())
            self._follow_soon(trial)
            return False
        copy.taken(sent)
        if answer.kind == OK and int(answer.value) == copy.index + 1:
            self._shown(trial, epoch, int(answer.value), sent, answer.previous)
        elif answer.kind == KNOWN:
            self._follow_soon(trial)
        return True

    async def _move(self, trial: Trial, sent: Sent, token: int) -> None:
        try:
            await self._append(trial, sent, token)
        finally:
            trial.moving = False

    # Following.

    def _follow_soon(self, trial: Trial) -> None:
        trial.look_again = True
        if not trial.looking:
            self._tasks.spawn(self._follow_quietly(trial), f"log of {trial.name.endpoint}")

    async def _follow_quietly(self, trial: Trial) -> None:
        try:
            await self._follow(trial)
        except StateUnavailable:
            self.failures += 1  # told by the fleet; the next look tries again
        self._send(trial)

    async def _follow(self, trial: Trial) -> None:
        """Until the copy is where its log is, or cannot get there now. Raises StateUnavailable."""
        if trial.looking:
            trial.look_again = True
            return
        trial.looking = True
        try:
            trial.look_again = True
            while trial.look_again and self._current(trial):
                trial.look_again = False
                (state,) = await self._store.states([trial.name])
                await self._approach(trial, state)
        finally:
            trial.looking = False

    async def _approach(self, trial: Trial, state: LogState) -> None:
        copy, epoch = trial.copy, state.epoch
        if epoch is None or (epoch == copy.epoch and copy.differs(state.length, state.last)):
            # It was lost, or rolled back: what the leader holds is true.
            if not await self._open(trial, epoch) and epoch is not None:
                await self._join(trial, epoch, 0)
        elif epoch != copy.epoch or copy.ahead:
            if not await self._join(trial, epoch, state.length):
                await self._open(trial, epoch)
        elif state.length > copy.index:
            # The last entry is read again, to see that it is still the same.
            behind = copy.last is not None
            caught_up = await self._catch_up(trial, epoch, state.length, again=behind)
            if not caught_up and not await self._join(trial, epoch, state.length):
                await self._open(trial, epoch)

    async def _open(self, trial: Trial, expected: str | None) -> bool:
        """Begin an epoch with what this replica holds, if it leads."""
        token = self._lease.held()
        if token is None:
            if expected is None:
                self._apply(trial, trial.copy.lost())
            return False
        epoch = uuid.uuid4().hex
        self._part(trial, "a new epoch begins")
        now = trial.copy.standing(trial.judge.standing())
        standing = Standing(0, now.sent, now.heard, now.state)
        answer = await self._store.open(trial.name, expected, epoch, token, standing)
        if answer.kind != OK or not self._current(trial):
            return False
        # What came since the state was taken is not in it: it waits, and is applied when the log shows it.
        trial.judge.adopt(standing.state)
        trial.copy.joined(epoch, standing)
        trial.copy.renumber()
        note(log, logging.INFO, "evidence log begun", endpoint=trial.name.endpoint, epoch=epoch)
        return True

    async def _join(self, trial: Trial, epoch: str, length: int) -> bool:
        """Begin from the checkpoint of `epoch`, and get at least to entry `length`."""
        standing = await self._store.standing(trial.name, epoch)
        if standing is None or not self._current(trial):
            return False
        try:
            trial.judge.adopt(standing.state)
        except ValueError as error:
            endpoint = trial.name.endpoint
            note(log, logging.ERROR, "evidence log unreadable", endpoint=endpoint, reason=str(error))
            return False
        trial.copy.joined(epoch, standing)
        self._board.adopted(trial.name.endpoint)
        if not await self._catch_up(trial, epoch, length):
            self._apply(trial, trial.copy.lost())
            return False
        trial.copy.renumber()
        note(log, logging.INFO, "evidence log joined", endpoint=trial.name.endpoint, index=trial.copy.index)
        return True

    async def _catch_up(self, trial: Trial, epoch: str, length: int, *, again: bool = False) -> bool:
        """Apply what the log holds beyond the copy; whether nothing up to entry `length` is missing or cannot
        be read. A few entries at a time: each takes a part of a millisecond to read."""
        copy = trial.copy
        if again:
            first = await self._store.entries(trial.name, epoch, copy.index - 1, 1)
            if not first or (first[0].sent.sender, first[0].sent.number) != copy.last:
                return False
        while self._current(trial):
            entries = await self._store.entries(trial.name, epoch, copy.index, TURN)
            if not entries:
                return copy.index >= length
            for placed in entries:
                todo = copy.shown(epoch, *placed)
                if todo is None:
                    return False
                self._apply(trial, todo)
        return True

    async def _checkpoint(self, trial: Trial) -> None:
        copy, token, now = trial.copy, self._lease.held(), self._clock.monotonic()
        due = now - trial.checkpoint_at >= CHECKPOINT and copy.index > trial.checkpointed
        if token is None or copy.epoch is None or copy.ahead or not due or not self._current(trial):
            return
        trial.checkpoint_at, index = now, copy.index
        standing = copy.standing(trial.judge.standing())
        answer = await self._store.checkpoint(trial.name, copy.epoch, token, standing)
        if answer.kind == OK:
            trial.checkpointed = index
        elif answer.kind == EPOCH:
            self._follow_soon(trial)


def trial_of(settings: EndpointSettings, cleared: frozenset[str]) -> str:
    """What evidence is about, as 32 hex digits: equal at all replicas that agree on it."""
    versions = settings.incumbent.name, None if settings.candidate is None else settings.candidate.name
    about = (
        settings.name, versions, settings.protocol, settings.compare, settings.guards, settings.plan,
        sorted(cleared),
    )  # fmt: skip
    return hashlib.sha256(repr(about).encode()).hexdigest()[:32]


def _event(name: LogName, epoch: str, index: int) -> str:
    """An id for what follows from one entry, which every replica finds by itself."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"pointsman:{name.endpoint}:{name.trial}:{epoch}:{index}"))
