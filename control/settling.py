"""What follows a kill that is in force: it is told and kept while the workers confirm it, and measured."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from control.clock import iso
from control.judge import Judge
from control.log import note
from control.trip import Fallen, Settled
from domain.kill import is_rehearsed
from killswitch.replication import News
from shadow.tasks import Tasks

if TYPE_CHECKING:
    from control.switchboard import Switchboard

log = logging.getLogger("pointsman.switch")


class Settling:
    """Settles the kills of `board`."""

    def __init__(self, board: Switchboard, tasks: Tasks) -> None:
        self._board = board
        self._tasks = tasks

    async def settle(self, fallen: Fallen) -> Settled:
        """Make the kill durable, and known to the other replicas, while the workers confirm it; then tell."""
        board = self._board
        kill = fallen.kill
        shared, durable, confirmed_at = await asyncio.gather(
            board.sharing.tell(kill.endpoint, News(kills=frozenset((kill,)))),
            board.keeper.keep_kill(kill),
            board.link.confirmed(fallen.generation),
        )
        after = None if confirmed_at is None else max(0.0, confirmed_at - fallen.began)
        if fallen.first:
            self._confirmed(fallen, after)
        if (rehearsal := board.rehearsals.get(kill.endpoint)) is not None:
            rehearsal.heard(fallen, confirmed_at, shared)
        settled = Settled(
            kill,
            fallen.generation,
            None if after is None else after * 1000,
            len(board.link.workers),
            durable,
            shared,
        )
        note(
            log, logging.WARNING, "kill", endpoint=kill.endpoint, kill=kill.id, actor=kill.actor,
            reason=kill.reason, version=kill.version, generation=fallen.generation,
            confirmed_ms=settled.confirmed_ms, durable=durable,
        )  # fmt: skip
        board.events.tell(
            "trip",
            {
                "endpoint": kill.endpoint, "kill": kill.id, "actor": kill.actor, "cause": fallen.cause,
                "reason": kill.reason, "at": iso(kill.at), "version": kill.version,
                "generation": fallen.generation, "confirmed_ms": settled.confirmed_ms, "durable": durable,
                "drill": is_rehearsed(kill.id),
            },
        )  # fmt: skip
        return settled

    def _confirmed(self, fallen: Fallen, after: float | None) -> None:
        board = self._board
        name = fallen.kill.endpoint
        judge = (board.judges if is_rehearsed(fallen.kill.id) else board.trials).get(name)
        if judge is not None and judge.last_trip is not None and judge.last_trip.kill == fallen.kill.id:
            if after is not None:
                judge.last_trip = judge.last_trip.confirmed(after)
                board.tallies.trip_seconds.of(name).add(after)
            board.touch(name)
            if not is_rehearsed(fallen.kill.id):  # a drill measures its own
                self._tasks.spawn(self._measure_recovery(judge, fallen.kill.id), f"recovery of {name}")

    async def _measure_recovery(self, judge: Judge, kill: str) -> None:
        """Answers that were under way at the trip arrive for one timeout more; then the figure is final."""
        await asyncio.sleep(judge.settings.timeout + 1.0)
        judge = self._board.judges.get(judge.settings.name, judge)
        trip = judge.last_trip
        if trip is not None and trip.kill == kill and trip.recovery is not None:
            self._board.tallies.recovery_seconds.of(judge.settings.name, "breach").add(trip.recovery)
