"""The audit chain, its head, its texts, and the intervals that answer what was live when.

Everything is shared by all replicas: they append to one chain.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An empty chain. What happened before it is not in it."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit_records",
        sa.Column("sequence", whole, primary_key=True, autoincrement=False),
        sa.Column("at", whole, nullable=False),
        sa.Column("retention", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("size", whole, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("subtrees", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_texts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_places",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
    )
    op.create_table(
        "audit_intervals",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("since", whole, primary_key=True),
        sa.Column("sequence", whole, primary_key=True),
        sa.Column("until", whole),
    )
    op.create_index("audit_intervals_by_record", "audit_intervals", ["sequence"])
    op.create_table(
        "audit_kills",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("since", whole),
        sa.Column("sequence", whole),
        sa.Column("until", whole),
    )
    op.create_index("audit_kills_of_endpoint", "audit_kills", ["endpoint", "since", "sequence"])
    op.create_index("audit_kills_in_force", "audit_kills", ["endpoint", "until"])
    zeros = "'\\x" + "00" * 32 + "'" if op.get_bind().dialect.name == "postgresql" else "x'" + "00" * 32 + "'"
    nothing = "''" if op.get_bind().dialect.name == "postgresql" else "x''"
    op.get_bind().exec_driver_sql(f"INSERT INTO audit_head VALUES (0, {zeros}, {nothing})")  # noqa: S608


def downgrade() -> None:
    """Without the chain. Export it first: it is gone afterwards."""
    op.drop_index("audit_intervals_by_record", "audit_intervals")
    op.drop_index("audit_kills_of_endpoint", "audit_kills")
    op.drop_index("audit_kills_in_force", "audit_kills")
    for name in ("kills", "intervals", "places", "texts", "head", "records"):
        op.drop_table(f"audit_{name}")
