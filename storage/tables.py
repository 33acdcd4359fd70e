"""The tables of the newest schema. A change here is a new file in `migrations/versions/` as well.

A table belongs to all replicas that share a database, unless it has a column `replica`.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, LargeBinary, MetaData, Table, Text, UniqueConstraint

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
    Column("number", WHOLE, nullable=False),
    Column("endpoint", Words, nullable=False),
    Column("open_at", Words, unique=True),
    Column("opened", Double, nullable=False),
    Column("steps", WHOLE, nullable=False),
    Column("token", WHOLE, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("releases_by_number", "number", unique=True),
    Index("releases_of_endpoint", "endpoint", "number"),
)
"""Where each release stands. `number` counts them in the order in which they were started, whatever clocks
say. `open_at` is its endpoint while it is open, so that an endpoint has one at most;
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

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("release", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("by", Words, nullable=False),
    Column("authentication", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", Double, nullable=False),
    Index("approvals_of_release", "release"),
)
"""Who approved what, never changed. `subject` is the digest of all that an approval is bound to."""

FOLLOWED = Table(
    "followed",
    METADATA,
    Column("endpoint", Words, primary_key=True),
    Column("steps", WHOLE, nullable=False),
    Column("token", WHOLE, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""Which versions of its registered model each endpoint has taken. `steps` counts changes; `token` is the
highest fencing token that one was made with."""

NOTICES = Table(
    "notices",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("id", Text, nullable=False),
    Column("receiver", Words, nullable=False),
    Column("endpoint", Words, nullable=False),
    Column("at", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("claimant", Words, nullable=False),
    Column("claimed", Double, nullable=False),
    Column("settled", Double),
    Column("outcome", Text),
    UniqueConstraint("id", "receiver", name="notices_once"),
    Index("notices_by_settlement", "settled"),
)
"""The outbox: what is told to each receiver, once. `claimant` delivers it while `claimed` is not long ago;
`settled` is when it was delivered or given up."""

RETRAININGS = Table(
    "retrainings",
    METADATA,
    Column("claim", Words, primary_key=True),
    Column("at", Double, nullable=False),
)
"""When a training was asked for last: `claim` names endpoint, version, cause, and a number in a period."""

DRILLS = Table(
    "drills",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("endpoint", Words, nullable=False),
    Column("open_at", Words, unique=True),
    Column("began", Double, nullable=False),
    Column("ends", Double, nullable=False),
    Column("replica", Words, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("drills_of_endpoint", "endpoint", "began"),
)
"""Every drill with its report. `open_at` is its endpoint until it has ended; `ends` is when it must have."""

LABELS = Table(
    "label_entries",
    METADATA,
    Column("number", WHOLE, primary_key=True),
    Column("request", Words, nullable=False),
    Column("endpoint", Words, nullable=False),
    Column("label", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    Column("kept", Double, nullable=False),
    Index("label_entries_of_request", "request"),
    Index("label_entries_by_age", "kept"),
    sqlite_autoincrement=True,
)
"""What was said to be true of a request: `label` is JSON, `at` when it became known, `kept` when it came.

Numbers rise in the order of the commits: whoever has read up to one has missed none before it."""

AUDIT_LIVES = Table(
    "audit_lives",
    METADATA,
    Column("replica", Words, primary_key=True),
    Column("since", WHOLE, primary_key=True, autoincrement=False),
    Column("heard", WHOLE, nullable=False),
)
"""One row for each life of each gateway: when it began, and when it was last heard of (microseconds)."""

DRIFT_PROFILES = Table(
    "drift_profiles",
    METADATA,
    Column("position", WHOLE, primary_key=True),
    Column("endpoint", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("digest", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("replica", Words, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("retired", Double),
    Index("drift_profiles_of_endpoint", "endpoint", "source"),
)
"""What the drift of each endpoint was measured against. `source` tells a file's contents, a data set, or a
time of learning apart; of a source that is not `retired` the newest is in force."""

DRIFT_HOURS = Table(
    "drift_hours",
    METADATA,
    Column("endpoint", Words, primary_key=True),
    Column("profile", Text, primary_key=True),
    Column("hour", WHOLE, primary_key=True, autoincrement=False),
    Column("replica", Words, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Index("drift_hours_by_age", "hour"),
)
"""Requests and predictions of an hour (since 1970) in the cells of a profile, as a replica counted them."""

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("began", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("ends", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("sessions_by_end", "ends"),
)
"""Who is logged in: `digest` is the SHA-256 of what the cookie holds, `document` who it is, as JSON."""
