"""What was live at T, by the chain alone: records folded in order, nothing else asked.

Three things are followed. A register (a gateway, an endpoint on one gateway, a version's lineage) holds what
the last record of it left behind. The switch of an endpoint holds the kills that no re-arm has cleared, for
all gateways at once. And a gateway that starts or stops ends every register of its own.

Time. Records are in the order in which they became durable, which for a late kill is not the order in which
things happened: its `at` counts, so a kill is in force from the moment it was applied. Within one register
time never runs back: a record that claims an earlier instant than the one before it counts from that one's.
A kill that a re-arm clears "before" it was made was never in force. Equal instants: the later record wins.

`control` asks the interval table (`audit.intervals`), which says the same in a few look-ups. A property test
holds one against the other, on random histories, at every instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from audit import event as events
from audit.event import Event

SHARED = ""
"""The replica of what belongs to all of them."""


class Place(NamedTuple):
    """Where a register is: `kind` and `name` of the thing, and the replica that it is true of."""

    kind: str
    replica: str
    name: str


class Held(NamedTuple):
    """What a register holds at an instant: since when (microseconds), by which record, and the state."""

    place: Place
    since: int
    sequence: int
    state: Mapping[str, object]


class KillHeld(NamedTuple):
    """A kill in force at an instant."""

    endpoint: str
    id: str
    since: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Live:
    """All that was live at `at`, in the order of places, and of time."""

    at: int
    registers: tuple[Held, ...]
    kills: tuple[KillHeld, ...]


# What one event does, the same for replay and for the interval table.


class Set(NamedTuple):
    """The register at `place` holds the event's state from now on; when `present` is false it ends."""

    place: Place
    present: bool


class End(NamedTuple):
    """Every register of this replica ends."""

    replica: str


class Killed(NamedTuple):
    """This kill is in force."""

    endpoint: str
    id: str


class Cleared(NamedTuple):
    """These kills are no longer in force, known or not."""

    endpoint: str
    ids: tuple[str, ...]


Effect = Set | End | Killed | Cleared

_OF_A_REPLICA = frozenset({events.GATEWAY, events.ENDPOINT})
_FOLLOWED = frozenset({events.GATEWAY, events.ENDPOINT, events.VERSION})


def effects(event: Event) -> tuple[Effect, ...]:
    """What `event` does to what is live, in order."""
    after = event.after or {}
    if event.action == events.TRIPPED:
        return (Killed(event.name, events.text(after.get("kill"))),)
    if event.action == events.REARMED:
        return (Cleared(event.name, events.names(after.get("cleared"))),)
    found: list[Effect] = []
    if event.action in (events.STARTED, events.STOPPED):
        found.append(End(event.replica))
    if event.kind in _FOLLOWED and event.action != events.STOPPED:
        replica = event.replica if event.kind in _OF_A_REPLICA else SHARED
        found.append(Set(Place(event.kind, replica, event.name), event.after is not None))
    return tuple(found)


@dataclass(slots=True)
class _Register:
    """What the register last held; `closed` is when that ended."""

    since: int
    sequence: int
    state: Mapping[str, object]
    closed: int | None = None


@dataclass(slots=True)
class _Kill:
    endpoint: str
    since: int | None = None
    sequence: int = 0
    until: int | None = None

    def holds(self, at: int) -> bool:
        began = self.since
        return began is not None and began <= at and (self.until is None or at < self.until)


@dataclass(slots=True)
class _History:
    """Every state of one register, oldest first."""

    states: list[_Register] = field(default_factory=list)

    @property
    def floor(self) -> int | None:
        if not self.states:
            return None
        last = self.states[-1]
        return last.since if last.closed is None else last.closed

    def at(self, at: int) -> _Register | None:
        for one in reversed(self.states):
            if one.since <= at:
                return one if one.closed is None or at < one.closed else None
        return None

    def close(self, at: int) -> None:
        if self.states and self.states[-1].closed is None:
            self.states[-1].closed = max(at, self.states[-1].since)


class Replay:
    """Records taken in order; asked for any instant afterwards."""

    def __init__(self) -> None:
        self._registers: dict[Place, _History] = {}
        self._kills: dict[str, _Kill] = {}

    def take(self, sequence: int, event: Event) -> None:
        """The next record."""
        for effect in effects(event):
            match effect:
                case Set(place, present):
                    self._set(place, event, sequence, present)
                case End(replica):
                    for place, history in self._registers.items():
                        if place.replica == replica and place.kind in _OF_A_REPLICA:
                            history.close(event.at)
                case Killed(endpoint, kill):
                    self._kill(endpoint, kill, event.at, sequence)
                case Cleared(endpoint, ids):
                    for kill in ids:
                        self._clear(endpoint, kill, event.at)

    def at(self, at: int) -> Live:
        """What was live at `at` (microseconds since the epoch)."""
        found = []
        for place in sorted(self._registers):
            held = self._registers[place].at(at)
            if held is not None:
                found.append(Held(place, held.since, held.sequence, held.state))
        kills = [
            KillHeld(one.endpoint, kill, one.since, one.sequence)
            for kill, one in self._kills.items()
            if one.holds(at) and one.since is not None
        ]
        return Live(at, tuple(found), tuple(sorted(kills, key=kill_order)))

    def _set(self, place: Place, event: Event, sequence: int, present: bool) -> None:
        history = self._registers.setdefault(place, _History())
        floor = history.floor
        at = event.at if floor is None else max(event.at, floor)
        history.close(at)
        if present:
            history.states.append(_Register(at, sequence, event.after or {}))

    def _kill(self, endpoint: str, kill: str, at: int, sequence: int) -> None:
        known = self._kills.setdefault(kill, _Kill(endpoint))
        if known.since is None:
            known.since, known.sequence = at, sequence
            known.until = None if known.until is None else max(at, known.until)

    def _clear(self, endpoint: str, kill: str, at: int) -> None:
        known = self._kills.setdefault(kill, _Kill(endpoint))
        if known.until is None:
            known.until = at if known.since is None else max(at, known.since)


def kill_order(kill: KillHeld) -> tuple[str, int, int]:
    """Kills are told by endpoint, then time, then record."""
    return kill.endpoint, kill.since, kill.sequence


def replay(records: Iterable[tuple[int, Event]], at: int) -> Live:
    """What was live at `at` by these records, which are in order from the first."""
    taken = Replay()
    for sequence, one in records:
        taken.take(sequence, one)
    return taken.at(at)
