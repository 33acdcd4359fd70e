"""What became of labels here: which wait for their record, which were joined, and what they add up to.

One SQLite file beside the prediction log. It holds nothing that could not be worked out again from the
labels (in the durable database) and the log, except for one thing: which requests have been evidence for the
guard of accuracy. So it is a file of its own, written without ever keeping a kill waiting, and whoever
deletes it loses time, not labels; what came before a new file is counted, and is no evidence a second time.

    waiting    labels whose record has not been found (yet), by request
    joined     labels that were held against their record, with what of it a correction needs
    cells      sums (`figures.Tally`) by endpoint, version, cohort and stretch of time
    evidence   each request that speaks to a guard, once, numbered in the order in which it was found
    segments   how far each segment of the log was looked through for the labels that wait
    notes      where reading the database goes on, when this file was made, which cohorts are known

Everything that belongs together is one transaction: after a crash a label is joined and counted, or it waits.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.errors import StateUnavailable
from monitoring.labels.cohorts import Cohorts
from monitoring.labels.figures import Tally
from monitoring.labels.kept import ANY, Entry
from monitoring.labels.matching import Predicted, Reached
from monitoring.labels.truths import Kind

NAME = "labels.sqlite"
HOUR, DAY = 3600, 86_400
"""Stretches of a cell: hours for everybody, days for a cohort."""
KEPT_CELLS = 400 * DAY
"""Seconds that sums are kept: a year, and some weeks to compare it with."""
MOST_UNFIT = 100
"""Labels that are listed as unfit, and requests that are listed as unknown."""
AT_ONCE = 500
MOST_GONE = 20_000
_BUSY = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    request TEXT NOT NULL, endpoint TEXT NOT NULL, label BLOB NOT NULL, at REAL NOT NULL, came REAL NOT NULL,
    looked INTEGER NOT NULL, PRIMARY KEY (request, endpoint)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_fresh ON waiting (looked, came);
CREATE TABLE IF NOT EXISTS joined (
    request TEXT NOT NULL, endpoint TEXT NOT NULL, label BLOB NOT NULL, at REAL NOT NULL, came REAL NOT NULL,
    facts BLOB NOT NULL, unfit TEXT, PRIMARY KEY (request, endpoint)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS joined_by_age ON joined (came);
CREATE INDEX IF NOT EXISTS joined_unfit ON joined (came) WHERE unfit IS NOT NULL;
CREATE TABLE IF NOT EXISTS cells (
    endpoint TEXT NOT NULL, version TEXT NOT NULL, cohort TEXT NOT NULL, begins INTEGER NOT NULL,
    tally BLOB NOT NULL, PRIMARY KEY (endpoint, cohort, version, begins)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, endpoint TEXT NOT NULL,
    came REAL NOT NULL, testimony BLOB NOT NULL, UNIQUE (request, endpoint)
);
CREATE INDEX IF NOT EXISTS evidence_by_age ON evidence (came);
CREATE TABLE IF NOT EXISTS segments (
    number INTEGER PRIMARY KEY, rows INTEGER NOT NULL, parquet INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (
    endpoint TEXT PRIMARY KEY, joined INTEGER NOT NULL, unfit INTEGER NOT NULL, corrected INTEGER NOT NULL,
    newest REAL NOT NULL
) WITHOUT ROWID;
"""


class Waiting(NamedTuple):
    """A label that waits. `label` is JSON; `came` when it came here (seconds since the epoch)."""

    request: str
    endpoint: str
    label: bytes
    at: float
    came: float


class Facts(msgspec.Struct, array_like=True):
    """What of a record a correction needs: when the request came, who answered what, and its cohorts."""

    at: float
    answers: list[Predicted]
    cohorts: list[str]


class Joined(NamedTuple):
    """A label that was held against its record. `unfit` says why that could not be done."""

    request: str
    endpoint: str
    label: bytes
    at: float
    came: float
    facts: Facts
    unfit: str | None


class Testimony(msgspec.Struct, array_like=True):
    """What a labelled request says to a guard: of each row whether either arm was right.

    `cohorts` are names where they are known, else None: then `values` are as they stand in the record.
    """

    unit: int
    at: float
    generation: int
    incumbent: str
    candidate: str
    rows: list[tuple[bool, bool]]
    values: list[str | None]
    cohorts: list[str] | None = None


class Numbered(NamedTuple):
    """Evidence, by its number."""

    number: int
    request: str
    endpoint: str
    testimony: Testimony


class Counts(NamedTuple):
    """Labels of one endpoint: joined and fitting, unfit, corrected; `newest`: when the last one came."""

    joined: int
    unfit: int
    corrected: int
    newest: float


Key = tuple[str, str, str, int]
"""Endpoint, version, cohort, and where its stretch begins (seconds since the epoch)."""

_facts = msgspec.msgpack.Decoder(Facts)
_testimony = msgspec.msgpack.Decoder(Testimony)
_tally = msgspec.msgpack.Decoder(Tally)
_cohorts = msgspec.msgpack.Decoder(dict[str, Cohorts])
_kinds = msgspec.msgpack.Decoder(dict[str, Kind])
_encoder = msgspec.msgpack.Encoder()


class LabelStore:
    """The file in `folder`, for one thread at a time. Every method raises StateUnavailable."""

    def __init__(self, folder: Path, now: float, *, read_only: bool = False) -> None:
        """Open it, made at `now` (seconds since the epoch) if it is not there."""
        self._path = folder / NAME
        with self._telling():
            if not read_only:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(
                self._path if not read_only else f"file:{_quoted(self._path)}?mode=rw",
                uri=read_only, timeout=_BUSY, isolation_level=None, check_same_thread=False,
            )  # fmt: skip
        try:
            with self._telling():
                if read_only:
                    self._connection.execute("PRAGMA query_only = 1")
                else:
                    self._make(now)
        except BaseException:
            self.close()
            raise

    def _make(self, now: float) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA cache_size = -65536")
        self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        self._path.chmod(0o600)
        made = _encoder.encode((uuid.uuid4().hex, now))
        self._connection.execute("INSERT OR IGNORE INTO notes VALUES ('made', ?)", (made,))

    def close(self) -> None:
        """Give it back. Twice is harmless."""
        self._connection.close()

    @property
    def made(self) -> tuple[str, float]:
        """The file's own id, and when it was made: labels that came before are no evidence."""
        with self._telling():
            row = self._connection.execute("SELECT value FROM notes WHERE name = 'made'").fetchone()
        if row is None:
            raise StateUnavailable(f"{self._path} is no store of labels")
        found: tuple[str, float] = msgspec.msgpack.decode(row[0], type=tuple[str, float])
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it, or nothing."""
        with self._telling():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # Labels come.

    @property
    def cursor(self) -> int:
        """The number of the last label of the durable database that was taken."""
        with self._telling():
            row = self._connection.execute("SELECT value FROM notes WHERE name = 'cursor'").fetchone()
        return 0 if row is None else int(msgspec.msgpack.decode(row[0], type=int))

    def take(self, entries: Sequence[Entry]) -> list[tuple[Entry, Joined]]:
        """Have them wait, inside `writing`; those of requests that are joined are answered, with these."""
        again: list[tuple[Entry, Joined]] = []
        self._connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS incoming "
            "(place INTEGER PRIMARY KEY, request TEXT, endpoint TEXT)"
        )
        self._connection.execute("DELETE FROM temp.incoming")
        self._connection.executemany(
            "INSERT INTO temp.incoming VALUES (?, ?, ?)",
            ((place, one.request, one.endpoint) for place, one in enumerate(entries)),
        )
        known = self._connection.execute(
            "SELECT place, joined.* FROM temp.incoming JOIN joined ON joined.request = incoming.request "
            "AND incoming.endpoint IN (?, joined.endpoint) ORDER BY place",
            (ANY,),
        ).fetchall()
        skipped = set()
        for place, *row in known:
            if place not in skipped:
                skipped.add(place)
                again.append((entries[place], _joined(row)))
        self._connection.executemany(
            "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (request, endpoint) "
            "DO UPDATE SET label = excluded.label, at = excluded.at, came = excluded.came "
            "WHERE excluded.at >= waiting.at AND excluded.label <> waiting.label",
            (
                (one.request, one.endpoint, one.label, one.at, one.kept)
                for place, one in enumerate(entries)
                if place not in skipped
            ),
        )
        if entries:
            self._note("cursor", entries[-1].number)
        return again

    def begin_anew(self) -> None:
        """The durable database numbers its labels from the start again: all are taken once more."""
        with self.writing():
            self._note("cursor", 0)

    # Records are found.

    def fresh(self) -> list[str]:
        """The requests of labels that were held against nothing yet."""
        return self._requests(0)

    def waiting(self) -> list[str]:
        """The requests of labels that were held against all that there was."""
        return self._requests(1)

    def count_waiting(self) -> int:
        """How many labels wait."""
        with self._telling():
            return int(self._connection.execute("SELECT count(*) FROM waiting").fetchone()[0])

    def looked(self) -> None:
        """All that was fresh has been held against everything."""
        self._connection.execute("UPDATE waiting SET looked = 1 WHERE looked = 0")

    def _requests(self, looked: int) -> list[str]:
        with self._telling():
            rows = self._connection.execute("SELECT request FROM waiting WHERE looked = ?", (looked,))
            return [row[0] for row in rows]

    def of(self, requests: Sequence[str]) -> dict[str, list[Waiting]]:
        """The labels that wait for these requests."""
        found: dict[str, list[Waiting]] = {}
        for marks, some in _some(requests):
            rows = self._connection.execute(
                f"SELECT request, endpoint, label, at, came FROM waiting WHERE request IN ({marks})",  # noqa: S608 - question marks
                some,
            )
            for row in rows:
                found.setdefault(row[0], []).append(Waiting(*row))
        return found

    def joined(self, requests: Sequence[str]) -> dict[tuple[str, str], Joined]:
        """The labels of these requests that were joined, by request and endpoint."""
        found: dict[tuple[str, str], Joined] = {}
        for marks, some in _some(requests):
            rows = self._connection.execute(f"SELECT * FROM joined WHERE request IN ({marks})", some)  # noqa: S608 - question marks
            for row in rows:
                found[row[0], row[1]] = _joined(row)
        return found

    def settle(self, joined: Sequence[Joined], settled: Sequence[Waiting]) -> None:
        """Labels were held against their records: they wait no longer."""
        self._connection.executemany(
            "DELETE FROM waiting WHERE request = ? AND endpoint = ?",
            ((one.request, one.endpoint) for one in settled),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO joined VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    one.request,
                    one.endpoint,
                    one.label,
                    one.at,
                    one.came,
                    _encoder.encode(one.facts),
                    one.unfit,
                )
                for one in joined
            ),
        )

    def count(self, endpoint: str, joined: int, unfit: int, corrected: int, newest: float) -> None:
        """Add to what is counted of an endpoint."""
        self._connection.execute(
            "INSERT INTO counts VALUES (?, ?, ?, ?, ?) ON CONFLICT (endpoint) DO UPDATE SET "
            "joined = joined + excluded.joined, unfit = unfit + excluded.unfit, "
            "corrected = corrected + excluded.corrected, newest = max(newest, excluded.newest)",
            (endpoint, joined, unfit, corrected, newest),
        )

    def reached(self) -> dict[int, Reached]:
        """How far each segment was looked through."""
        with self._telling():
            rows = self._connection.execute("SELECT number, rows, parquet FROM segments").fetchall()
        return {number: Reached(count, bool(parquet)) for number, count, parquet in rows}

    def reach(self, reached: Mapping[int, Reached], there: Sequence[int]) -> None:
        """Segments were looked through so far; only those that are `there` are remembered."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO segments VALUES (?, ?, ?)",
            ((number, one.rows, one.parquet) for number, one in reached.items()),
        )
        gone = self.reached().keys() - set(there)
        self._connection.executemany("DELETE FROM segments WHERE number = ?", ((one,) for one in gone))

    # What endpoints predict.

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each endpoint predicted when it was configured last."""
        with self._telling():
            row = self._connection.execute("SELECT value FROM notes WHERE name = 'kinds'").fetchone()
        return {} if row is None else _kinds.decode(row[0])

    def learn_kinds(self, kinds: Mapping[str, Kind]) -> None:
        """Remember what endpoints predict, inside `writing`."""
        self._note("kinds", kinds)

    def unfit_after(self, endpoint: str, request: str, most: int) -> list[Joined]:
        """The first `most` labels of an endpoint that do not fit, of requests after `request`."""
        rows = self._connection.execute(
            "SELECT * FROM joined WHERE request > ? AND endpoint = ? AND unfit IS NOT NULL "
            "ORDER BY request LIMIT ?",
            (request, endpoint, most),
        ).fetchall()
        return [_joined(row) for row in rows]

    # Sums.

    def add(self, cells: Mapping[Key, Tally]) -> None:
        """Add sums to their cells."""
        for place, more in cells.items():
            row = self._connection.execute(
                "SELECT tally FROM cells WHERE endpoint = ? AND version = ? AND cohort = ? AND begins = ?",
                place,
            ).fetchone()
            tally = Tally() if row is None else _tally.decode(row[0])
            tally.merge(more)
            self._connection.execute(
                "INSERT OR REPLACE INTO cells (endpoint, version, cohort, begins, tally) "
                "VALUES (?, ?, ?, ?, ?)",
                (*place, _encoder.encode(tally)),
            )

    def cells(
        self, endpoint: str, since: float, until: float, *, cohorts: bool = True
    ) -> list[tuple[Key, Tally]]:
        """The cells of an endpoint that begin in since ≤ t < until; without `cohorts` everybody's."""
        with self._telling():
            rows = self._connection.execute(
                "SELECT endpoint, version, cohort, begins, tally FROM cells "
                "WHERE endpoint = ? AND begins >= ? AND begins < ? AND (cohort = '' OR ?)",
                (endpoint, since, until, cohorts),
            ).fetchall()
        return [((row[0], row[1], row[2], row[3]), _tally.decode(row[4])) for row in rows]

    @property
    def cohorts(self) -> dict[str, Cohorts]:
        """What is known of cohorts, by endpoint."""
        with self._telling():
            row = self._connection.execute("SELECT value FROM notes WHERE name = 'cohorts'").fetchone()
        return {} if row is None else _cohorts.decode(row[0])

    def learn(self, cohorts: Mapping[str, Cohorts]) -> None:
        """Remember what is known of cohorts."""
        for one in cohorts.values():
            one.changed = False
        self._note("cohorts", cohorts)

    # Evidence.

    def testify(self, found: Sequence[tuple[str, str, float, Testimony]]) -> int:
        """Keep (request, endpoint, came, testimony) of requests that have not spoken yet; how many."""
        before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO evidence (request, endpoint, came, testimony) VALUES (?, ?, ?, ?)",
            ((request, endpoint, came, _encoder.encode(one)) for request, endpoint, came, one in found),
        )
        return self._connection.total_changes - before

    def spoken(self, requests: Sequence[str]) -> set[tuple[str, str]]:
        """Which of these requests have been evidence, with their endpoints."""
        found: set[tuple[str, str]] = set()
        for marks, some in _some(requests):
            rows = self._connection.execute(
                f"SELECT request, endpoint FROM evidence WHERE request IN ({marks})",  # noqa: S608 - question marks
                some,
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    def evidence(self, after: int, most: int) -> list[Numbered]:
        """The first `most` testimonies after a number."""
        with self._telling():
            rows = self._connection.execute(
                "SELECT number, request, endpoint, testimony FROM evidence WHERE number > ? ORDER BY number "
                "LIMIT ?",
                (after, most),
            ).fetchall()
        return [Numbered(row[0], row[1], row[2], _testimony.decode(row[3])) for row in rows]

    # For people.

    def counts(self) -> dict[str, Counts]:
        """What is counted, by endpoint."""
        with self._telling():
            rows = self._connection.execute("SELECT * FROM counts").fetchall()
        return {row[0]: Counts(*row[1:]) for row in rows}

    def unfit(self) -> list[tuple[str, str, str]]:
        """(request, endpoint, why) of the latest labels that say nothing of their prediction."""
        with self._telling():
            rows = self._connection.execute(
                "SELECT request, endpoint, unfit FROM joined WHERE unfit IS NOT NULL "
                "ORDER BY came DESC LIMIT ?",
                (MOST_UNFIT,),
            ).fetchall()
        return [(row[0], row[1], row[2]) for row in rows]

    def unknown(self, before: float) -> tuple[int, list[str]]:
        """How many labels came before `before` and have found no record; the newest of them."""
        with self._telling():
            count = self._connection.execute(
                "SELECT count(*) FROM waiting WHERE looked = 1 AND came < ?", (before,)
            ).fetchone()[0]
            rows = self._connection.execute(
                "SELECT request FROM waiting WHERE looked = 1 AND came < ? ORDER BY came DESC LIMIT ?",
                (before, MOST_UNFIT),
            ).fetchall()
        return int(count), [row[0] for row in rows]

    def prune(self, before: float, now: float) -> int:
        """Forget labels that came before `before`, and old sums; how many labels went, MOST_GONE at most."""
        gone = 0
        with self.writing():
            for table in ("waiting", "joined", "evidence"):
                place = "number" if table == "evidence" else "(request, endpoint)"
                columns = place.strip("()")
                gone += self._connection.execute(
                    f"DELETE FROM {table} WHERE {place} IN "  # noqa: S608 - constants
                    f"(SELECT {columns} FROM {table} WHERE came < ? LIMIT ?)",
                    (before, MOST_GONE),
                ).rowcount
            self._connection.execute("DELETE FROM cells WHERE begins < ?", (now - KEPT_CELLS,))
        return gone

    def _note(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, _encoder.encode(value)))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            raise StateUnavailable(f"{self._path}: {error}") from error


def _joined(row: Sequence[object]) -> Joined:
    request, endpoint, label, at, came, facts, unfit = row
    return Joined(request, endpoint, label, at, came, _facts.decode(facts), unfit)  # type: ignore[arg-type]


def _some(requests: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """`requests` in parts, each with its question marks."""
    for start in range(0, len(requests), AT_ONCE):
        some = requests[start : start + AT_ONCE]
        yield ",".join("?" * len(some)), some


def _quoted(path: Path) -> str:
    """A path inside an SQLite URI."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
