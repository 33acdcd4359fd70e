"""The kill state: two sets that only grow.

Tripped ⇔ some kill is not cleared. Merge = union, which commutes, associates and is idempotent: messages
may be lost, repeated, reordered or late, replicas partitioned, a store rolled back, and everyone who has
heard the same ends in the same state. A kill leaves only by a re-arm that named its id, so by an operator
who saw it. An epoch number would not do: a kill made in a partition, under an older epoch, would be lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from domain.errors import StaleRearm
from domain.kill import Kill


@dataclass(frozen=True, slots=True)
class KillState:
    """One endpoint's kills, and the ids that were cleared. A cleared id may be known before its kill is."""

    kills: frozenset[Kill] = frozenset()
    cleared: frozenset[str] = frozenset()

    @property
    def tripped(self) -> bool:
        """Whether the candidate is out."""
        return any(kill.id not in self.cleared for kill in self.kills)

    @property
    def uncleared(self) -> tuple[Kill, ...]:
        """The kills in force, by time and then id."""
        in_force = (kill for kill in self.kills if kill.id not in self.cleared)
        return tuple(sorted(in_force, key=lambda kill: (kill.at, kill.id)))

    def kill(self, kill: Kill) -> KillState:
        """With `kill` in force, unless its very id was cleared already."""
        return replace(self, kills=self.kills | {kill})

    def rearm(self, ids: frozenset[str]) -> KillState:
        """With exactly the kills `ids` cleared.

        Raises StaleRearm unless `ids` are all the kills in force, and at least one.
        """
        in_force = frozenset(kill.id for kill in self.uncleared)
        if not in_force:
            raise StaleRearm("nothing to clear: no kill is in force")
        if ids != in_force:
            raise StaleRearm(
                f"the kills in force are {_listed(in_force)}, the re-arm names {_listed(ids)}; "
                "look at them again and name every one"
            )
        return replace(self, cleared=self.cleared | ids)

    def merge(self, other: KillState) -> KillState:
        """All that either knows."""
        return KillState(self.kills | other.kills, self.cleared | other.cleared)


def _listed(ids: frozenset[str]) -> str:
    return ", ".join(sorted(ids)) or "none"
