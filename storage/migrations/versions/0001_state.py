"""Kills, clearances, generations, states, sequences.

A SQLite file of the first layout (table schema_version) is taken over with all that it holds; its states and
sequences become those of the replica without a name, which is the only one that a file has.
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from storage.schema import Unfit

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TAKEN_OVER = ("kills", "clearances", "generations", "states", "sequences")

_FIRST_LAYOUT = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (1);
CREATE TABLE kills (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    version TEXT NOT NULL
);
CREATE TABLE clearances (
    position INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    ids TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    UNIQUE (endpoint, ids, actor, reason, at)
);
CREATE TABLE generations (next INTEGER NOT NULL);
CREATE TABLE states (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sequences (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID"""


def upgrade() -> None:
    """To the tables below, with what a file of the first layout holds."""
    connection = op.get_bind()
    first_layout = sa.inspect(connection).has_table("schema_version")
    if first_layout:
        for name in _TAKEN_OVER:
            op.rename_table(name, f"first_{name}")
        op.drop_table("schema_version")
    _create()
    if first_layout:
        _take_over(connection)
        for name in _TAKEN_OVER:
            op.drop_table(f"first_{name}")
    else:
        connection.exec_driver_sql("INSERT INTO generations VALUES (1)")


def downgrade() -> None:
    """To the first layout, which only SQLite files ever had; with what the replica without a name holds."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        raise Unfit(
            "no release before this schema speaks to PostgreSQL: there is nothing to go back to; "
            "restore the backup from before the first start, or drop the schema pointsman"
        )
    for name in _TAKEN_OVER:
        op.rename_table(name, f"later_{name}")
    for statement in _FIRST_LAYOUT.split(";\n"):
        connection.exec_driver_sql(statement)
    _copy(connection, "later_", "kills", "position, id, endpoint, actor, reason, at, version")
    _copy(connection, "later_", "clearances", "position, endpoint, ids, actor, reason, at")
    _copy(connection, "later_", "generations", "next")
    for name, column in ("states", "state"), ("sequences", "sequence"):
        connection.exec_driver_sql(
            f"INSERT INTO {name} SELECT name, {column} FROM later_{name} WHERE replica = ''"  # noqa: S608
        )
    for name in (*(f"later_{one}" for one in _TAKEN_OVER), "upgrades"):
        op.drop_table(name)


def _create() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "upgrades",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
    )
    op.create_table(
        "kills",
        sa.Column("position", whole, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
    )
    op.create_table(
        "clearances",
        sa.Column("position", whole, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("ids", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table("generations", sa.Column("next", whole, nullable=False))
    op.create_table(
        "states",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sequences",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sequence", whole, nullable=False),
    )


def _take_over(connection: sa.Connection) -> None:
    _copy(connection, "first_", "kills", "position, id, endpoint, actor, reason, at, version")
    _copy(connection, "first_", "generations", "next")
    rows = connection.exec_driver_sql(
        "SELECT position, endpoint, ids, actor, reason, at FROM first_clearances ORDER BY position"
    ).all()
    for position, endpoint, ids, actor, reason, at in rows:
        said = json.dumps((endpoint, _listed(ids, position), actor, reason, at))
        connection.exec_driver_sql(
            "INSERT INTO clearances (position, digest, endpoint, ids, actor, reason, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (position, hashlib.sha256(said.encode()).hexdigest(), endpoint, ids, actor, reason, at),
        )
    connection.exec_driver_sql("INSERT INTO states SELECT '', name, state FROM first_states")
    connection.exec_driver_sql("INSERT INTO sequences SELECT '', name, sequence FROM first_sequences")


def _listed(ids: str, position: int) -> object:
    try:
        return json.loads(ids)
    except ValueError as error:
        raise Unfit(f"clearance {position} cannot be read: {error}; restore it from a backup") from error


def _copy(connection: sa.Connection, prefix: str, name: str, columns: str) -> None:
    connection.exec_driver_sql(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {prefix}{name}")  # noqa: S608
