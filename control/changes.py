"""What has changed on an endpoint, read from the audit chain, as changes that a diagnosis can weigh.

Records say what was true afterwards. What was true before comes from the interval table, for the beginning,
and from the record before it, from then on; so each change is named by the key or the field that is another.
Which axis it is on is a matter of what it is: see `monitoring.diagnosis.changes.Axis`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson
from sqlalchemy import Connection, select

from audit import store
from audit.event import ACCESS, ENDPOINT, GATEWAY, REARMED, STARTED, STOPPED, VERSION, Event, decode, text
from audit.intervals import live_at
from monitoring.diagnosis.changes import Axis, Change, Signal
from storage.tables import AUDIT_RECORDS

PAGE = 1000
MOST_RECORDS = 20_000
"""Records that are read at most, the newest ones."""

TOGETHER = 60.0
"""Seconds in which the same change, recorded by several gateways, is one."""

_LATE = 3_600_000_000
"""Microseconds by which a record may be out of its place in time."""

_NOTHING: frozenset[Signal] = frozenset()
_SPEED = frozenset({Signal.ERRORS, Signal.LATENCY})
_ROOT_EFFECTS: Mapping[str, frozenset[Signal] | None] = {
    "listen": _NOTHING, "admin": _NOTHING, "audit": _NOTHING, "state": _NOTHING, "registry": _NOTHING,
    "log": _NOTHING, "notifications": _NOTHING, "auth": _NOTHING, "workers": _SPEED, "downstream": _SPEED,
    "limits": _SPEED, "tls": _SPEED,
}  # fmt: skip
_EFFECTS: Mapping[str, frozenset[Signal] | None] = {
    "guards": _NOTHING, "gates": _NOTHING, "plan": _NOTHING, "watch": _NOTHING, "patience": _NOTHING,
    "drills": _NOTHING, "approvals": _NOTHING, "log": _NOTHING, "tier": _NOTHING, "follow": _NOTHING,
    "retrain": _NOTHING, "compare": _NOTHING, "cohorts": _NOTHING, "drive": _NOTHING, "lineage": _NOTHING,
    "metrics": _NOTHING, "timeout": _SPEED, "max_body": _SPEED, "shadow": _SPEED, "limits": _SPEED,
    "retries": _SPEED, "connections": _SPEED, "balance": _SPEED, "health": _SPEED, "ejection": _SPEED,
}  # fmt: skip
_MIXING = frozenset({"unit", "flag", "flags"})
_FIELDS: Mapping[str, tuple[Axis, str]] = {
    "datasets": (Axis.DATA, "data"), "schema": (Axis.DATA, "feature schema"),
    "transformation": (Axis.DATA, "feature transformation"), "commit": (Axis.CODE, "commit"),
    "repository": (Axis.CODE, "repository"), "hyperparameters": (Axis.MODEL, "hyperparameters"),
    "artifact_digest": (Axis.MODEL, "artifact"), "version": (Axis.MODEL, "registered version"),
}  # fmt: skip
_LONGEST = 120

State = Mapping[str, object]


def read(on: Connection, endpoint: str, since: int, until: int) -> tuple[Change, ...]:
    """What changed on `endpoint` from `since` to `until` (microseconds since the epoch), in order of time."""
    reading = _Reading(on, endpoint, since)
    for number, event in _events(on, since, until):
        reading.take(number, event)
    return _once(reading.found())


def _events(on: Connection, since: int, until: int) -> list[tuple[int, Event]]:
    """Records of those instants, in order: read from the end, since the chain is long."""
    r = AUDIT_RECORDS.c
    before = store.tip(on).size + 1
    found: list[tuple[int, Event]] = []
    while before > 1 and len(found) < MOST_RECORDS:
        query = (
            select(r.sequence, r.at, r.retention, r.content)
            .where(r.sequence < before)
            .order_by(r.sequence.desc())
            .limit(PAGE)
        )
        page = on.execute(query).all()
        if not page:
            break
        found += [
            decode(bytes(row.content))
            for row in page
            if since <= row.at <= until and row.retention != ACCESS and row.content is not None
        ]
        if max(row.at for row in page) < since - _LATE:
            break
        before = page[-1].sequence
    return sorted(found, key=lambda one: one[0])


@dataclass(slots=True)
class _Reading:
    """States as they were before the next record."""

    on: Connection
    endpoint: str
    since: int
    gateways: dict[str, State] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    lineages: dict[str, State] = field(default_factory=dict)
    _changes: list[Change] = field(default_factory=list)
    _versions: list[tuple[Change, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for held in live_at(self.on, self.since).registers:
            if held.place.kind == GATEWAY:
                self.gateways[held.place.replica] = held.state
            elif held.place.kind == ENDPOINT and held.place.name == self.endpoint:
                self.states[held.place.replica] = held.state
            elif held.place.kind == VERSION:
                self.lineages[held.place.name] = held.state

    def take(self, number: int, event: Event) -> None:
        """The next record."""
        if event.kind == GATEWAY and event.action != STOPPED and event.after is not None:
            self._gateway(number, event, event.after)
        elif event.kind == ENDPOINT and event.name == self.endpoint and event.after is not None:
            self._endpoint(number, event, event.after)
        elif event.kind == VERSION and event.after is not None:
            self._lineage(number, event, event.after)
        elif event.action == REARMED and event.name == self.endpoint:
            self._add(number, event, Axis.MODEL, "rearm", self.endpoint,
                      f"{event.actor} re-armed: {event.reason}", mixes=True)  # fmt: skip
        elif event.action.startswith("drill.") and event.name == self.endpoint:
            self._add(number, event, Axis.CODE, "drill", self.endpoint, f"{event.action}: {event.reason}")

    def found(self) -> Iterator[Change]:
        """Every change, with what new versions were made of that the ones before were not."""
        yield from self._changes
        for change, before in self._versions:
            parts = list(self._parts(before, change.version))
            for axis, name, told in parts:
                yield change._replace(
                    axis=axis, kind=f"version: {name}", sentence=f"{change.sentence}: {told}", part=len(parts)
                )

    def _gateway(self, number: int, event: Event, after: State) -> None:
        before = self.gateways.get(event.replica)
        self.gateways[event.replica] = after
        if before is None:
            return
        known = len(self._changes)
        if before.get("version") != after.get("version"):
            told = f"gateway: {before.get('version')} → {after.get('version')}"
            self._add(number, event, Axis.CODE, "gateway", str(after.get("version")), told)
        if before.get("text") != after.get("text"):
            self._configuration(number, event, text(before.get("text")), text(after.get("text")))
        if event.action == STARTED and len(self._changes) == known:
            told = f"gateway {event.replica} started again"
            self._add(number, event, Axis.CODE, "restart", event.replica, told, affects=_SPEED)

    def _configuration(self, number: int, event: Event, before: str, after: str) -> None:
        held = store.texts(self.on, (before, after))
        if before not in held or after not in held:
            return
        found = dict(differences(orjson.loads(held[before]), orjson.loads(held[after])))
        mine = f"endpoints.{self.endpoint}."
        for path, (was, now) in found.items():
            if path.startswith("endpoints.") and not path.startswith(mine):
                continue
            inside = path.removeprefix(mine)
            arm, _, key = inside.partition(".")
            if key.split(".")[0] in ("version", "urls") and f"{mine}{arm}.version" in found:
                continue  # told as another version, with the addresses that come with it
            told = f"{path}: {_short(was)} → {_short(now)} ({event.actor})"
            affects, mixes = _effects(inside if path.startswith(mine) else None, path)
            self._add(number, event, Axis.CODE, "configuration", path, told, affects=affects, mixes=mixes)

    def _endpoint(self, number: int, event: Event, after: State) -> None:
        before = self.states.get(event.replica)
        self.states[event.replica] = after
        if before is None:
            return
        for arm in ("incumbent", "candidate"):
            was, now = text(before.get(arm)), text(after.get(arm))
            if was == now:
                continue
            told = f"{arm} {was or 'none'} → {now or 'none'}"
            if now:
                change = _change(number, event, Axis.MODEL, "version", now, told)._replace(version=now)
                self._changes.append(change)
                self._versions.append((change, was))
            else:
                self._add(number, event, Axis.MODEL, "version", was, told, mixes=True)
        if text(before.get("candidate")) == text(after.get("candidate")):
            self._standing(number, event, before, after)

    def _standing(self, number: int, event: Event, before: State, after: State) -> None:
        """Who gets the candidate."""
        places = [(one.get("mode"), one.get("weight")) for one in (before, after)]
        if places[0] != places[1]:
            was, now = (f"{mode} at {_share(weight)}" for mode, weight in places)
            self._add(number, event, Axis.MODEL, "stage", self.endpoint, f"{was} → {now} ({event.actor})",
                      mixes=True)  # fmt: skip
        if before.get("flag") != after.get("flag"):
            flag = after.get("flag")
            named = text(flag.get("name")) if isinstance(flag, Mapping) else "none"
            self._add(number, event, Axis.MODEL, "flag", named, f"flag {named} is another one", mixes=True)

    def _lineage(self, number: int, event: Event, after: State) -> None:
        before = self.lineages.get(event.name)
        self.lineages[event.name] = after
        mine = {text(state.get(arm)) for state in self.states.values() for arm in ("incumbent", "candidate")}
        if before is None or event.name not in mine:
            return
        for axis, name, told in _differing(before, after):
            self._add(number, event, axis, "lineage", f"{event.name}: {name}", f"{event.name}: {told}")

    def _parts(self, before: str, after: str) -> Iterator[tuple[Axis, str, str]]:
        was, now = self.lineages.get(before), self.lineages.get(after)
        if was is not None and now is not None:
            yield from _differing(was, now)

    def _add(
        self, number: int, event: Event, axis: Axis, kind: str, subject: str, sentence: str,
        affects: frozenset[Signal] | None = None, mixes: bool = False,
    ) -> None:  # fmt: skip
        made = _change(number, event, axis, kind, subject, sentence)
        self._changes.append(made._replace(affects=affects, mixes=mixes))


def differences(before: object, after: object, path: str = "") -> Iterator[tuple[str, tuple[object, object]]]:
    """The paths at which two documents differ, with what stands there; None where nothing does.

    >>> list(differences({"a": {"b": 1}}, {"a": {"b": 2}}))
    [('a.b', (1, 2))]
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*map(str, before), *map(str, after)}):
            inside = f"{path}.{key}" if path else key
            yield from differences(before.get(key), after.get(key), inside)
    elif before != after:
        yield path, (before, after)


def _effects(inside: str | None, path: str) -> tuple[frozenset[Signal] | None, bool]:
    """What a key can act upon, and whether by changing who answers; `inside` is its path in the endpoint."""
    if inside is None:
        root = path.split(".")[0]
        return _ROOT_EFFECTS.get(root), root in _MIXING
    names = inside.split(".")
    if names[0] in _MIXING:
        return None, True
    for name in names[:2]:
        if name in _EFFECTS:
            return _EFFECTS[name], False
    return None, False


def _differing(before: State, after: State) -> Iterator[tuple[Axis, str, str]]:
    for key, (axis, name) in _FIELDS.items():
        was, now = before.get(key), after.get(key)
        if was != now:
            yield axis, name, f"{name} {_short(was)} → {_short(now)}"


def _change(number: int, event: Event, axis: Axis, kind: str, subject: str, sentence: str) -> Change:
    return Change(event.at / 1e6, axis, kind, subject, sentence, record=number)


def _once(changes: Iterable[Change]) -> tuple[Change, ...]:
    """In order of time; what several gateways recorded of one change is one."""
    kept: list[Change] = []
    last: dict[tuple[Axis, str, str, str], float] = {}
    for one in sorted(changes, key=lambda one: one.at):
        same = one.axis, one.kind, one.subject, one.sentence
        if one.at - last.get(same, -TOGETHER) >= TOGETHER:
            kept.append(one)
        last[same] = one.at
    return tuple(kept)


def _share(weight: object) -> str:
    return f"{weight / 100:g} %" if isinstance(weight, int) else "none"


def _short(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = [_named(cast("dict[str, object]", one)) for one in value]
    said = "none" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def _named(one: Mapping[str, object]) -> str:
    return " ".join(text(one.get(key)) for key in ("name", "version", "digest") if one.get(key))
