"""Ways to share kills: the product's, by its own functions, and ways that are known to fail.

The failing ones are what others do (the last writer wins, epoch numbers) or what a careless change would turn
ours into. They are here so that the checker can be seen to find what it looks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from domain.errors import StaleRearm
from domain.kill import Clearance, Kill
from killswitch.replication import Copy, Inventory, News, Shared
from killswitch.state import KillState

Ids = frozenset[str]
NONE: Ids = frozenset()


def kill_of(name: str) -> Kill:
    return Kill(name, "rain", "operator", "bad", 0.0, "rain-2")


@dataclass(frozen=True, slots=True)
class Disk:
    """What one replica has acknowledged."""

    kills: frozenset[Kill] = frozenset()
    clearances: frozenset[Clearance] = frozenset()


class Product:
    """`killswitch.replication`: every step is one of its functions.

    A replica has a copy (what it acts by) and a disk; there is one shared store; the rest are messages. All
    are hashable values. Designs that fail differ in a step or two.
    """

    unknown_is_out = True
    """Whether a replica that has not read its disk keeps the candidate out."""
    restarts = True
    """Whether a release starts from its first stage when a kill was cleared, wherever."""

    copy: Any = Copy()
    disk: Any = Disk()
    shared: Any = Shared()

    def kill(self, copy: Any, name: str) -> tuple[Any, Any]:
        """The copy of whoever kills, and the message."""
        killed: tuple[Copy, News] = copy.killed(kill_of(name))
        return killed

    def hear(self, copy: Any, message: Any) -> Any:
        """The copy once a message came: what it clears is not in force yet."""
        return copy.heard(message)[0]

    def keep_kills(self, copy: Any, disk: Any) -> Any:
        """The disk with every kill that the copy knows."""
        return replace(disk, kills=disk.kills | copy.state.kills)

    def keep_clearances(self, copy: Any, disk: Any, message: Any) -> tuple[Any, Any]:
        """Copy and disk once what `message` clears was kept, and is in force."""
        for clearance in sorted(copy.heard(message)[2], key=lambda one: one.at):
            disk = replace(disk, clearances=disk.clearances | {clearance})
            copy = copy.kept(clearance)
        return copy, disk

    def ended(self, disk: Any) -> Any:
        """The disk once the process has ended."""
        return disk

    def restore(self, copy: Any, disk: Any) -> Any:
        """The copy of a process that was just started, once it has read its disk."""
        for kill in disk.kills:
            copy = copy.killed(kill)[0]
        for clearance in disk.clearances:
            copy = copy.kept(clearance)
        return copy

    def fetch(self, copy: Any, shared: Any) -> Any:
        """What the copy lacks of the shared store, as a message."""
        return shared.fetched(copy.wanting(shared.inventory))

    def hand_over(self, copy: Any, shared: Any) -> Any:
        """The shared store once it was given what it lacks of the copy."""
        return shared.pushed(copy.lacking(shared.inventory))

    def push(self, shared: Any, message: Any) -> Any:
        """The shared store once a message reached it."""
        return shared.pushed(message)

    def rearm(self, shared: Any, seen: Ids, number: int) -> tuple[Any, Any] | None:
        """The shared store and the message once somebody who saw `seen` re-arms; None when it refuses."""
        clearance = Clearance("rain", seen, "operator", "fixed", float(number))
        try:
            return shared.rearmed(clearance), News(clearances=frozenset((clearance,)))
        except StaleRearm:
            return None

    def lost(self, shared: Any) -> Iterator[Any]:
        """What the shared store may be once it has lost something: any one thing; it may lose more later."""
        for kill in shared.kills:
            yield replace(shared, kills=shared.kills - {kill})
        for clearance in shared.clearances:
            yield replace(shared, clearances=shared.clearances - {clearance})

    # What laws look at.

    def tripped(self, copy: Any) -> bool:
        """Whether the copy keeps the candidate out."""
        out: bool = copy.state.tripped
        return out

    def acts_by(self, copy: Any) -> Any:
        """What has to be the same at every replica in the end."""
        return copy.state

    def known(self, value: Any) -> Ids:
        """The kills that a copy, a disk, a message or the shared store has heard of."""
        kills = value.state.kills if isinstance(value, Copy) else value.kills
        return frozenset(kill.id for kill in kills)

    def cleared(self, value: Any) -> Ids:
        """The kills that it holds for cleared."""
        if isinstance(value, Copy):
            return value.state.cleared
        return frozenset(name for one in value.clearances for name in one.ids)


class StoreIsTheTruth(Product):
    """What the shared store says replaces what a replica knew."""

    def hand_over(self, copy: Any, shared: Any) -> Any:
        return shared

    def fetch(self, copy: Any, shared: Any) -> Any:
        return Everything(shared.kills, shared.clearances)

    def hear(self, copy: Any, message: Any) -> Any:
        if isinstance(message, Everything):
            cleared = frozenset(name for one in message.clearances for name in one.ids)
            return Copy(KillState(message.kills, cleared), message.clearances)
        return super().hear(copy, message)


class Everything(News):
    """All that the shared store has."""


class NoPushBack(Product):
    """A kill is told when it is made, and never again."""

    def hand_over(self, copy: Any, shared: Any) -> Any:
        return shared


class ShortList(Product):
    """Only kills are handed over: the shared store never hears again of a clearance that it lost."""

    def hand_over(self, copy: Any, shared: Any) -> Any:
        return shared.pushed(News(copy.lacking(shared.inventory).kills))


class Forgetful(Product):
    """Nothing is on disk: a replica starts from what it hears."""

    def ended(self, disk: Any) -> Any:
        return Disk()


class HopefulStart(Product):
    """What is not read yet counts as no kill."""

    unknown_is_out = False


class KeptStage(Product):
    """A release goes on where it was when a kill is cleared."""

    restarts = False


class ClearsAll(Product):
    """A re-arm clears whatever is in force, not what its operator saw."""

    def rearm(self, shared: Any, seen: Ids, number: int) -> tuple[Any, Any] | None:
        named: Inventory = shared.inventory
        if not seen & (named.kills - named.cleared):
            return None
        return super().rearm(shared, named.kills - named.cleared, number)


class RearmOverwrites(Product):
    """A re-arm leaves a replica with what was known when it was accepted."""

    def keep_clearances(self, copy: Any, disk: Any, message: Any) -> tuple[Any, Any]:
        copy, disk = super().keep_clearances(copy, disk, message)
        if message.clearances:
            known = frozenset(kill for kill in copy.state.kills if kill.id in self.cleared(copy))
            copy = replace(copy, state=replace(copy.state, kills=known))
        return copy, disk


class HalfMerge(Product):
    """A message of what is cleared already makes a replica forget that it was."""

    def keep_clearances(self, copy: Any, disk: Any, message: Any) -> tuple[Any, Any]:
        if message.clearances and message.clearances <= copy.clearances:
            return Copy(KillState(copy.state.kills)), disk
        return super().keep_clearances(copy, disk, message)


@dataclass(frozen=True, slots=True)
class Dated:
    """A state with an epoch; `heard` and `gone` (kills its author knew of, and cleared) are for the laws."""

    epoch: int = 0
    killed: bool = False
    heard: Ids = NONE
    gone: Ids = NONE


class Epochs(Product):
    """The higher epoch wins, and killed wins a tie; each kill and each re-arm is a new epoch."""

    copy = disk = shared = Dated()

    def kill(self, copy: Any, name: str) -> tuple[Any, Any]:
        killed = Dated(copy.epoch + 1, True, copy.heard | {name}, copy.gone)
        return killed, killed

    def hear(self, copy: Any, message: Any) -> Any:
        return message if (message.epoch, message.killed) > (copy.epoch, copy.killed) else copy

    def keep_kills(self, copy: Any, disk: Any) -> Any:
        return copy

    def keep_clearances(self, copy: Any, disk: Any, message: Any) -> tuple[Any, Any]:
        return copy, disk

    def restore(self, copy: Any, disk: Any) -> Any:
        return self.hear(copy, disk)

    def fetch(self, copy: Any, shared: Any) -> Any:
        return shared

    def hand_over(self, copy: Any, shared: Any) -> Any:
        return self.hear(shared, copy)

    def push(self, shared: Any, message: Any) -> Any:
        return self.hear(shared, message)

    def rearm(self, shared: Any, seen: Ids, number: int) -> tuple[Any, Any] | None:
        if not shared.killed or shared.heard - shared.gone != seen:
            return None
        armed = Dated(shared.epoch + 1, False, shared.heard, shared.gone | shared.heard)
        return armed, armed

    def lost(self, shared: Any) -> Iterator[Any]:
        yield Dated()

    def tripped(self, copy: Any) -> bool:
        out: bool = copy.killed
        return out

    def acts_by(self, copy: Any) -> Any:
        return copy.epoch, copy.killed

    def known(self, value: Any) -> Ids:
        ids: Ids = value.heard
        return ids

    def cleared(self, value: Any) -> Ids:
        ids: Ids = value.gone
        return ids


class IdleEpochs(Epochs):
    """Epochs, where a kill of what is killed already is nothing new."""

    def kill(self, copy: Any, name: str) -> tuple[Any, Any]:
        if not copy.killed:
            return super().kill(copy, name)
        again = replace(copy, heard=copy.heard | {name})
        return again, again


class LastWriterWins(Epochs):
    """The message that comes last wins."""

    def hear(self, copy: Any, message: Any) -> Any:
        return message
