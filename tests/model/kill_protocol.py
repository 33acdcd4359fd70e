"""The kill switch among replicas, as a set of states and steps; see `checker`, `designs`.

Each replica has a copy of kills and clearances in memory (what it acts by), a disk (what it acknowledged) and
a stage. Beside them there is the shared store. The adversary chooses everything else:

* a message that was ever sent comes now, later, again, after younger ones, or never, to a replica or to the
  store (so what a replica read or wanted to write long ago comes late as well);
* a partition is a replica to which nothing comes for as long as the adversary likes;
* the store loses any part of what it holds, as often as the adversary likes (failover, flush, roll-back);
* a process ends at any point, as often as the adversary likes, and starts with nothing in memory until it has
  read its disk;
* an operator may have seen any kills, at any time, anywhere; the store decides on the re-arm.

Only kills and re-arms are counted and bounded, so the search is over all histories with so many of them.

The model remembers what no replica can: of which kills each was told since it started, which it acknowledged,
and which ids each accepted re-arm named. The laws compare the two.

Values are numbered and the design's functions tabled (they are pure), so a state is a few small numbers.
Replicas with the same contents are the same to every law, so they are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from tests.model.designs import Product

T = TypeVar("T")

LAWS = {
    "K1": "a replica that was told of a kill keeps the candidate out until a re-arm that saw the kill",
    "K2": "nobody holds a kill for cleared that no accepted re-arm named",
    "K3": "any two messages, in either order and repeated, leave a replica the same",
    "K4": "a replica that has read its disk keeps the candidate out for what it acknowledged before",
    "K5": "whatever the store lost, after a round with each replica it knows all that they know",
    "K6": "a replica that has not read its disk keeps the candidate out",
    "K7": "after two rounds each all replicas are the same, and out for every kill that anybody has",
    "K8": "whichever accepted re-arm comes now, a kill that none named keeps the candidate out",
    "K12": "no release stands at a stage that it reached before a kill was cleared",
}


class Bounds(NamedTuple):
    """How much may happen. `advances`: whether releases move."""

    replicas: int = 2
    kills: int = 2
    rearms: int = 1
    advances: bool = False


class Replica(NamedTuple):
    """Numbers of values; kills as bits. `stage`: 0, or 1 + the kills that were cleared when it began."""

    copy: int
    disk: int
    readable: bool = True
    told: int = 0
    acknowledged: int = 0
    stage: int = 0


class World(NamedTuple):
    """`replicas` by number, in order; `messages` as bits; what each accepted re-arm named, as bits."""

    shared: int
    replicas: tuple[int, ...]
    messages: int = 0
    kills: int = 0
    cleared: tuple[int, ...] = ()


class KillProtocol:
    """The steps and laws of `design` within `bounds`; `laws` picks some, None means all."""

    def __init__(self, design: Product, bounds: Bounds, laws: frozenset[str] | None = None) -> None:
        self._design = design
        self._bounds = bounds
        self._laws = frozenset(LAWS) if laws is None else laws
        self._values: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._table: dict[tuple[Any, ...], Any] = {}
        self._fresh = Replica(self._number(design.copy), self._number(design.disk))
        replicas = (self._number(self._fresh),) * bounds.replicas
        self.first = World(self._number(design.shared), replicas)

    # Steps.

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Everything that may happen next."""
        shared, replicas, messages, kills, cleared = world
        before = -1
        for place, replica in enumerate(replicas):
            if replica != before:
                others = replicas[:place] + replicas[place + 1 :]
                for name, after, told in self._once(self._own_steps, replica, messages, kills):
                    together = tuple(sorted((*others, after)))
                    if told < 0:
                        yield name, World(shared, together, messages, kills, cleared)
                    else:
                        yield name, World(shared, together, messages | 1 << told, kills + 1, cleared)
                after, handed = self._once(self._round, replica, shared)
                if (after, handed) != (replica, shared):
                    together = tuple(sorted((*others, after)))
                    yield "a round with the store", World(handed, together, messages, kills, cleared)
            before = replica
        for name, changed in self._once(self._store_steps, shared, messages):
            yield name, World(changed, replicas, messages, kills, cleared)
        if len(cleared) < self._bounds.rearms:
            for seen in range(1, 1 << kills):
                rearmed = self._once(self._rearmed, shared, seen, len(cleared))
                if rearmed is not None:
                    name, (changed, told) = f"a re-arm of {list(_ones(seen))} is accepted", rearmed
                    yield name, World(changed, replicas, messages | 1 << told, kills, (*cleared, seen))

    def _store_steps(self, shared: int, messages: int) -> tuple[tuple[str, int], ...]:
        values = self._values
        lost = (self._number(less) for less in self._design.lost(values[shared]))
        pushed = (self._number(self._design.push(values[shared], values[one])) for one in _ones(messages))
        return (
            *(("the store loses something", one) for one in sorted(lost)),
            *(("a message reaches the store", one) for one in pushed if one != shared),
        )

    def _own_steps(self, number: int, messages: int, kills: int) -> tuple[tuple[str, int, int], ...]:
        """What may happen at one replica without the store: a name, the replica, and what it tells or -1."""
        one: Replica = self._values[number]
        found: dict[tuple[Replica, int], str] = {}
        if kills < self._bounds.kills:
            copy, message = self._once(self._killed, one.copy, kills)
            killed = self._learnt(one, copy)
            found[killed._replace(told=killed.told | 1 << kills), message] = f"kill {kills}"
        for message in _ones(messages):
            found[self._heard(one, message), -1] = "a message comes"
            if one.readable:
                found[self._kept(one, message), -1] = "a message comes, and what it clears is kept"
        if one.readable:
            disk = self._once(self._kept_kills, one.copy, one.disk)
            kept = one._replace(disk=disk, acknowledged=one.acknowledged | one.told)
            found[kept, -1] = "the kills are kept"
        else:
            found[self._restored(one), -1] = "the disk is read"
        ended = self._fresh._replace(disk=self._once(self._ended, one.disk), readable=False)
        found[ended._replace(acknowledged=one.acknowledged), -1] = "the process ends"
        if self._bounds.advances and not one.stage and not self._out(one):
            found[one._replace(stage=self._cleared(one.copy) + 1), -1] = "the release advances"
        found.pop((one, -1), None)
        return tuple((name, self._number(after), told) for (after, told), name in found.items())

    def _heard(self, one: Replica, message: int) -> Replica:
        after = self._learnt(one, self._once(self._hears, one.copy, message))
        return after._replace(told=after.told | self._known(message))

    def _kept(self, one: Replica, message: int) -> Replica:
        copy, disk = self._once(self._keeps_clearances, one.copy, one.disk, message)
        return self._learnt(one, copy)._replace(disk=disk)

    def _restored(self, one: Replica) -> Replica:
        after = self._learnt(one, self._once(self._restores, one.copy, one.disk))
        return after._replace(readable=True, told=after.told | one.acknowledged)

    def _round(self, number: int, shared: int) -> tuple[int, int]:
        """One comparison with the store, both ways."""
        one: Replica = self._values[number]
        if not one.readable:
            return number, shared
        message = self._once(self._fetched, one.copy, shared)
        one = self._kept(self._heard(one, message), message)
        return self._number(one), self._once(self._handed_over, one.copy, shared)

    def _learnt(self, one: Replica, copy: int) -> Replica:
        """`one` with another copy; its release starts anew when a kill was cleared by that."""
        anew = self._design.restarts and self._cleared(copy) != self._cleared(one.copy)
        return one._replace(copy=copy, stage=0 if anew else one.stage)

    def _out(self, one: Replica) -> bool:
        """Whether `one` keeps the candidate out."""
        unknown = not one.readable and self._design.unknown_is_out
        return unknown or self._tripped(one.copy)

    # The design's functions, of numbers. Each distinct call is made once.

    def _once(self, function: Callable[..., T], *arguments: Any) -> T:
        key = (function.__name__, arguments)
        try:
            made: T = self._table[key]
        except KeyError:
            made = self._table[key] = function(*arguments)
        return made

    def _number(self, value: Any) -> int:
        key = (type(value), value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._values)
            self._values.append(value)
        return number

    def _killed(self, copy: int, kill: int) -> tuple[int, int]:
        made, message = self._design.kill(self._values[copy], str(kill))
        return self._number(made), self._number(message)

    def _hears(self, copy: int, message: int) -> int:
        return self._number(self._design.hear(self._values[copy], self._values[message]))

    def _kept_kills(self, copy: int, disk: int) -> int:
        return self._number(self._design.keep_kills(self._values[copy], self._values[disk]))

    def _keeps_clearances(self, copy: int, disk: int, message: int) -> tuple[int, int]:
        values = self._values
        made, kept = self._design.keep_clearances(values[copy], values[disk], values[message])
        return self._number(made), self._number(kept)

    def _ended(self, disk: int) -> int:
        return self._number(self._design.ended(self._values[disk]))

    def _restores(self, copy: int, disk: int) -> int:
        return self._number(self._design.restore(self._values[copy], self._values[disk]))

    def _fetched(self, copy: int, shared: int) -> int:
        return self._number(self._design.fetch(self._values[copy], self._values[shared]))

    def _handed_over(self, copy: int, shared: int) -> int:
        return self._number(self._design.hand_over(self._values[copy], self._values[shared]))

    def _rearmed(self, shared: int, seen: int, number: int) -> tuple[int, int] | None:
        made = self._design.rearm(self._values[shared], _ids(seen), number)
        return None if made is None else (self._number(made[0]), self._number(made[1]))

    def _tripped(self, copy: int) -> bool:
        return self._once(self._is_tripped, copy)

    def _is_tripped(self, copy: int) -> bool:
        return self._design.tripped(self._values[copy])

    def _known(self, value: int) -> int:
        return self._once(self._knows, value)

    def _knows(self, value: int) -> int:
        return _bits(self._design.known(self._values[value]))

    def _cleared(self, value: int) -> int:
        return self._once(self._clears, value)

    def _clears(self, value: int) -> int:
        return _bits(self._design.cleared(self._values[value]))

    # Laws.

    def broken(self, world: World) -> str | None:
        """The name of a law that does not hold in `world`."""
        shared, replicas, messages, _, rearms = world
        cleared = _union(rearms)
        found = self._once(self._broken_by_messages, shared, messages, cleared)
        for one in replicas:
            found = found or self._once(self._broken_by_one, one, messages, cleared)
        return found or self._once(self._broken_after_the_heal, shared, replicas, cleared)

    def _broken_by_one(self, number: int, messages: int, cleared: int) -> str | None:
        one: Replica = self._values[number]
        held = {
            "K1": self._out(one) or not one.told & ~cleared,
            "K2": not (self._cleared(one.copy) | self._cleared(one.disk)) & ~cleared,
            "K3": self._messages_commute(one.copy, messages),
            "K4": self._out(one) or not one.readable or not one.acknowledged & ~cleared,
            "K6": self._out(one) or one.readable,
            "K8": not (one.readable and one.told & ~cleared) or self._out_after_any(one, messages),
            "K12": one.stage in (0, self._cleared(one.copy) + 1),
        }
        return self._first_broken(held)

    def _broken_by_messages(self, shared: int, messages: int, cleared: int) -> str | None:
        held = _union(self._cleared(value) for value in (shared, *_ones(messages)))
        return self._first_broken({"K2": not held & ~cleared})

    def _broken_after_the_heal(self, shared: int, replicas: tuple[int, ...], cleared: int) -> str | None:
        """One round each gives the store back what it lost; two, and all agree."""
        before: list[Replica] = [self._values[one] for one in replicas]
        alive = self._known(shared) | _union(one.told | one.acknowledged for one in before)
        alive &= ~cleared
        numbers = [self._number(one if one.readable else self._restored(one)) for one in before]
        for place, number in enumerate(numbers):
            numbers[place], shared = self._once(self._round, number, shared)
        once: list[Replica] = [self._values[number] for number in numbers]
        known = _union(self._known(one.copy) for one in once)
        gone = _union(self._cleared(one.copy) for one in once)
        again = not known & ~self._known(shared) and not gone & ~self._cleared(shared)
        for place, number in enumerate(numbers):
            numbers[place], shared = self._once(self._round, number, shared)
        twice: list[Replica] = [self._values[number] for number in numbers]
        same = {self._design.acts_by(self._values[one.copy]) for one in twice}
        out = not alive or all(self._tripped(one.copy) for one in twice)
        return self._first_broken({"K5": again, "K7": len(same) == 1 and out})

    def _first_broken(self, held: dict[str, bool]) -> str | None:
        return next((name for name, holds in held.items() if not holds and name in self._laws), None)

    def _messages_commute(self, copy: int, messages: int) -> bool:
        each = tuple(_ones(messages))
        return all(self._once(self._commute, copy, one, other) for one in each for other in each)

    def _commute(self, copy: int, first: int, second: int) -> bool:
        ends = set()
        for order in (
            (first, second),
            (second, first),
            (first, second, first),
            (first, first, second, second),
        ):
            one = self._fresh._replace(copy=copy)
            for message in order:
                one = self._kept(self._heard(one, message), message)
            ends.add(self._design.acts_by(self._values[one.copy]))
        return len(ends) == 1

    def _out_after_any(self, one: Replica, messages: int) -> bool:
        return all(
            self._tripped(self._kept(one, message).copy)
            for message in _ones(messages)
            if self._cleared(message)
        )


def _bits(ids: frozenset[str]) -> int:
    return sum(1 << int(one) for one in ids)


def _ids(bits: int) -> frozenset[str]:
    return frozenset(map(str, _ones(bits)))


def _union(many: Any) -> int:
    union = 0
    for one in many:
        union |= one
    return union


def _ones(bits: int) -> Iterator[int]:
    place = 0
    while bits:
        if bits & 1:
            yield place
        bits >>= 1
        place += 1
