"""Diagnosis of an endpoint: the log, the labels and the audit chain, brought before `monitoring.diagnosis`.

The log of a busy endpoint is long, so the stretch around the instant in question is read first, and a longer
one only when nothing is found in it. Of more than `MOST` requests a part is looked at, drawn by the digest of
the request's id. All of it happens in threads, and a diagnosis at a time: trips come first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, select

from audit import times
from audit.event import TRIPPED, Event, decode, text
from audit.times import iso, micros
from control import changes
from control.keeper import Keeper
from control.switchboard import Switchboard
from domain.errors import ConfigError, StateUnavailable
from monitoring.diagnosis.changes import Change, Concentration, Diagnosis, Explanation, Level, Signal
from monitoring.diagnosis.explaining import diagnose, strongest
from monitoring.diagnosis.signals import Answer, Request
from monitoring.labels import kept as labels
from monitoring.labels.kept import KeptLabel
from monitoring.log.record import PredictionRecord, Value
from storage.tables import AUDIT_KILLS, AUDIT_RECORDS

if TYPE_CHECKING:
    import pyarrow as pa

LOOKBACK = 86_400.0
"""Seconds before the instant in question from which on changes count."""

STRETCHES = (900.0, 3600.0, 6 * 3600.0, LOOKBACK)
"""Seconds of the log before it that are read, one after another until something is found."""

AFTER = 0.25
"""Of each stretch, how much is read after the instant."""

T = TypeVar("T")

MOST = 24_000
"""Requests that are looked at."""
AT_ONCE = 2000
"""Labels of so many requests are read in one go."""
MOST_CHANGES = 200
_SLACK = 1.0

_SIGNALS: Mapping[str, Signal] = {
    "divergence": Signal.DIVERGENCE, "flips": Signal.DIVERGENCE, "errors": Signal.ERRORS,
    "breaker": Signal.ERRORS, "latency": Signal.LATENCY, "confidence": Signal.CONFIDENCE,
    "classes": Signal.PREDICTIONS, "accuracy": Signal.ACCURACY, "drift": Signal.DRIFT,
}  # fmt: skip


_RISING = frozenset({Signal.DIVERGENCE, Signal.ERRORS, Signal.ACCURACY})
"""Of these only a rise is what a guard trips on."""


class Predictions(Protocol):
    """Where the log is read."""

    def scan(self, endpoint: str, since: float, until: float) -> AsyncIterator[pa.RecordBatch]:
        """Records with since ≤ at < until. Raises StateUnavailable and ConfigError."""
        ...


class Trip(NamedTuple):
    """A trip as the chain has it: when (seconds since the epoch), and what the breached guard said."""

    at: float
    cause: str
    reason: str
    limit: float | None

    @property
    def signal(self) -> Signal | None:
        """What the guard watches; None for an operator's kill."""
        named = self.cause.removeprefix("guard:")
        return next((signal for name, signal in _SIGNALS.items() if named.startswith(name)), None)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of which endpoint, near which instant (seconds since the epoch), of which signal."""

    endpoint: str
    at: float
    signal: Signal | None
    trip: Trip | None


class DiagnosisDesk:
    """Diagnoses, one at a time."""

    def __init__(self, switchboard: Switchboard, predictions: Predictions, keeper: Keeper) -> None:
        self._board = switchboard
        self._predictions = predictions
        self._keeper = keeper
        self._turn = asyncio.Lock()

    async def diagnose(
        self, endpoint: str, at: str | None = None, signal: Signal | None = None
    ) -> dict[str, object]:
        """What changed on `endpoint` near `at` (ISO 8601), or before its last trip, or just now.

        Raises UnknownEndpoint, ConfigError (`at`), and StateUnavailable.
        """
        self._board.judge(endpoint)
        recorder = self._board.recorder
        await recorder.flush()
        now = recorder.now()
        wanted = None if at is None else _instant(at, now)
        async with self._turn:
            trip = await self._read(partial(_last_trip, endpoint=endpoint, until=wanted or now))
            near = trip if wanted is None or (trip and abs(trip.at - wanted / 1e6) <= _SLACK) else None
            instant = wanted / 1e6 if wanted is not None else trip.at if trip is not None else now / 1e6
            by_trip = near.signal if near is not None else None
            question = Question(endpoint, instant, signal or by_trip, near)
            since = micros(instant - LOOKBACK)
            until = min(now, micros(instant + LOOKBACK * AFTER))
            recorded = await self._read(partial(_changes, endpoint=endpoint, since=since, until=until))
            found, read, notes = await self._look(question, recorded, now / 1e6)
        return _shown(question, found, recorded, read, notes)

    async def _look(
        self, question: Question, recorded: Sequence[Change], now: float
    ) -> tuple[Diagnosis | None, int, list[str]]:
        """The diagnosis, how many requests it rests on, and what stood in its way."""
        found: Diagnosis | None = None
        requests: list[Request] = []
        for stretch in STRETCHES:
            until = min(now + _SLACK, question.at + stretch * AFTER)
            try:
                records = await self._records(question.endpoint, question.at - stretch, until)
            except (StateUnavailable, ConfigError) as error:
                return found, len(requests), [f"the prediction log cannot be read: {error}"]
            requests = await self._requests(question.endpoint, records)
            if not requests:
                continue
            complete = stretch == STRETCHES[-1]
            found = await asyncio.to_thread(self._diagnosed, question, recorded, requests, complete)
            if found is not None and found.at is not None:
                break
        if not requests:
            return None, 0, ["the prediction log has no requests of that time, so that only time is known"]
        return found, len(requests), []

    def _diagnosed(
        self,
        question: Question,
        recorded: Sequence[Change],
        requests: Sequence[Request],
        complete: bool,
    ) -> Diagnosis | None:
        settings = self._board.judge(question.endpoint).settings
        scale = settings.compare.scale
        signal = question.signal or strongest(requests, scale)
        if signal is None:
            return None
        limit = question.trip.limit if question.trip is not None and signal in _RISING else None
        names = [str(one) for one in settings.cohorts]
        return diagnose(
            requests,
            recorded,
            signal,
            question.at,
            limit=limit,
            scale=scale,
            cohorts=names,
            complete=complete,
        )

    async def _records(self, endpoint: str, since: float, until: float) -> list[PredictionRecord]:
        kept: list[PredictionRecord] = []
        share = 1 << 64
        async for batch in self._predictions.scan(endpoint, since, until):
            kept += await asyncio.to_thread(_chosen, batch, share)
            while len(kept) > MOST:
                share //= 2
                kept = [one for one in kept if _drawn(one.request_id) < share]
        return sorted(kept, key=lambda one: one.at)

    async def _requests(self, endpoint: str, records: Sequence[PredictionRecord]) -> list[Request]:
        known: dict[str, KeptLabel] = {}
        for start in range(0, len(records), AT_ONCE):  # kills want the store's thread between
            ids = [one.request_id for one in records[start : start + AT_ONCE]]
            known |= await self._read(partial(labels.of, requests=ids, endpoint=endpoint))
        return [_request(one, known.get(one.request_id)) for one in records]

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.read(work))


def _instant(at: str, now: int) -> int:
    try:
        wanted = times.parse(at)
    except ValueError as error:
        raise ConfigError("at", at, times.ALLOWED) from error
    if wanted > now:
        raise ConfigError("at", at, f"nobody knows yet: it is {iso(now)}")
    return wanted


def _chosen(batch: pa.RecordBatch, share: int) -> list[PredictionRecord]:
    """Of a batch those that no drill touched and that are drawn.

    Only these are made into records: that takes a hundred microseconds each, and trips share the interpreter.
    """
    from monitoring.log.columns import records  # it takes pyarrow, as the batch did

    drills, ids = batch.column("drill").to_pylist(), batch.column("request_id").to_pylist()
    rows = [
        row
        for row, (drill, request_id) in enumerate(zip(drills, ids, strict=True))
        if not drill and _drawn(request_id) < share
    ]
    return records(batch if len(rows) == len(ids) else batch.take(rows))


def _drawn(request_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "big")


def _changes(on: Connection, endpoint: str, since: int, until: int) -> tuple[Change, ...]:
    return changes.read(on, endpoint, since, until)


def _last_trip(on: Connection, endpoint: str, until: int) -> Trip | None:
    """The last trip until `until` (microseconds since the epoch)."""
    k, r = AUDIT_KILLS.c, AUDIT_RECORDS.c
    query = (
        select(r.content)
        .join(AUDIT_KILLS, k.sequence == r.sequence)
        .where(k.endpoint == endpoint, k.since <= until + micros(_SLACK))
        .order_by(k.since.desc(), k.sequence.desc())
        .limit(1)
    )
    content = on.execute(query).scalar()
    return None if content is None else _trip(decode(bytes(content))[1])


def _trip(event: Event) -> Trip:
    assert event.action == TRIPPED  # noqa: S101 - the table has nothing else
    after, evidence = event.after or {}, event.evidence or {}
    killed, limit = after.get("killed_at"), evidence.get("limit")
    at = killed if isinstance(killed, int) else event.at
    cause = text(after.get("cause")) or event.actor
    return Trip(at / 1e6, cause, event.reason, float(limit) if isinstance(limit, int | float) else None)


def _request(record: PredictionRecord, label: KeptLabel | None) -> Request:
    other = record.mirrored
    return Request(
        record.at,
        record.features,
        Answer(record.version, record.status, record.latency, record.predictions, record.confidence),
        None
        if other is None
        else Answer(other.version, other.status, other.latency, other.predictions, other.confidence),
        () if label is None else _truths(label.label),
        record.cohorts,
    )


def _truths(label: object) -> tuple[Value, ...]:
    """A label as predictions are written; a list has one for each row."""
    rows = label if isinstance(label, list) else [label]
    return tuple(float(one) if isinstance(one, bool | int | float) else str(one) for one in rows)


# Telling.


def _shown(
    question: Question,
    found: Diagnosis | None,
    recorded: Sequence[Change],
    read: int,
    notes: Sequence[str],
) -> dict[str, object]:
    trip = question.trip
    if found is None and not notes:
        notes = ["no signal has changed: divergence, errors, accuracy, confidence and latency are as before"]
    signal = found.signal if found is not None else question.signal
    return {
        "endpoint": question.endpoint,
        "about": iso(micros(question.at)),
        "trip": None if trip is None else {
            "at": iso(micros(trip.at)), "cause": trip.cause, "reason": trip.reason,
        },
        "signal": None if signal is None else signal.value,
        "requests": read,
        **_finding(found or Diagnosis(signal or Signal.DIVERGENCE)),
        "changes": [_change(one) for one in reversed(recorded[-MOST_CHANGES:])],
        "notes": [*notes, *(found.notes if found is not None else ())],
    }  # fmt: skip


def _finding(found: Diagnosis) -> dict[str, object]:
    return {
        "subject": found.subject or None,
        "changed_at": _time(found.at),
        "changed_from": _time(found.low),
        "changed_until": _time(found.high),
        "p": found.p,
        "before": _level(found.before),
        "after": _level(found.after),
        "axis": None if found.axis is None else found.axis.value,
        "explanations": [_explanation(one) for one in found.explanations],
        "concentrations": [_concentration(one) for one in found.concentrations],
        "moved": list(found.moved),
    }


def _explanation(one: Explanation) -> dict[str, object]:
    return {
        "axis": one.axis.value, "kind": one.kind, "subject": one.subject, "sentence": one.sentence,
        "score": round(one.score, 4), "at": _time(one.at), "record": one.record or None,
        "evidence": dict(one.evidence),
    }  # fmt: skip


def _change(one: Change) -> dict[str, object]:
    return {
        "at": _time(one.at), "axis": one.axis.value, "kind": one.kind, "subject": one.subject,
        "sentence": one.sentence, "record": one.record or None,
    }  # fmt: skip


def _level(one: Level | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {"since": _time(one.since), "until": _time(one.until), "values": one.size, "mean": one.mean}


def _concentration(one: Concentration) -> dict[str, object]:
    return {"place": one.place, "values": one.size, "mean": one.mean, "rest": one.rest, "p": one.p}


def _time(at: float | None) -> str | None:
    return None if at is None else iso(micros(at))
