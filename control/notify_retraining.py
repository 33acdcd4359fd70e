"""Watches for what a model should be trained again for: drifted inputs, lost accuracy.

The drift guard is soft: it trips nothing, so that nobody else would say a word. When its verdict becomes FAIL
the event `drift` is told, once for a trial; likewise `accuracy`, of which most is told by the trip that it
causes. What follows from that is `control.notifying`'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from control.events import Events
from control.judge import Judge
from control.switchboard import Switchboard
from domain.verdict import Verdict
from settings.receivers import Cause

PERIOD = 2.0
"""Seconds between two looks."""


class RetrainingWatch:
    """Looks at the guards of every endpoint that has a `retrain`."""

    def __init__(self, board: Switchboard, events: Events, leads: Callable[[], bool]) -> None:
        self._board = board
        self._events = events
        self._leads = leads
        self._known: dict[tuple[str, Cause], str] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Tell what has become bad since the last look."""
        if self._board.unreadable is not None:
            return
        if not self._leads():
            self._known.clear()  # whoever leads next tells what is bad then
            return
        for name, judge in tuple(self._board.judges.items()):
            if judge.settings.retrain is not None and judge.settings.candidate is not None:
                if self._board.judges.get(name) is judge:
                    self._look_at(name, judge)
                await asyncio.sleep(0)  # reports take milliseconds; a trip does not wait for all of them

    def _look_at(self, name: str, judge: Judge) -> None:
        trial = f"{judge.release} {judge.evidence_since}"
        for report in judge.reports():
            if report.guard not in tuple(Cause):
                continue
            at = name, Cause(report.guard)
            if report.verdict is not Verdict.FAIL:
                continue
            if self._known.get(at) != trial:
                self._known[at] = trial
                told = {"endpoint": name, "version": judge.candidate, "reason": report.sentence}
                self._events.tell(str(at[1]), told)
