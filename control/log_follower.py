"""How a copy of an evidence log gets to where its log is.

It reads what it missed; where that is gone it begins from the log's checkpoint; where there is no log, or not
the one that was followed, the leader begins one with what it holds.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol

from control.clock import Clock
from control.log import note
from control.switchboard import Switchboard
from control.trials import Trial, Trials
from domain.errors import StateUnavailable
from domain.ports import Lease
from killswitch.evidence_log import Sent, Standing
from killswitch.stores.redis_log import EPOCH, OK, Answer, LogName, LogState, Placed
from shadow.tasks import Tasks

CHECKPOINT = 5.0
"""Seconds between two checkpoints of the leader's."""

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


class LogFollower:
    """Brings copies up to their logs."""

    def __init__(
        self,
        store: EvidenceStore,
        trials: Trials,
        board: Switchboard,
        lease: Lease,
        clock: Clock,
        tasks: Tasks,
        send: Callable[[Trial], None],
    ) -> None:
        """`send` hands over what waits, once a copy is where its log is."""
        self._store = store
        self._trials = trials
        self._board = board
        self._lease = lease
        self._clock = clock
        self._tasks = tasks
        self._send = send

    def follow_soon(self, trial: Trial) -> None:
        """As `follow`, beside everything else."""
        trial.look_again = True
        if not trial.looking:
            self._tasks.spawn(self._follow_quietly(trial), f"log of {trial.name.endpoint}")

    async def _follow_quietly(self, trial: Trial) -> None:
        with suppress(StateUnavailable):  # told by the fleet; the next look tries again
            await self.follow(trial)
        self._send(trial)

    async def follow(self, trial: Trial) -> None:
        """Until the copy is where its log is, or cannot get there now. Raises StateUnavailable."""
        if trial.looking:
            trial.look_again = True
            return
        trial.looking = True
        try:
            trial.look_again = True
            while trial.look_again and self._trials.goes_on(trial):
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
                self._trials.apply(trial, trial.copy.lost())
            return False
        epoch = uuid.uuid4().hex
        self._trials.part(trial, "a new epoch begins")
        now = trial.copy.standing(trial.judge.standing())
        standing = Standing(0, now.sent, now.heard, now.state)
        answer = await self._store.open(trial.name, expected, epoch, token, standing)
        if answer.kind != OK or not self._trials.goes_on(trial):
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
        if standing is None or not self._trials.goes_on(trial):
            return False
        try:
            trial.judge.adopt(standing.state)
        except ValueError as error:
            endpoint = trial.name.endpoint
            note(log, logging.ERROR, "evidence log unreadable", endpoint=endpoint, reason=str(error))
            return False
        trial.copy.joined(epoch, standing)
        self._board.news.adopted(trial.name.endpoint)
        if not await self._catch_up(trial, epoch, length):
            self._trials.apply(trial, trial.copy.lost())
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
        while self._trials.goes_on(trial):
            entries = await self._store.entries(trial.name, epoch, copy.index, TURN)
            if not entries:
                return copy.index >= length
            for placed in entries:
                todo = copy.shown(epoch, *placed)
                if todo is None:
                    return False
                self._trials.apply(trial, todo)
        return True

    async def checkpoint(self, trial: Trial) -> None:
        """Keep where the log stands, if this replica leads and it is time to. Raises StateUnavailable."""
        copy, token, now = trial.copy, self._lease.held(), self._clock.monotonic()
        due = now - trial.checkpoint_at >= CHECKPOINT and copy.index > trial.checkpointed
        if token is None or copy.epoch is None or copy.ahead or not due or not self._trials.goes_on(trial):
            return
        trial.checkpoint_at, index = now, copy.index
        standing = copy.standing(trial.judge.standing())
        answer = await self._store.checkpoint(trial.name, copy.epoch, token, standing)
        if answer.kind == OK:
            trial.checkpointed = index
        elif answer.kind == EPOCH:
            self.follow_soon(trial)
