"""The tables of the newest schema. A change here is a new file in `migrations/versions/` as well.

A table belongs to all replicas that share a database, unless it has a column `replica`.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, LargeBinary, MetaData, Table, Text

from storage.columns import WHOLE, Words

METADATA = MetaData()

UPGRADES = Table(
    "upgrades",
    METADATA,
    Column("revision", Text, primary_key=True),
    Column("release", Text, nullable=False),
)
"""Which release brought the database to each revision; an older one says so when it refuses."""

KILLS = Table(
    "kills",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("endpoint", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", Double, nullable=False),
    Column("version", Words, nullable=False),
)

CLEARANCES = Table(
    "clearances",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("endpoint", Words, nullable=False),
    Column("ids", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", Double, nullable=False),
)
"""`ids` is a JSON array, sorted. `digest` (SHA-256 of the other columns) tells two clearances apart."""

GENERATIONS = Table("generations", METADATA, Column("next", WHOLE, nullable=False))
"""One row: the next generation number that nobody has."""

STATES = Table(
    "states",
    METADATA,
    Column("replica", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("state", LargeBinary, nullable=False),
)

SEQUENCES = Table(
    "sequences",
    METADATA,
    Column("replica", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("sequence", WHOLE, nullable=False),
)

AUDIT_RECORDS = Table(
    "audit_records",
    METADATA,
    Column("sequence", WHOLE, primary_key=True, autoincrement=False),
    Column("at", WHOLE, nullable=False),
    Column("retention", Text, nullable=False),
    Column("content", LargeBinary),
    Column("hash", LargeBinary, nullable=False),
)
"""The audit chain. `content` is canonical JSON, NULL once its time is over; the hash stays."""

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("size", WHOLE, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("subtrees", LargeBinary, nullable=False),
)
"""One row, locked by whoever appends: how many records there are, the last hash, the Merkle frontier."""

AUDIT_TEXTS = Table(
    "audit_texts",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("text", LargeBinary, nullable=False),
)
"""Long texts that records name by their SHA-256, such as configurations."""

AUDIT_PLACES = Table(
    "audit_places",
    METADATA,
    Column("kind", Words, primary_key=True),
    Column("replica", Words, primary_key=True),
    Column("name", Words, primary_key=True),
)
"""Everything that intervals were ever kept of."""

AUDIT_INTERVALS = Table(
    "audit_intervals",
    METADATA,
    Column("kind", Words, primary_key=True),
    Column("replica", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("since", WHOLE, primary_key=True),
    Column("sequence", WHOLE, primary_key=True),
    Column("until", WHOLE),
    Index("audit_intervals_by_record", "sequence"),
)
"""From when until when (microseconds; NULL: still) a record said what was live. Intervals of one place never
overlap."""

AUDIT_KILLS = Table(
    "audit_kills",
    METADATA,
    Column("id", Words, primary_key=True),
    Column("endpoint", Words, nullable=False),
    Column("since", WHOLE),
    Column("sequence", WHOLE),
    Column("until", WHOLE),
    Index("audit_kills_of_endpoint", "endpoint", "since", "sequence"),
    Index("audit_kills_in_force", "endpoint", "until"),
)
"""Kills by the chain. One that was cleared before it was heard of has no `since`."""

GATE_RESULTS = Table(
    "gate_results",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("run", Text, nullable=False),
    Column("endpoint", Words, nullable=False),
    Column("gate", Words, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("ended", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("gate_results_of_endpoint", "endpoint", "ended"),
)
"""Every execution of every gate, never changed; `run` has one value for gates executed together."""

RELEASES = Table(
    "releases",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("endpoint", Words, nullable=False),
    Column("open_at", Words, unique=True),
    Column("opened", Double, nullable=False),
    Column("steps", WHOLE, nullable=False),
    Column("token", WHOLE, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("releases_of_endpoint", "endpoint", "opened"),
)
"""Where each release stands. `open_at` is its endpoint while it is open, so that an endpoint has one at most;
`token` is the highest fencing token that a step was taken with."""

RELEASE_STEPS = Table(
    "release_steps",
    METADATA,
    Column("release", Text, primary_key=True),
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("token", WHOLE, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""Each step that a release took, once."""
