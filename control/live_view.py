"""What was live at T as the admin API shows it: endpoints with versions, lineage, switch, and the records
that made it so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson
from sqlalchemy import Connection, select

from audit import lives, store
from audit.event import ENDPOINT, GATEWAY, VERSION, Event, decode, text
from audit.intervals import live_at
from audit.live import Held, Live
from audit.lives import Life
from audit.times import iso
from domain.routing import FULL_WEIGHT
from storage.tables import AUDIT_RECORDS

MOST_KILLS = 100


def read(connection: Connection, at: int, endpoint: str | None) -> dict[str, object]:
    """What was live at `at` (microseconds since the epoch), of one endpoint or of all."""
    live = live_at(connection, at)
    heard = lives.at(connection, at)
    endpoints = [held for held in _of(live, ENDPOINT) if endpoint is None or held.place.name == endpoint]
    gateways = _of(live, GATEWAY)
    lineages = {held.place.name: held for held in _of(live, VERSION)}
    kills = [kill for kill in live.kills if endpoint is None or kill.endpoint == endpoint]
    numbers = {held.sequence for held in (*endpoints, *gateways)} | {kill.sequence for kill in kills}
    used = {
        version
        for held in endpoints
        for version in (text(held.state.get("incumbent")), text(held.state.get("candidate")))
    }
    numbers |= {held.sequence for name, held in lineages.items() if name in used}
    events = _events(connection, numbers)
    by_endpoint: dict[str, list[dict[str, object]]] = {}
    for kill in kills:
        made = events[kill.sequence]
        by_endpoint.setdefault(kill.endpoint, []).append(
            {
                "id": kill.id, "since": iso(kill.since), "actor": made.actor, "reason": made.reason,
                "version": text((made.after or {}).get("version")), "sequence": kill.sequence,
            }
        )  # fmt: skip
    return {
        "at": iso(at),
        "gateways": [_gateway(held, heard, at) for held in gateways],
        "endpoints": [_endpoint(held, lineages, by_endpoint, heard, at) for held in endpoints],
        "configurations": _configurations(connection, gateways),
        "events": [shown(number, one) for number, one in sorted(events.items())],
    }


def known_endpoints(connection: Connection) -> frozenset[str]:
    """Every endpoint that the chain ever told of."""
    return store.known_names(connection, ENDPOINT)


def shown(sequence: int, event: Event) -> dict[str, object]:
    """An event for people and programs."""
    return {
        "sequence": sequence,
        "at": iso(event.at),
        "action": event.action,
        "kind": event.kind,
        "name": event.name,
        "actor": event.actor,
        "reason": event.reason,
        "replica": event.replica,
        "result": event.result,
        "late": event.late,
        "request": event.request,
        "authentication": event.authentication,
        "before": event.before,
        "after": event.after,
        "evidence": event.evidence,
        "wall": iso(event.wall),
    }


def _of(live: Live, kind: str) -> list[Held]:
    return [held for held in live.registers if held.place.kind == kind]


def _endpoint(
    held: Held,
    lineages: Mapping[str, Held],
    kills: Mapping[str, list[dict[str, object]]],
    heard: Mapping[str, Life],
    at: int,
) -> dict[str, object]:
    state = held.state
    weight = state.get("weight")
    mine = kills.get(held.place.name, [])
    return {
        "endpoint": held.place.name,
        "replica": held.place.replica,
        "silent_since": _silent(held, heard, at),
        "since": iso(held.since),
        "sequence": held.sequence,
        "incumbent": _version(state.get("incumbent"), lineages),
        "candidate": _version(state.get("candidate"), lineages),
        "release": state.get("release"),
        "stage": state.get("stage"),
        "mode": state.get("mode"),
        "weight": weight / FULL_WEIGHT if isinstance(weight, int) else None,
        "flag": state.get("flag"),
        "switch": {"tripped": bool(mine), "kills": mine[:MOST_KILLS], "more": max(0, len(mine) - MOST_KILLS)},
        "configuration": state.get("configuration"),
    }


def _version(name: object, lineages: Mapping[str, Held]) -> dict[str, object] | None:
    if not isinstance(name, str):
        return None
    held = lineages.get(name)
    if held is None:
        return {"version": name, "lineage": None}
    return {"version": name, "lineage": held.state, "since": iso(held.since), "sequence": held.sequence}


def _silent(held: Held, heard: Mapping[str, Life], at: int) -> str | None:
    """When the gateway was last heard of, where that is too long ago for it to be alive; it never stopped."""
    life = heard.get(held.place.replica)
    return iso(life.heard) if life is not None and life.silent(at) else None


def _gateway(held: Held, heard: Mapping[str, Life], at: int) -> dict[str, object]:
    return {
        "replica": held.place.replica,
        "silent_since": _silent(held, heard, at),
        "since": iso(held.since),
        "sequence": held.sequence,
        "version": held.state.get("version"),
        "workers": held.state.get("workers"),
        "configuration": held.state.get("configuration"),
    }


def _configurations(connection: Connection, gateways: Iterable[Held]) -> dict[str, object]:
    """Configurations in force, by digest, with secrets masked."""
    named = {text(held.state.get("configuration")): text(held.state.get("text")) for held in gateways}
    found = store.texts(connection, named.values())
    return {digest: orjson.loads(found[one]) for digest, one in named.items() if one in found}


def _events(connection: Connection, numbers: Iterable[int]) -> dict[int, Event]:
    query = select(AUDIT_RECORDS.c.content).where(AUDIT_RECORDS.c.sequence.in_(sorted(numbers)))
    contents = [content for (content,) in connection.execute(query) if content is not None]
    return dict(map(decode, contents))
