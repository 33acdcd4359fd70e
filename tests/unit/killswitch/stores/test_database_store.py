"""The store in a file against what goes wrong: damage, locks, full disks, other programs, kill -9."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from domain.errors import StateUnavailable
from domain.kill import Clearance, Kill
from killswitch.stores.database import DatabaseStore
from storage.sqlite import WHOLE

ROOT = Path(__file__).parents[4]


def kill(number: int, reason: str = "flips 23 %") -> Kill:
    return Kill(f"kill-{number}", "rain", "guard:flips", reason, float(number), "rain-2")


def opened(path: Path, bound: float = 5.0) -> DatabaseStore:
    return DatabaseStore.open(f"sqlite:///{path}", bound=bound)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pointsman.db"


def filled(path: Path, kills: int = 200) -> None:
    store = opened(path)
    for number in range(kills):
        store.add_kill(kill(number, reason="x" * 200))
    store.close()


def test_the_directory_is_made_and_the_log_is_written_ahead_and_synced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "pointsman.db"
    store = opened(path)
    assert path.exists()
    journal = store.database.read(lambda on: on.exec_driver_sql("PRAGMA journal_mode").scalar())
    synchronous = store.database.read(lambda on: on.exec_driver_sql("PRAGMA synchronous").scalar())
    store.close()
    assert journal == "wal"
    assert synchronous == 2  # FULL


def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    DatabaseStore.open("sqlite:///var/pointsman.db").close()
    assert (tmp_path / "var" / "pointsman.db").exists()


def test_another_programs_database_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.commit()
    other.close()
    with pytest.raises(StateUnavailable, match="another program's database"):
        opened(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"endpoints:\n  rain: {}\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StateUnavailable, match=rf"{path}.*not a database"):
        opened(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused(path: Path) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    page = 4096
    assert len(content) > 6 * page
    for start in range(page, len(content), page):
        content[start : start + 64] = b"\xa5" * 64
    path.write_bytes(content)
    with pytest.raises(StateUnavailable, match=str(path)):
        opened(path)


def test_a_file_that_lost_its_end_is_refused(path: Path) -> None:
    filled(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StateUnavailable, match=str(path)):
        opened(path)


def test_damage_to_the_kills_of_a_file_too_long_to_check_whole_is_found(path: Path) -> None:
    filled(path)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE ballast (content BLOB)")
    other.execute("INSERT INTO ballast VALUES (zeroblob(?))", (WHOLE,))
    other.commit()
    (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'kills'").fetchone()
    (page,) = other.execute("PRAGMA page_size").fetchone()
    other.close()
    store = opened(path)
    assert len(store.kills()) == 200
    store.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xa5" * 64)
    with pytest.raises(StateUnavailable, match=str(path)):
        opened(path)


def test_a_clearance_that_cannot_be_read_makes_the_state_unavailable(path: Path) -> None:
    store = opened(path)
    store.add_clearance(Clearance("rain", frozenset({"kill-1"}), "ada", "fixed", 1.0))
    store.database.write(lambda on: on.exec_driver_sql("UPDATE clearances SET ids = '[\"kill-'"))
    with pytest.raises(StateUnavailable, match="a clearance cannot be read"):
        store.clearances()
    store.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StateUnavailable, match=r"file. exists|Not a directory|File exists"):
        opened(tmp_path / "file" / "pointsman.db")


def test_a_path_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="unable to open"):
        opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_is_not_writable_is_unavailable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StateUnavailable, match="unable to open"):
            opened(tmp_path / "pointsman.db")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_locked_by_others_is_unavailable_and_then_works(path: Path) -> None:
    store = opened(path, bound=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateUnavailable, match=rf"{path}.*locked"):
        store.add_kill(kill(1))
    assert store.kills() == ()
    other.execute("ROLLBACK")
    other.close()
    store.add_kill(kill(1))
    assert store.kills() == (kill(1),)
    store.close()


def test_a_short_lock_is_waited_for(path: Path) -> None:
    store = opened(path, bound=20.0)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    release.start()
    store.add_kill(kill(1))
    release.join()
    other.close()
    assert store.kills() == (kill(1),)
    store.close()


def test_a_failed_checkpoint_changes_nothing(path: Path) -> None:
    store = opened(path)
    store.checkpoint({"rain": b"old"}, {"worker-0": 1})
    with pytest.raises(StateUnavailable):
        store.checkpoint({"rain": b"new"}, {"worker-0": None})  # type: ignore[dict-item]  # NULL is refused
    with pytest.raises(OverflowError):
        store.checkpoint({"rain": b"new"}, {"worker-0": 2**64})
    assert (store.states(), store.sequences()) == ({"rain": b"old"}, {"worker-0": 1})
    store.checkpoint({"rain": b"newer"}, {"worker-0": 2})
    assert (store.states(), store.sequences()) == ({"rain": b"newer"}, {"worker-0": 2})
    store.close()


def test_a_kill_is_not_refused_for_how_its_reason_is_spelt(path: Path) -> None:
    store = opened(path)
    store.add_kill(kill(1, reason="broken \ud83d half"))
    assert store.kills()[0].reason == "broken \\ud83d half"
    store.close()


FULL_DISK = """
import resource, sys
from domain.errors import StateUnavailable
from domain.kill import Kill
from killswitch.stores.database import DatabaseStore
store = DatabaseStore.open("sqlite:///" + sys.argv[1])
kill = lambda n: Kill(f"kill-{n}", "rain", "ada", "x" * 3000, 1.0, "rain-2")
store.add_kill(kill(0))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
kept = 1
try:
    while kept < 1000:
        store.add_kill(kill(kept))
        kept += 1
except StateUnavailable as error:
    print(error)
assert len(store.kills()) == kept, (len(store.kills()), kept)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.add_kill(kill(kept))
assert len(store.kills()) == kept + 1
store.close()
again = DatabaseStore.open("sqlite:///" + sys.argv[1])
assert [k.id for k in again.kills()] == [f"kill-{n}" for n in range(kept + 1)]
again.close()
"""


def test_a_full_disk_is_unavailable_loses_nothing_and_heals(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "disk" in done.stdout


WRITERS = """
import os, random, signal, sys, time
from domain.kill import Kill
from killswitch.stores.database import DatabaseStore

def write(start, acknowledge):
    store = DatabaseStore.open("sqlite:///" + sys.argv[1])
    for n in range(start, start + 100_000):
        store.add_kill(Kill(f"kill-{n}", "rain", "ada", "drill", float(n), "rain-2"))
        os.write(acknowledge, b"kill-%d\\n" % n)
        store.checkpoint({"rain": b"%d" % n}, {"worker-0": n})

moments = random.Random(20)
for attempt in range(20):
    heard, acknowledge = os.pipe()
    writer = os.fork()
    if not writer:
        write(attempt * 1_000_000, acknowledge)
    os.close(acknowledge)
    first = os.read(heard, 1)
    time.sleep(moments.uniform(0.0, 0.05))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    with os.fdopen(heard, "rb") as rest:
        lines = (first + rest.read()).decode().splitlines(keepends=True)
    print(*(line.strip() for line in lines if line.endswith("\\n")), sep="\\n")
"""


def test_no_acknowledged_kill_is_lost_by_a_process_killed_at_any_moment(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    acknowledged = done.stdout.split()
    store = opened(path)
    kept = {kill.id for kill in store.kills()}
    states, sequences = store.states(), store.sequences()
    store.close()
    assert len(acknowledged) >= 20
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + 20  # at most the one in flight at each death
    assert states == {"rain": b"%d" % sequences["worker-0"]}
