"""From any schema to the newest and back, on either engine, and never from one that is not ours."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.stores.database import DatabaseStore
from monitoring.labels import kept
from storage import schema
from storage.database import Database
from storage.tables import METADATA

ROOT = Path(__file__).parents[3]

KILL = Kill("kill-1", "rain", "guard:flips", "flips \\ 23 %", 1763776800.123456, "rain-2")
CLEARANCE = Clearance("rain", frozenset({"kill-0", "kill-1"}), "ada", "model fixed", 1763776801.654321)

FIRST_LAYOUT = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
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
INSERT INTO generations VALUES (1);
CREATE TABLE states (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sequences (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""
"""What the first releases made, word by word."""


def filled(url: str) -> None:
    store = DatabaseStore.open(url)
    store.add_kill(KILL)
    store.add_clearance(CLEARANCE)
    store.reserve_generations(41)
    store.checkpoint({"rain": b"\x00\xff"}, {"worker-0": 2**53})
    store.close()


def holds_all(url: str) -> None:
    store = DatabaseStore.open(url)
    store.add_clearance(CLEARANCE)
    found = (
        store.kills(),
        store.clearances(),
        store.states(),
        store.sequences(),
        store.reserve_generations(1),
    )
    store.close()
    assert found == ((KILL,), (CLEARANCE,), {"rain": b"\x00\xff"}, {"worker-0": 2**53}, 42)


def first_layout(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = sqlite3.connect(path, isolation_level=None)
    made.executescript("PRAGMA journal_mode = WAL;" + FIRST_LAYOUT)
    made.execute("INSERT INTO schema_version VALUES (1)")
    made.execute("UPDATE generations SET next = 42")
    made.execute(
        "INSERT INTO kills (id, endpoint, actor, reason, at, version) VALUES (?, ?, ?, ?, ?, ?)",
        (KILL.id, KILL.endpoint, KILL.actor, KILL.reason, KILL.at, KILL.version),
    )
    made.execute(
        "INSERT INTO clearances (endpoint, ids, actor, reason, at) VALUES (?, ?, ?, ?, ?)",
        ("rain", json.dumps(sorted(CLEARANCE.ids)), "ada", CLEARANCE.reason, CLEARANCE.at),
    )
    made.execute("INSERT INTO states VALUES ('rain', ?)", (b"\x00\xff",))
    made.execute("INSERT INTO sequences VALUES ('worker-0', ?)", (2**53,))
    made.close()
    return f"sqlite:///{path}"


def test_a_file_of_the_first_layout_is_taken_over_with_all_that_it_holds(tmp_path: Path) -> None:
    url = first_layout(tmp_path / "pointsman.db")
    holds_all(url)
    database = Database.open(url)
    assert database.read(schema.revision) == schema.newest()
    left = database.read(lambda on: on.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all())
    database.close()
    assert not [name for name in left if name.startswith(("first_", "later_", "schema_version"))]


def test_a_take_over_that_fails_leaves_the_first_layout_as_it_was(tmp_path: Path) -> None:
    url = first_layout(tmp_path / "pointsman.db")
    other = sqlite3.connect(tmp_path / "pointsman.db", isolation_level=None)
    other.execute("UPDATE clearances SET ids = '[\"kill-'")
    with pytest.raises(StateUnavailable, match="clearance"):
        Database.open(url)
    assert other.execute("SELECT count(*) FROM kills").fetchone() == (1,)
    assert other.execute("SELECT version FROM schema_version").fetchone() == (1,)
    other.execute("UPDATE clearances SET ids = ?", (json.dumps(sorted(CLEARANCE.ids)),))
    other.close()
    holds_all(url)


def test_the_migrations_are_one_line_that_ends_at_the_newest() -> None:
    script = ScriptDirectory(str(schema.MIGRATIONS))
    assert script.get_heads() == [schema.newest()]
    revisions = [one.revision for one in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    assert all(len(one) == 4 for one in revisions)


def test_the_migrations_make_the_tables_that_the_code_names(database_url: str) -> None:
    def differences(on: Connection) -> object:
        context = MigrationContext.configure(
            on,
            opts={
                "compare_type": False,
                "include_name": lambda name, kind, _: not (kind == "table" and name == "alembic_version"),
            },
        )
        return compare_metadata(context, METADATA)

    database = Database.open(database_url)
    found = database.read(differences)
    database.close()
    assert found == []


def test_a_step_back_and_forth_keeps_kills(database_url: str) -> None:
    filled(database_url)
    revisions = [one.revision for one in ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions()]
    targets = [*revisions[1:], *(["base"] if database_url.startswith("sqlite") else [])]
    for target in targets:
        database = Database.open(database_url)

        def back(on: Connection, to: str = target) -> str | None:
            schema.downgrade(on, to)
            return schema.revision(on)

        found = database.write(back)
        database.close()
        assert found == (None if target == "base" else target)
        holds_all_but_generations(database_url)


def test_a_step_back_keeps_the_label_that_holds_and_forth_again_goes_on_from_there(database_url: str) -> None:
    def labels(database: Database) -> dict[str, object]:
        found = database.read(lambda on: kept.of(on, ["r-1", "r-2"], "rain"))
        return {request: one.label for request, one in found.items()}

    database = Database.open(database_url)
    some = [
        ("r-1", "", "dry", 5.0),
        ("r-1", "", "rain", 6.0),
        ("r-1", "", "fog", 4.0),
        ("r-2", "rain", 1, 5.0),
    ]
    for one in some:
        database.write(lambda on, one=one: kept.keep(on, [kept.KeptLabel(*one)], 7.0))  # type: ignore[misc]
    assert labels(database) == {"r-1": "rain", "r-2": 1}
    database.write(lambda on: schema.downgrade(on, "0007"))
    rows = database.read(lambda on: on.execute(text("SELECT request, at FROM labels ORDER BY request")).all())
    assert [tuple(row) for row in rows] == [("r-1", 6.0), ("r-2", 5.0)]
    database.close()
    database = Database.open(database_url)
    assert labels(database) == {"r-1": "rain", "r-2": 1}
    assert [entry.number for entry in database.read(lambda on: kept.after(on, 0, 9))] == [1, 2]
    database.write(lambda on: kept.keep(on, [kept.KeptLabel("r-1", "", "dry", 9.0)], 9.0))
    assert labels(database) == {"r-1": "dry", "r-2": 1}
    database.close()


def holds_all_but_generations(url: str) -> None:
    store = DatabaseStore.open(url)
    found = (store.kills(), store.clearances(), store.states(), store.sequences())
    first = store.reserve_generations(1)
    store.close()
    assert found == ((KILL,), (CLEARANCE,), {"rain": b"\x00\xff"}, {"worker-0": 2**53})
    assert first >= 42


def test_a_step_back_to_the_first_layout_is_what_the_first_releases_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pointsman.db'}"
    filled(url)
    database = Database.open(url)
    database.write(lambda on: schema.downgrade(on, "base"))
    database.close()
    made = sqlite3.connect(":memory:")
    made.executescript(FIRST_LAYOUT)
    other = sqlite3.connect(tmp_path / "pointsman.db")
    # `sqlite_sequence` is SQLite's own: once a table has counted by it, it cannot be dropped.
    query = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%' "
        "AND name <> 'sqlite_sequence' ORDER BY 1"
    )
    assert other.execute(query).fetchall() == made.execute(query).fetchall()
    assert other.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    made.close()
    other.close()


def test_postgresql_has_nothing_to_go_back_to_before_the_first(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    filled(url)
    database = Database.open(url)
    with pytest.raises(schema.Unfit, match="restore the backup"):
        database.write(lambda on: schema.downgrade(on, "base"))
    database.close()
    holds_all(url)


@pytest.mark.parametrize("release", ["99.1.2", None])
def test_a_schema_of_a_newer_release_is_refused_and_left_alone(
    database_url: str, release: str | None
) -> None:
    filled(database_url)
    database = Database.open(database_url)

    def make_newer(on: Connection) -> None:
        on.execute(text("UPDATE alembic_version SET version_num = '9001'"))
        if release is not None:
            on.execute(text("INSERT INTO upgrades VALUES ('9001', :release)"), {"release": release})

    database.write(make_newer)
    wrote = "a newer release" if release is None else f"release {release}"
    with pytest.raises(StateUnavailable, match=rf"schema 9001, written by {wrote}.*run the newer release"):
        Database.open(database_url)
    assert database.read(schema.revision) == "9001"
    known = {"to": schema.newest()}
    database.write(lambda on: on.execute(text("UPDATE alembic_version SET version_num = :to"), known))
    database.close()
    holds_all(database_url)


@pytest.mark.parametrize(
    ("versions", "reason"),
    [((), "no schema version: it is damaged"), ((2,), "schema 2.*newer release")],
)
def test_an_early_file_with_another_version_is_refused(
    tmp_path: Path, versions: tuple[int, ...], reason: str
) -> None:
    other = sqlite3.connect(tmp_path / "pointsman.db", isolation_level=None)
    other.executescript(FIRST_LAYOUT)
    other.executemany("INSERT INTO schema_version VALUES (?)", [(version,) for version in versions])
    with pytest.raises(StateUnavailable, match=reason):
        Database.open(f"sqlite:///{tmp_path / 'pointsman.db'}")
    assert other.execute("SELECT next FROM generations").fetchall() == [(1,)]
    other.close()


def test_the_release_that_made_a_schema_is_written_down(database_url: str) -> None:
    database = Database.open(database_url)
    rows = database.read(lambda on: on.execute(text("SELECT revision, release FROM upgrades")).all())
    database.close()
    assert max(row.revision for row in rows) == schema.newest()
    assert {row.release for row in rows} == {schema.version("pointsman")}


STARTERS = """
import os, sys
from killswitch.stores.database import DatabaseStore
import storage.postgres
go, gone = os.pipe()
starters = []
for number in range(6):
    heard, said = os.pipe()
    if not os.fork():
        os.close(gone)
        os.read(go, 1)
        store = DatabaseStore.open(sys.argv[1])
        firsts = [store.reserve_generations(7) for _ in range(20)]
        store.close()
        os.write(said, repr(firsts).encode())
        os._exit(0)
    os.close(said)
    starters.append(heard)
os.close(gone)
for heard in starters:
    print(os.read(heard, 65536).decode())
    os.wait()
"""


def test_several_replicas_that_start_at_once_share_one_schema_and_no_generation(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTERS, database_url], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stderr
    firsts = sorted(first for line in lines for first in json.loads(line))
    assert firsts == list(range(1, 6 * 20 * 7, 7))
