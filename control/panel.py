"""The parts of the control process that the admin API works with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from control.accuracy import AccuracyDesk
from control.audit_heads import HeadKeeper
from control.authentication import Gatehouse
from control.configuration import Configuration
from control.deciding import DecisionDesk
from control.diagnosing import DiagnosisDesk
from control.drifting import DriftDesk
from control.drilling import DrillDesk
from control.events import Events
from control.flag_platform import FlagPlatform
from control.following import FollowDesk
from control.gating import GateDesk
from control.hearing import Hearing
from control.labelling import LabelDesk
from control.lineage import LineageDesk
from control.membership import Membership
from control.metrics import Metrics
from control.notifying import Notifying
from control.overview import Looks, Overview
from control.predictions import PredictionDesk
from control.releasing import ReleaseDesk
from control.rollouts import Rollouts
from control.sampling import Sampler
from control.scrape import Scraper
from control.switchboard import Switchboard
from control.writeback import WriteBack


@dataclass(frozen=True, slots=True)
class Panel:
    """`workers` is how many gateway workers there should be."""

    switchboard: Switchboard
    hearing: Hearing
    flags: FlagPlatform
    configuration: Configuration
    events: Events
    metrics: Metrics
    workers: int
    write_back: WriteBack
    rollouts: Rollouts
    membership: Membership | None
    lineage: LineageDesk
    heads: HeadKeeper
    gates: GateDesk
    releases: ReleaseDesk
    following: FollowDesk
    drills: DrillDesk
    predictions: PredictionDesk
    decisions: DecisionDesk
    diagnoses: DiagnosisDesk
    drift: DriftDesk
    notifying: Notifying
    scraper: Scraper
    labels: LabelDesk
    accuracy: AccuracyDesk
    gatehouse: Gatehouse
    sampler: Sampler
    overview: Overview
    looks: Looks

    async def work_out_reports(self) -> None:
        """Have every judge's reports at hand. It takes milliseconds each, so others get the loop between."""
        for judge in tuple(self.switchboard.judges.values()):
            judge.reports()
            await asyncio.sleep(0)

    def shortcomings(self) -> list[str]:
        """Why this gateway is not ready: what is not served yet, what could not be kept. Empty: it is."""
        board = self.switchboard
        found: list[str] = []
        connected = len({worker.number for worker in board.link.workers})
        if connected < self.workers:
            found.append(f"{connected} of {self.workers} workers are connected")
        if not board.link.serves(board.snapshot.generation, connected):
            found.append(f"not every worker serves generation {board.snapshot.generation}")
        if board.unreadable is not None and not self._meets:
            found.append(f"every candidate is out: {board.unreadable}")
        if board.keeper.failure is not None:
            found.append(f"the store is out of reach: {board.keeper.failure}")
        if board.recorder.failure is not None and board.recorder.failure != board.keeper.failure:
            found.append(f"the audit chain cannot be written: {board.recorder.failure}")
        if board.keeper.unkept:
            found.append(f"{board.keeper.unkept} kills are applied and not durable yet")
        return found

    @property
    def _meets(self) -> bool:
        """Whether all that is missing is what other replicas know: the incumbents can be served for ever."""
        return self.membership is not None and self.membership.meets

    def degradations(self) -> list[str]:
        """What does not work and does not make this gateway unready: traffic flows, trips happen."""
        failure = self.predictions.failure
        found = [] if failure is None else [f"predictions are not recorded: {failure}"]
        if self.labels.failure is not None:
            found.append(f"labels are not joined: {self.labels.failure}")
        if self.gatehouse.tokens.failure is not None:
            found.append(f"tokens are those of before: {self.gatehouse.tokens.failure}")
        found += self.predictions.unsent()
        if self.membership is None:
            return found
        fleet = self.membership.fleet
        if self._meets:
            found.append(f"every candidate is out: {self.switchboard.unreadable}")
        if fleet.failure is not None:
            found.append(f"nothing is shared with other replicas: {fleet.failure}")
        elif fleet.deafness is not None:
            found.append(f"kills of other replicas are heard up to a second late: {fleet.deafness}")
        found += [
            f"replica {one.replica} has another configuration of endpoints or flags"
            for one in fleet.strangers
        ]
        return found

    def readiness(self) -> dict[str, object]:
        """What readiness was judged by."""
        board = self.switchboard
        return {
            "generation": board.snapshot.generation,
            "workers": {"expected": self.workers, "connected": len(board.link.workers)},
            "store": "ok" if board.keeper.failure is None else board.keeper.failure,
            "flags": self.flags.condition(),
            "config_digest": board.settings.digest,
            "degraded": self.degradations(),
        }
