"""Kills shared by several replicas and a store between them: what each says to which message, as values.

The problem. Messages are lost, repeated, late and out of order. A replica is cut off while it kills. The
shared store is emptied, filled with garbage, or replaced by a copy of itself that lost the latest writes.
Kills must survive all of it, and what nobody cleared on purpose must stay in force.

The protocol. Everybody holds the same two sets, which only grow: kills and clearances (`killswitch.state`).
A message is a part of these sets (`News`), and whoever hears one takes the union. A replica that has killed
says so at once; that is only a hint. Every second each replica compares what it knows with what the shared
store names (`Inventory`), fetches what it lacks and hands over what the store lacks: that is the truth, and
it needs no memory of what was said before. So it heals whatever happened to messages, replicas or the store.

A re-arm is decided in one place: the shared store compares the ids that the operator saw with those in force
there, and takes the clearance only if they are the same. Of two operators at two replicas one wins. It is
refused while the store cannot be asked. A kill that the store had forgotten, or had not heard of, is not
among the ids, so it stays in force and comes back with the next comparison.

The guarantee. At a replica a kill leaves the kills in force only by a clearance that names it, whatever is
lost, repeated, reordered or rolled back; once messages flow again all copies are equal after one round each.
A clearance is applied only when it is kept on disk, a kill before: in between the candidate is rather out.

Source: state-based grow-only sets, Shapiro, Preguiça, Baquero & Zawirski, "Conflict-free Replicated Data
Types", 2011. tests/model/ searches all histories of these very functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from domain.kill import Clearance, Kill
from killswitch.state import KillState


@dataclass(frozen=True, slots=True)
class News:
    """A message about one endpoint: some of its kills and clearances."""

    kills: frozenset[Kill] = frozenset()
    clearances: frozenset[Clearance] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.kills or self.clearances)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Which kills and which cleared ids somebody knows, by their ids only."""

    kills: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.kills or self.cleared)


@dataclass(frozen=True, slots=True)
class Copy:
    """One replica's copy of one endpoint's kills and clearances.

    `state` is what it acts by; `clearances` are those in it, so that they can be handed on.
    """

    state: KillState = field(default_factory=KillState)
    clearances: frozenset[Clearance] = frozenset()

    def killed(self, kill: Kill) -> tuple[Copy, News]:
        """The replica itself kills: in force at once, and what to tell the others."""
        return replace(self, state=self.state.kill(kill)), News(kills=frozenset((kill,)))

    def heard(self, news: News) -> tuple[Copy, frozenset[Kill], frozenset[Clearance]]:
        """A message came, from wherever: its kills are in force at once.

        Answers the copy, the kills that are new here, which have to be kept on disk, and the clearances that
        are new: each has to be kept on disk first and then given to `kept`.
        """
        known = {kill.id for kill in self.state.kills}
        fresh = frozenset(kill for kill in news.kills if kill.id not in known)
        unknown = frozenset(one for one in news.clearances if not one.ids <= self.state.cleared)
        return replace(self, state=self.state.merge(KillState(kills=fresh))), fresh, unknown

    def kept(self, clearance: Clearance) -> Copy:
        """`clearance` is on disk: it is in force."""
        cleared = KillState(cleared=clearance.ids)
        return Copy(self.state.merge(cleared), self.clearances | {clearance})

    def wanting(self, shared: Inventory) -> Inventory:
        """What the shared store names and this replica does not know: to be fetched."""
        return Inventory(shared.kills - self._ids(), shared.cleared - self.state.cleared)

    def lacking(self, shared: Inventory) -> News:
        """What this replica knows and the shared store does not name: to be handed over."""
        kills = frozenset(kill for kill in self.state.kills if kill.id not in shared.kills)
        clearances = frozenset(one for one in self.clearances if not one.ids <= shared.cleared)
        return News(kills, clearances)

    def rearming(self, clearance: Clearance) -> Clearance:
        """What to ask the shared store for. Raises StaleRearm when other kills are in force here."""
        self.state.rearm(clearance.ids)
        return clearance

    def _ids(self) -> frozenset[str]:
        return frozenset(kill.id for kill in self.state.kills)


@dataclass(frozen=True, slots=True)
class Shared:
    """One endpoint in the shared store, and what its scripts do there; by id, the first writing stands."""

    kills: frozenset[Kill] = frozenset()
    clearances: frozenset[Clearance] = frozenset()

    @property
    def inventory(self) -> Inventory:
        """What it names."""
        cleared = frozenset(one_id for one in self.clearances for one_id in one.ids)
        return Inventory(frozenset(kill.id for kill in self.kills), cleared)

    def pushed(self, news: News) -> Shared:
        """After a replica handed over `news`."""
        named = self.inventory
        kills = frozenset(kill for kill in news.kills if kill.id not in named.kills)
        clearances = frozenset(one for one in news.clearances if not one.ids <= named.cleared)
        return Shared(self.kills | kills, self.clearances | clearances)

    def fetched(self, wanted: Inventory) -> News:
        """What it holds of `wanted`."""
        return News(
            frozenset(kill for kill in self.kills if kill.id in wanted.kills),
            frozenset(one for one in self.clearances if one.ids & wanted.cleared),
        )

    def rearmed(self, clearance: Clearance) -> Shared:
        """After a re-arm. Raises StaleRearm unless it names exactly the kills in force here."""
        named = self.inventory
        KillState(self.kills, named.cleared).rearm(clearance.ids)
        return Shared(self.kills, self.clearances | {clearance})


def by_endpoint(kills: Iterable[Kill], clearances: Iterable[Clearance]) -> dict[str, Copy]:
    """Copies of what a replica has on disk, by endpoint."""
    copies: dict[str, Copy] = {}
    for kill in kills:
        copies[kill.endpoint] = copies.get(kill.endpoint, Copy()).killed(kill)[0]
    for one in clearances:
        copies[one.endpoint] = copies.get(one.endpoint, Copy()).kept(one)
    return copies
