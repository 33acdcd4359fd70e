"""What `Database` promises on either engine."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from domain.errors import StateUnavailable
from storage import schema
from storage.columns import Words, spelt
from storage.database import Database
from storage.tables import GENERATIONS, STATES

ROOT = Path(__file__).parents[3]

ROW = {"replica": "", "name": "rain", "state": b"1"}


def states(on: Connection) -> list[str]:
    return list(on.execute(select(STATES.c.name)).scalars())


def test_what_raised_has_written_nothing_and_its_error_comes_through(database_url: str) -> None:
    database = Database.open(database_url)

    def fail(on: Connection) -> None:
        on.execute(insert(STATES), ROW)
        raise LookupError("not a matter of the database")

    with pytest.raises(LookupError, match="not a matter"):
        database.write(fail)
    assert database.read(states) == []
    database.write(lambda on: on.execute(insert(STATES), ROW))
    assert database.read(states) == ["rain"]
    database.close()


def test_a_reading_cannot_write(database_url: str) -> None:
    database = Database.open(database_url)
    with pytest.raises(StateUnavailable, match=r"read-?only"):
        database.read(lambda on: on.execute(insert(STATES), ROW))
    database.write(lambda on: on.execute(insert(STATES), ROW))
    database.close()


def test_a_reading_sees_one_moment(database_url: str) -> None:
    reader, writer = Database.open(database_url), Database.open(database_url)

    def twice(on: Connection) -> tuple[object, object]:
        before = on.execute(select(GENERATIONS.c.next)).scalar()
        writing = threading.Thread(
            target=writer.write, args=(lambda it: it.execute(GENERATIONS.update().values(next=99)),)
        )
        writing.start()
        writing.join()
        return before, on.execute(select(GENERATIONS.c.next)).scalar()

    assert reader.read(twice) == (1, 1)
    assert reader.read(lambda on: on.execute(select(GENERATIONS.c.next)).scalar()) == 99
    reader.close()
    writer.close()


def test_what_the_database_refuses_is_unavailable_and_the_next_call_works(database_url: str) -> None:
    database = Database.open(database_url)
    database.write(lambda on: on.execute(insert(STATES), ROW))
    with pytest.raises(StateUnavailable, match=r"UNIQUE|unique"):
        database.write(lambda on: on.execute(insert(STATES), ROW))
    with pytest.raises(StateUnavailable, match="no_such_table"):
        database.read(lambda on: on.execute(text("SELECT 1 FROM no_such_table")))
    assert database.read(states) == ["rain"]
    database.close()


def test_a_closed_database_is_unavailable(database_url: str) -> None:
    database = Database.open(database_url)
    database.close()
    database.close()
    for call in (database.read, database.write):
        with pytest.raises(StateUnavailable, match="closed"):
            call(states)


def test_another_kind_of_url_is_unavailable_and_not_repeated() -> None:
    with pytest.raises(StateUnavailable, match="'mysql' is neither") as refused:
        Database.open("mysql://ada:hunter2@host/state")
    assert "hunter2" not in str(refused.value)


def test_the_schema_is_seen_without_alembic_where_nothing_is_to_be_done(database_url: str) -> None:
    Database.open(database_url).close()
    program = (
        "import sys; from storage.database import Database; Database.open(sys.argv[1]).close(); "
        "print('alembic' in sys.modules, 'asyncpg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, database_url], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", str(database_url.startswith("postgresql"))]


def test_the_command_shows_the_revision_and_goes_back(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "storage", f"sqlite:///{tmp_path / 'state.db'}", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip(), done.stderr

    assert run() == (0, schema.newest(), "")
    assert run("0001") == (0, "0001", "")
    status, shown, said = run("7777")
    assert (status, shown) == (1, "")
    assert "no schema '7777'; known: base, 0001" in said


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_words_come_back_as_they_are_spelt(words: str) -> None:
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        held = Words().process_bind_param(words, dialect)
        assert held is not None
        held.encode("utf-8")
        if dialect.name == "postgresql":
            assert "\0" not in held
        assert Words().process_result_value(held, dialect) == spelt(words)


@settings(deadline=None)
@given(st.text(st.sampled_from("\\\0a0")), st.text(st.sampled_from("\\\0a0")))
def test_different_words_are_held_differently(one: str, other: str) -> None:
    held = [Words().process_bind_param(words, postgresql.dialect()) for words in (one, other)]
    assert (held[0] == held[1]) == (one == other)
