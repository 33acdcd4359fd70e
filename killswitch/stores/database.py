"""Kill state and evidence in the durable database.

Kills, clearances and generations belong to everybody who shares the database. States and sequences are what
one gateway has read so far from its own workers, so they are kept per replica.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from storage.columns import spelt
from storage.database import BOUND, Database
from storage.tables import CLEARANCES, GENERATIONS, KILLS, SEQUENCES, STATES

_KILL = (KILLS.c.id, KILLS.c.endpoint, KILLS.c.actor, KILLS.c.reason, KILLS.c.at, KILLS.c.version)
_CLEARANCE = (
    CLEARANCES.c.endpoint,
    CLEARANCES.c.ids,
    CLEARANCES.c.actor,
    CLEARANCES.c.reason,
    CLEARANCES.c.at,
)


class DatabaseStore:
    """A `domain.ports.StateStore` over `database`, which it closes. `replica` names whose states it keeps."""

    def __init__(self, database: Database, replica: str = "") -> None:
        self.database = database
        self._replica = replica

    @staticmethod
    def open(url: str, replica: str = "", bound: float = BOUND) -> DatabaseStore:
        """The store in the database at `url`. Raises StateUnavailable, see `Database.open`."""
        return DatabaseStore(Database.open(url, bound), replica)

    def kills(self) -> tuple[Kill, ...]:
        """See `StateStore`."""
        rows = self.database.read(lambda on: on.execute(select(*_KILL).order_by(KILLS.c.position)).all())
        return tuple(Kill(*row) for row in rows)

    def clearances(self) -> tuple[Clearance, ...]:
        """See `StateStore`."""
        query = select(*_CLEARANCE).order_by(CLEARANCES.c.position)
        rows = self.database.read(lambda on: on.execute(query).all())
        try:
            return tuple(
                Clearance(endpoint, frozenset(json.loads(ids)), actor, reason, at)
                for endpoint, ids, actor, reason, at in rows
            )
        except ValueError as error:
            raise StateUnavailable(f"{self.database.where}: a clearance cannot be read: {error}") from error

    def add_kill(self, kill: Kill) -> None:
        """See `StateStore`."""
        row = {
            "id": kill.id,
            "endpoint": kill.endpoint,
            "actor": kill.actor,
            "reason": kill.reason,
            "at": kill.at,
            "version": kill.version,
        }
        self.database.write(lambda on: _add(on, KILLS, row))

    def add_clearance(self, clearance: Clearance) -> None:
        """See `StateStore`."""
        self.database.write(lambda on: keep_clearance(on, clearance))

    def reserve_generations(self, count: int) -> int:
        """See `StateStore`."""
        if count < 1:
            raise ValueError(f"count {count!r} must be 1 or more")

        def reserve(on: Connection) -> int:
            # Writing first: the row is then ours until the end of the transaction.
            on.execute(update(GENERATIONS).values(next=GENERATIONS.c.next + count))
            return int(on.execute(select(GENERATIONS.c.next)).scalar_one()) - count

        return self.database.write(reserve)

    def checkpoint(self, states: Mapping[str, bytes], sequences: Mapping[str, int]) -> None:
        """See `StateStore`."""

        def keep(on: Connection) -> None:
            self._replace(on, STATES, "state", states.items())
            self._replace(on, SEQUENCES, "sequence", sequences.items())

        self.database.write(keep)

    def states(self) -> dict[str, bytes]:
        """See `StateStore`."""
        query = select(STATES.c.name, STATES.c.state).where(STATES.c.replica == self._replica)
        return {row.name: bytes(row.state) for row in self.database.read(lambda on: on.execute(query).all())}

    def sequences(self) -> dict[str, int]:
        """See `StateStore`."""
        query = select(SEQUENCES.c.name, SEQUENCES.c.sequence).where(SEQUENCES.c.replica == self._replica)
        return {row.name: row.sequence for row in self.database.read(lambda on: on.execute(query).all())}

    def close(self) -> None:
        """See `StateStore`."""
        self.database.close()

    def _replace(self, on: Connection, table: Table, what: str, items: Iterable[tuple[str, object]]) -> None:
        rows = [{"replica": self._replica, "name": name, what: value} for name, value in items]
        if not rows:
            return
        if on.dialect.name == "postgresql":
            for_postgres = postgresql.insert(table)
            on.execute(
                for_postgres.on_conflict_do_update(
                    index_elements=["replica", "name"], set_={what: for_postgres.excluded[what]}
                ),
                rows,
            )
        else:
            on.execute(insert(table).prefix_with("OR REPLACE"), rows)


def keep_clearance(on: Connection, clearance: Clearance) -> None:
    """Keep `clearance` in a transaction that is under way; one that is known already changes nothing."""
    endpoint, actor, reason = map(spelt, (clearance.endpoint, clearance.actor, clearance.reason))
    ids = sorted(map(spelt, clearance.ids))
    said = json.dumps((endpoint, ids, actor, reason, clearance.at))
    row = {
        "digest": hashlib.sha256(said.encode()).hexdigest(),
        "endpoint": endpoint,
        "ids": json.dumps(ids),
        "actor": actor,
        "reason": reason,
        "at": clearance.at,
    }
    _add(on, CLEARANCES, row)


def _add(on: Connection, table: Table, row: Mapping[str, object]) -> None:
    make = postgresql.insert if on.dialect.name == "postgresql" else sqlite.insert
    on.execute(make(table).on_conflict_do_nothing(), row)
