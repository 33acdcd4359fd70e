"""From any earlier schema to the newest, in one transaction, by whoever comes first.

A revision is a number (`0001`) and a file in `migrations/versions/`; each says how to go up and how to go
back. Whether the database is at the newest is one SELECT: alembic is loaded only where it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, column, insert, inspect, select, table, text
from sqlalchemy.schema import CreateSchema

from storage.tables import UPGRADES

MIGRATIONS = Path(__file__).parent / "migrations"

_ALEMBIC = table("alembic_version", column("version_num"))
SCHEMA = "pointsman"
"""PostgreSQL's schema that holds all tables, apart from other programs'."""

_LOCK = 0x706F696E7473
"""The advisory lock of whoever migrates ("points")."""

_ALONE = threading.Lock()
"""Alembic's `op` is one for the whole process: two threads must not migrate two databases at once."""

_FIRST_LAYOUT = "schema_version"
"""The table that marked the layout before revisions were numbered."""


class Unfit(Exception):  # noqa: N818 - a state of the database, not a mistake
    """The database is not one that this release can use; the message says why, and the way out."""


def newest() -> str:
    """The revision that this release knows last."""
    return _known()[-1]


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; None before the first."""
    if not inspect(connection).has_table(_ALEMBIC.name):
        return None
    found: str | None = connection.execute(select(_ALEMBIC.c.version_num)).scalar()
    return found


def is_newest(connection: Connection) -> bool:
    """Whether nothing is to be done. Raises Unfit."""
    found = revision(connection)
    if found is None:
        _demand_ours(connection)
    elif found not in _known():
        raise Unfit(_too_new(connection, found))
    return found == newest()


def upgrade(connection: Connection) -> None:
    """To the newest revision, in the transaction that `connection` is in. Raises Unfit."""
    _wait_for_turn(connection)
    if is_newest(connection):
        return  # somebody else was first
    _migrate(connection, lambda script, found: script._upgrade_revs(newest(), found))
    done = set(connection.execute(select(UPGRADES.c.revision)).scalars())
    rows = [{"revision": one, "release": version("pointsman")} for one in _known() if one not in done]
    connection.execute(insert(UPGRADES), rows)


def downgrade(connection: Connection, to: str) -> None:
    """Back to revision `to` (`base`: the layout before the first), for a release that knows no more.

    Raises Unfit when there is no such revision, or nothing to go back to.
    """
    if to != "base" and to not in _known():
        raise Unfit(f"there is no schema {to!r}; known: base, {', '.join(_known())}")
    _wait_for_turn(connection)
    _migrate(connection, lambda script, found: script._downgrade_revs(to, found))
    if inspect(connection).has_table(UPGRADES.name):
        connection.execute(UPGRADES.delete().where(UPGRADES.c.revision > to))


def _migrate(connection: Connection, steps: Callable[[Any, Any], Any]) -> None:
    # Here, because it is slow to load and seldom needed.
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    context = MigrationContext.configure(
        connection, opts={"fn": lambda found, _context: steps(script, found)}
    )
    with _ALONE, Operations.context(context):
        context.run_migrations()


def _wait_for_turn(connection: Connection) -> None:
    # In SQLite, a transaction that writes is alone from its beginning.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        # Asked first: who may use the schema may not always make one.
        if not connection.execute(
            text("SELECT to_regnamespace(:name) IS NOT NULL"), {"name": SCHEMA}
        ).scalar():
            connection.execute(CreateSchema(SCHEMA))


def _demand_ours(connection: Connection) -> None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return
    if _FIRST_LAYOUT not in tables:
        raise Unfit("it is another program's database; give another one")
    layout = connection.execute(text("SELECT version FROM schema_version")).scalar()
    if layout is None:
        raise Unfit("it has no schema version: it is damaged; restore it from a backup")
    if layout != 1:
        raise Unfit(f"it has schema {layout}, this release knows schema 1: it was written by a newer release")


def _too_new(connection: Connection, found: str) -> str:
    by = None
    if inspect(connection).has_table(UPGRADES.name):
        by = connection.execute(select(UPGRADES.c.release).where(UPGRADES.c.revision == found)).scalar()
    wrote = "a newer release" if by is None else f"release {by}"
    return (
        f"it has schema {found}, written by {wrote}; this is release {version('pointsman')}, which knows "
        f"schema {newest()}: run the newer release, or restore the backup from before its first start"
    )


def _known() -> list[str]:
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
