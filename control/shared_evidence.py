"""The evidence of all replicas in one order: the shell around `killswitch.evidence_log`.

What a replica reads of its own pairs goes to the log and comes back, a millisecond later, in the order that
all share. When the log does not answer within `PATIENCE` the replica goes on alone. While it has not joined
a log (none was begun yet, the leader is elsewhere) it goes on alone as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from control.clock import Clock
from control.log_follower import EvidenceStore, LogFollower
from control.switchboard import Switchboard
from control.trials import Listener, Trial, Trials
from domain.errors import StateUnavailable
from domain.ports import Lease
from killswitch import evidence_log
from killswitch.evidence_log import Evidence, LogCopy, Moved, Sent
from killswitch.stores.redis_log import EPOCH, FENCED, GAP, KNOWN, OK, Shown
from shadow.tasks import Tasks

PATIENCE = 0.1
"""Seconds that own evidence waits for the log before it is applied all the same."""

LOOK = 0.5
"""Seconds between two looks at all logs."""

DEAF = 3.0
"""Seconds after which a subscription that brings nothing, though entries are missing, is made anew."""


class SharedEvidence:
    """All logs of this gateway's endpoints."""

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
        self._store = store
        self._board = board
        self._lease = lease
        self._clock = clock
        self._tasks = tasks
        self._life = life
        self._trials = Trials(board, listener, life)
        self._follower = LogFollower(store, self._trials, board, lease, clock, tasks, self._send)
        self._looked = asyncio.Event()

    # For the hearing.

    def offer(self, name: str, evidence: Evidence) -> None:
        """Own evidence of the endpoint `name`."""
        trial = self._trials.current(name)
        if trial is not None:
            self._trials.apply(trial, trial.copy.offer(evidence))
            self._send(trial)

    def leads(self, name: str) -> bool:
        """Whether a step of the endpoint `name` is this replica's to take, now."""
        trial = self._trials.of(name)
        if trial is None or trial.moving or not trial.copy.following:
            return False
        return self._lease.held() is not None

    def move(self, name: str, stage: int, since: float) -> None:
        """Step to `stage`, if this replica leads and follows the log; done when the log shows it."""
        trial, token = self._trials.current(name), self._lease.held()
        if trial is None or token is None or trial.moving or not trial.copy.following:
            return
        trial.moving = True
        moved = Moved(token, trial.judge.progress.stage, stage, since)
        sent = Sent(f"{self._life}/{trial.copy.index}/{stage}", 1, moved)
        self._tasks.spawn(self._move(trial, sent, token), f"step of {name}")

    def holds(self, name: str, session: str, sequence: int) -> bool:
        """Whether the batch is in the evidence already, by way of an earlier life of this process."""
        trial = self._trials.of(name)
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
        for trial in self._trials.all:
            late = trial.asked_at is not None and now - trial.asked_at > PATIENCE
            if late and self._trials.goes_on(trial):
                self._trials.part(trial, "no answer in time")

    @property
    def garbage(self) -> int:
        """Entries that could not be read, or not be taken."""
        return self._trials.garbage

    def kept(self, name: str) -> bytes:
        """What has to survive a restart."""
        return self._trials.kept(name)

    def copy(self, name: str) -> LogCopy | None:
        """This replica's copy of the log of the endpoint `name`, None before there is one."""
        trial = self._trials.of(name)
        return None if trial is None else trial.copy

    def state(self, name: str) -> dict[str, object]:
        """How the log of the endpoint `name` stands, for people."""
        trial = self._trials.of(name)
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
                with suppress(StateUnavailable):  # told by the fleet, which calls the same store
                    await self.look()
                self._looked.set()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Bring every copy up to its log. Raises StateUnavailable."""
        found = map(self._trials.current, tuple(self._board.judges))
        trials = [trial for trial in found if trial is not None]
        states = await self._store.states([trial.name for trial in trials])
        for trial, (epoch, index, last) in zip(trials, states, strict=True):
            copy = trial.copy
            if not copy.following or copy.epoch != epoch or copy.index < index or copy.differs(index, last):
                await self._follower.follow(trial)
            elif copy.index == index:
                copy.read_to_its_end()
            await self._follower.checkpoint(trial)
            self._send(trial)

    async def listen(self) -> None:
        """Hear what is appended, for ever."""
        while True:
            names = tuple(sorted(self._board.judges))
            with suppress(StateUnavailable):  # told by the fleet, which calls the same store
                async with self._store.lines(names) as lines:
                    await self._hear_all(lines, names)
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
        trial = self._trials.of(shown.endpoint)
        if trial is None or trial.copy.ahead or not self._trials.goes_on(trial):
            return
        known = shown.number <= trial.copy.sent.get(shown.sender, 0)
        if trial.copy.epoch == shown.epoch and shown.position <= trial.copy.index and known:
            return
        if trial.copy.epoch != shown.epoch:
            self._follower.follow_soon(trial)
            return
        name = shown.sender, shown.number
        own = next((one for one in trial.copy.waiting if (one.sender, one.number) == name), None)
        try:
            sent = own or evidence_log.load(shown.entry)
        except ValueError:
            self._trials.garbage += 1
            return
        self._shown(trial, shown.epoch, shown.position, sent, shown.previous)

    def _shown(
        self, trial: Trial, epoch: str, index: int, sent: Sent, previous: tuple[str, int] | None
    ) -> None:
        todo = trial.copy.shown(epoch, index, sent, previous)
        if todo is None:
            self._follower.follow_soon(trial)
        else:
            self._trials.apply(trial, todo)

    # Sending.

    def _send(self, trial: Trial) -> None:
        if not trial.sending and trial.copy.next is not None:
            trial.sending = True
            self._tasks.spawn(self._send_all(trial), f"evidence of {trial.name.endpoint}")

    async def _send_all(self, trial: Trial) -> None:
        try:
            while (sent := trial.copy.next) is not None and self._trials.goes_on(trial):
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
            if token is None:
                self._trials.part(trial, str(error))
            return False
        trial.asked_at = None
        if answer.kind == FENCED or copy.epoch != epoch or copy.ahead:
            return False
        if answer.kind in (GAP, EPOCH):
            self._trials.apply(trial, copy.lost())
            self._follower.follow_soon(trial)
            return False
        copy.taken(sent)
        if answer.kind == OK and int(answer.value) == copy.index + 1:
            self._shown(trial, epoch, int(answer.value), sent, answer.previous)
        elif answer.kind == KNOWN:
            self._follower.follow_soon(trial)
        return True

    async def _move(self, trial: Trial, sent: Sent, token: int) -> None:
        try:
            await self._append(trial, sent, token)
        finally:
            trial.moving = False
