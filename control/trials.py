"""What is on trial at each endpoint, and this replica's copy of the log of its evidence.

For each endpoint there is one log for each trial. A trial is what evidence is about: the versions, how they
are compared, the guards, the plan, and which kills were cleared. So evidence of different releases, of
different limits, or from before a re-arm never mixes, whatever a replica believes at the time.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Sequence
from typing import Protocol

import msgspec

from control.judge import Judge
from control.log import note
from control.switchboard import Switchboard
from killswitch import evidence_log
from killswitch.evidence_log import Apply, Evidence, LogCopy, Moved
from killswitch.stores.redis_log import LogName
from settings.schema import EndpointSettings

log = logging.getLogger("pointsman.evidence")


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


class Trials:
    """The trials of this process, whose `life` is unique; `listener` takes what their logs say.

    `garbage` counts entries that could not be read, or not be taken.
    """

    def __init__(self, board: Switchboard, listener: Listener, life: str) -> None:
        self.garbage = 0
        self._board = board
        self._listener = listener
        self._life = life
        self._trials: dict[str, Trial] = {}
        self._begun = 0

    def of(self, name: str) -> Trial | None:
        """The trial that was last asked for by `current`."""
        return self._trials.get(name)

    @property
    def all(self) -> tuple[Trial, ...]:
        """All of them."""
        return tuple(self._trials.values())

    def current(self, name: str) -> Trial | None:
        """What is on trial at the endpoint `name`; a new one begins when that has changed."""
        judge = self._board.trial(name)
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
            self.apply(trial, trial.copy.inherit(kept.sent, kept.heard, waiting))

    def goes_on(self, trial: Trial) -> bool:
        """Whether `trial` is what is on trial now: a re-arm or a reload ends it at once."""
        return self.current(trial.name.endpoint) is trial

    def kept(self, name: str) -> bytes:
        """What has to survive a restart."""
        trial = self._trials.get(name)
        if trial is None:
            return b""
        copy = trial.copy
        kept = _Kept(trial.name.trial, copy.sent, copy.heard, evidence_log.dump_all(copy.waiting))
        return msgspec.msgpack.encode(kept)

    def apply(self, trial: Trial, todo: Sequence[Apply]) -> None:
        """Do what the copy of the log says is to be done."""
        for one in todo:
            if not self.goes_on(trial):
                return  # what was applied ended the trial
            made = None
            if one.place is not None:
                at = one.entry.at if isinstance(one.entry, Evidence) else one.entry.since
                made = _event(trial.name, *one.place), at
            try:
                self._listener.applied(trial.name.endpoint, one.entry, made)
            except (ValueError, LookupError, ArithmeticError) as error:
                # Of another release, or nobody's: it does the same at every replica, and others follow it.
                self.garbage += 1
                endpoint = trial.name.endpoint
                note(log, logging.ERROR, "evidence does not fit", endpoint=endpoint, reason=str(error))

    def part(self, trial: Trial, reason: str) -> None:
        """Go on without the log, which does not answer."""
        trial.asked_at = None
        todo = trial.copy.part()
        if todo:
            note(log, logging.WARNING, "evidence goes on alone", endpoint=trial.name.endpoint, reason=reason)
        self.apply(trial, todo)


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
