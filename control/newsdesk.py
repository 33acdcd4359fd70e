"""What other replicas say, made true here: their kills at once, their re-arms as soon as they are on disk.

It comes by messages, which may be lost, late or repeated, and by the rounds of `control.fleet`; either way it
is a part of two sets that only grow (`killswitch.replication`), so nothing here asks what came before.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from control.clock import Clock, iso
from control.log import note
from control.trip import cause, story
from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.replication import News
from killswitch.stores.database import keep_clearance
from shadow.tasks import Tasks

if TYPE_CHECKING:
    from control.switchboard import Switchboard

log = logging.getLogger("pointsman.switch")


class NewsDesk:
    """Hears for `board`."""

    def __init__(self, board: Switchboard, clock: Clock, tasks: Tasks) -> None:
        self._board = board
        self._clock = clock
        self._tasks = tasks

    def hear(self, name: str, news: News) -> None:
        """Kills are in force at once, clearances as soon as they are on disk."""
        board = self._board
        tripped = board.tripped(name)
        copy, kills, clearances = board.copy(name).heard(news)
        board.know(name, copy)
        if kills and not tripped and board.tripped(name) and name in board.judges:
            self._fall(name)
        for kill in kills:
            board.recorder.tripped(kill, cause(kill), None, heard=True)
            self._tasks.spawn(board.keeper.keep_kill(kill), f"keep kill {kill.id}")
        if clearances:
            self._tasks.spawn(self._hear_clearances(name, clearances), f"clearances of {name}")

    def adopted(self, name: str) -> None:
        """The evidence of `name` was replaced by what all replicas have agreed on."""
        board = self._board
        judge = board.trials[name]
        board.touch(name)
        if board.tripped(name):
            return
        if judge.guards.breach is not None:
            # While a drill is under way this is none of its doing.
            made = (str(uuid.uuid4()), self._clock.wall()) if name in board.rehearsals else None
            board.breached(name, judge.guards.breach, made)
        elif board.snapshot.endpoint(name) != board.endpoint(judge.settings):
            board.publish()

    def _fall(self, name: str) -> None:
        """The candidate of `name` is out because another replica killed it."""
        board = self._board
        began = self._clock.monotonic()
        kill = board.kill_state(name).uncleared[0]
        judge = board.trials[name]
        board.take_out(name)
        generation = board.publish().generation
        judge.evidence_since = generation
        if (rehearsal := board.rehearsals.get(name)) is not None:
            rehearsal.call_off(f"another replica killed: {kill.reason}")
        served_at, now = judge.last_served_at, self._clock.wall()
        judge.last_trip = story(kill, cause(kill), generation, now, served_at, None)
        board.touch(name)
        self._tasks.spawn(self._fallen(kill, generation, began), f"trip of {name}")

    async def _fallen(self, kill: Kill, generation: int, began: float) -> None:
        board = self._board
        confirmed_at = await board.link.confirmed(generation)
        if confirmed_at is not None:
            elapsed = max(0.0, self._clock.wall() - kill.at)
            board.tallies.fanout_seconds.of(kill.endpoint).add(elapsed)
            judge, after = board.trial(kill.endpoint), max(0.0, confirmed_at - began)
            if judge is not None and judge.last_trip is not None and judge.last_trip.kill == kill.id:
                judge.last_trip = judge.last_trip.confirmed(after)
        told: dict[str, object] = {
            "endpoint": kill.endpoint, "kill": kill.id, "actor": kill.actor, "cause": cause(kill),
            "reason": kill.reason, "at": iso(kill.at), "version": kill.version, "generation": generation,
            "confirmed_ms": None if confirmed_at is None else max(0.0, confirmed_at - began) * 1000,
            "heard": True,
        }  # fmt: skip
        note(log, logging.WARNING, "kill", **told)
        board.events.tell("trip", told)

    async def _hear_clearances(self, name: str, clearances: Iterable[Clearance]) -> None:
        board = self._board
        async with board.changing:
            fresh = [one for one in clearances if not one.ids <= board.kill_state(name).cleared]
            kept: list[Clearance] = []
            for one in sorted(fresh, key=lambda one: one.at):
                try:
                    await board.recorder.together(
                        partial(keep_clearance, clearance=one), board.recorder.rearmed(one)
                    )
                except StateUnavailable:
                    break  # counted and logged by the keeper; the next round brings the rest again
                board.know(name, board.copy(name).kept(one))
                kept.append(one)
            if not kept or name not in board.judges:
                return
            board.touch(name)
            if board.tripped(name):
                return
            generation = board.begin_again(name)
        told: dict[str, object] = {
            "endpoint": name, "cleared": sorted(frozenset().union(*(one.ids for one in kept))),
            "reason": kept[-1].reason, "generation": generation, "heard": True,
        }  # fmt: skip
        note(log, logging.WARNING, "rearm", **told)
        board.events.tell("rearm", told)
