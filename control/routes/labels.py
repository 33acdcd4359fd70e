"""What was really true: labels, held against the predictions of both arms."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.remembered import Unfit
from domain.errors import StateUnavailable
from killswitch.cohorts import LabelledPair
from monitoring.labels import ANY, KeptLabel, keep

MOST_LABELS = 10_000
MOST_ROWS = 10_000
AT_ONCE = 500
"""Labels after which others get the loop."""

RequestId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(max_length=1000)]
Truth = bool | int | float | Name


class Label(BaseModel):
    """The true class of a request; of a batch a list, one for each row. `at`: when it became known."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: RequestId
    label: Truth | Annotated[list[Truth], Field(min_length=1, max_length=MOST_ROWS)]
    at: Annotated[datetime | None, Field(strict=False)] = None


Labels = Annotated[list[Label], Field(min_length=1, max_length=MOST_LABELS)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/labels`."""
    router = APIRouter(prefix="/api/v1", tags=["labels"])

    @router.post("/labels")
    async def labels(labels: Labels) -> Response:
        """Join labels to the pairs they name; those of no remembered pair are told."""
        joining = _Joining(panel)
        for start in range(0, len(labels), AT_ONCE):
            for label in labels[start : start + AT_ONCE]:
                joining.join(label)
            await asyncio.sleep(0)
        for endpoint, labelled in joining.labelled.items():
            panel.switchboard.tallies.labelled(endpoint, joining.delays[endpoint])
            await panel.hearing.hear_labels(endpoint, labelled)
        kept = await joining.keep()
        return json(
            {
                "joined": joining.joined,
                "repeated": joining.repeated,
                "unknown": joining.unknown,
                "refused": joining.refused,
                "kept": kept,
            }
        )

    return router


class _Joining:
    """One request's labels, as they are joined."""

    def __init__(self, panel: Panel) -> None:
        judges = panel.switchboard.trials
        self._memories = {name: one.memory for name, one in judges.items() if one.memory is not None}
        self._now = panel.hearing.now()
        self._keeper = panel.switchboard.keeper
        self._logged = any(one.log.share for one in panel.switchboard.settings.endpoints)
        self._kept: list[KeptLabel] = []
        self.joined = self.repeated = 0
        self.unknown: list[str] = []
        self.refused: list[dict[str, str]] = []
        self.labelled: dict[str, list[LabelledPair]] = {}
        self.delays: dict[str, list[float]] = {}

    def join(self, label: Label) -> None:
        for name, memory in self._memories.items():
            one = memory.find(label.request_id)
            if one is None:
                continue
            try:
                found = memory.join(label.request_id, label.label)
            except Unfit as error:
                self.refused.append({"request_id": label.request_id, "detail": str(error)})
                return
            if found is None:
                self.repeated += 1
                return
            self.joined += 1
            known = self._known(label)
            self._kept.append(KeptLabel(label.request_id, name, label.label, known))
            self.labelled.setdefault(name, []).append(found)
            self.delays.setdefault(name, []).append(known - one.at)
            return
        self.unknown.append(label.request_id)
        if self._logged:
            self._kept.append(KeptLabel(label.request_id, ANY, label.label, self._known(label)))

    async def keep(self) -> bool:
        """Keep what came, for decisions and diagnoses; whether that could be done."""
        for start in range(0, len(self._kept), AT_ONCE):
            part = self._kept[start : start + AT_ONCE]
            try:
                await self._keeper.run(
                    lambda database, part=part: database.write(  # type: ignore[misc]
                        lambda on: keep(on, part, self._now)
                    )
                )
            except StateUnavailable:
                return False  # counted and logged by the keeper; what was joined counts all the same
        return True

    def _known(self, label: Label) -> float:
        return self._now if label.at is None else label.at.timestamp()
