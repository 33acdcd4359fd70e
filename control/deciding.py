"""Why this answer: a request's record, with what was live when it was decided, and what was true in the end.

The record says which arm and version answered, and for which reason. What the version was made of, the weight
and the flag come from the audit chain, as they were at that instant: a version that was registered anew since
does not change what is told of an old decision.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import Connection

from audit import store
from audit.times import iso, micros
from control import live_view
from control.clock import Clock
from control.keeper import Keeper
from control.switchboard import Switchboard
from domain.errors import PointsmanError, StateUnavailable
from domain.routing import Arm, Reason
from monitoring.labels import kept as labels
from monitoring.labels.kept import KeptLabel
from monitoring.log.record import Mirrored, PredictionRecord

BUCKETS = "murmur3(release:unit) % 10000; the log has no unit, only a keyed digest of it"

_STANDING = ("replica", "release", "stage", "mode", "weight", "flag", "switch", "since", "sequence")


class UnknownDecision(PointsmanError):  # noqa: N818 - what was found, not a mistake of ours
    """There is no record of this request; the message says why that can be."""


class Predictions(Protocol):
    """Where records are found."""

    async def find(self, request_id: str) -> PredictionRecord | None:
        """The newest record of that request. Raises StateUnavailable."""
        ...


class DecisionDesk:
    """Answers for single requests."""

    def __init__(
        self, switchboard: Switchboard, predictions: Predictions, keeper: Keeper, clock: Clock
    ) -> None:
        self._board = switchboard
        self._predictions = predictions
        self._keeper = keeper
        self._clock = clock

    async def why(self, request_id: str) -> dict[str, object]:
        """All that is known of the decision for `request_id`. Raises UnknownDecision and StateUnavailable."""
        record = await self._predictions.find(request_id)
        if record is None:
            raise UnknownDecision(await self._missing(request_id))
        whole = await self._board.recorder.flush()
        live, label, begins = await self._keeper.run(
            lambda database: database.read(lambda on: _surroundings(on, record))
        )
        places = served(live, record.configuration, self._board.recorder.replica)
        notes = _notes(record, places, begins, whole)
        return {
            **_shown(record, places), "events": live["events"], "label": _label(label), "notes": notes,
        }  # fmt: skip

    async def _missing(self, request_id: str) -> str:
        """Why there is no record."""
        settings = self._board.settings
        shares = {one.name: one.log.share for one in settings.endpoints}
        if not any(shares.values()):
            return (
                "no endpoint keeps a prediction log, so that no decision can be told afterwards; "
                "set `log.records` of an endpoint to `on`, or leave it out"
            )
        label = await self._label_of(request_id)
        if label is not None:
            known = (
                f"a label for it came at {iso(micros(label.at))}, but its record is gone or was never made"
            )
        else:
            known = "nobody here has seen this id: it is the answer's x-request-id"
        since = iso(micros(self._clock.wall() - settings.log.keep))
        partly = [f"{name} {share / 100:g} %" for name, share in shares.items() if share < 10_000]
        sampled = f"; recorded are of {', '.join(partly)}" if partly else ""
        return f"there is no record of {request_id!r}: {known}. Records are kept since {since}{sampled}"

    async def _label_of(self, request_id: str) -> KeptLabel | None:
        names = [one.name for one in self._board.settings.endpoints]

        def read(on: Connection) -> KeptLabel | None:
            found = (labels.find(on, request_id, name) for name in names)
            return next((one for one in found if one is not None), None)

        try:
            return await self._keeper.run(lambda database: database.read(read))
        except StateUnavailable:
            return None  # counted and logged by the keeper; that there is no record is true all the same


def _surroundings(
    on: Connection, record: PredictionRecord
) -> tuple[Mapping[str, object], KeptLabel | None, int | None]:
    """What was live when it was decided, the label that came, and when the chain begins."""
    live = live_view.read(on, micros(record.at), record.endpoint)
    return live, labels.find(on, record.request_id, record.endpoint), store.first_time(on)


def _shown(record: PredictionRecord, places: list[dict[str, object]]) -> dict[str, object]:
    standing = places[0] if places else None
    return {
        "request_id": record.request_id,
        "endpoint": record.endpoint,
        "at": iso(micros(record.at)),
        "arm": record.arm.value,
        "version": record.version,
        "reason": record.reason,
        "status": record.status,
        "latency_ms": record.latency * 1000,
        "generation": record.generation,
        "configuration": record.configuration,
        "unit": f"{record.unit:016x}" if record.unit else None,
        "drill": record.drill or None,
        "lineage": _lineage(record.version, places),
        "prediction": list(record.predictions),
        "confidence": record.confidence,
        "features": dict(record.features),
        "cohorts": list(record.cohorts),
        "input": {"digest": record.input_digest or None, **_body(record.input)},
        "mirrored": None if record.mirrored is None else _mirrored(record.mirrored, places),
        "live": None if standing is None else {
            key: standing[key]
            for key in _STANDING
        },
        "bucket": BUCKETS,
    }  # fmt: skip


def served(live: Mapping[str, object], digest: str, replica: str) -> list[dict[str, object]]:
    """The endpoint as gateways served it, the likeliest to have decided first.

    That is one of the record's configuration; of these this gateway, whose log it is, then those that lived.
    """
    held = live["endpoints"]
    found = [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
    return sorted(
        found,
        key=lambda one: (
            one.get("configuration") != digest,
            one.get("replica") != replica,
            one.get("silent_since") is not None,
        ),
    )


def _lineage(version: str, places: list[dict[str, object]]) -> object:
    for place in places:
        for arm in ("incumbent", "candidate"):
            held = place.get(arm)
            if isinstance(held, dict) and held.get("version") == version:
                return held.get("lineage")
    return None


def _mirrored(one: Mirrored, places: list[dict[str, object]]) -> dict[str, object]:
    return {
        "version": one.version,
        "status": one.status,
        "latency_ms": one.latency * 1000,
        "prediction": list(one.predictions),
        "confidence": one.confidence,
        "lineage": _lineage(one.version, places),
    }


def _body(body: bytes) -> dict[str, object]:
    if not body:
        return {"text": None, "base64": None}
    try:
        return {"text": body.decode("utf-8"), "base64": None}
    except UnicodeDecodeError:
        return {"text": None, "base64": base64.b64encode(body).decode("ascii")}


def _label(label: KeptLabel | None) -> dict[str, object] | None:
    return None if label is None else {"label": label.label, "at": iso(micros(label.at))}


def _notes(
    record: PredictionRecord, places: list[dict[str, object]], begins: int | None, whole: bool
) -> list[str]:
    """What is not known, and why; and what the record alone does not tell."""
    found: list[str] = []
    if begins is None or micros(record.at) < begins:
        found.append("the audit chain begins later: what was live is not known")
    elif not places:
        found.append("by the audit chain no gateway served this endpoint then")
    elif places[0].get("configuration") != record.configuration:
        found.append("the configuration changed at this very moment: what was live is that of another one")
    elif _lineage(record.version, places) is None:
        found.append(f"no lineage of {record.version} was known then")
    if not whole:
        found.append("the audit chain cannot be written now, so that its last records may be missing")
    if record.arm is Arm.INCUMBENT and record.reason == Reason.INSIDE_WEIGHT:
        found.append(
            "the candidate was to answer and the incumbent did: the candidate failed, or it was guarded and "
            "did not agree"
        )
    if record.drill and (record.arm is Arm.CANDIDATE or record.mirrored is not None):
        found.append("a drill was under way: what the candidate answered may be the drill's doing")
    if not record.predictions:
        found.append("the answer could not be read as a prediction")
    return found
