"""Every label that came stays, numbered in the order in which they came: a correction replaces nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The labels that are there become the first entries."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "label_entries",
        sa.Column("number", whole, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("label", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kept", sa.Double, nullable=False),
        sqlite_autoincrement=True,  # a number that was pruned is never given again
    )
    op.execute(
        "INSERT INTO label_entries (request, endpoint, label, at, kept) "
        "SELECT request, endpoint, label, at, kept FROM labels ORDER BY kept, at"
    )
    op.create_index("label_entries_of_request", "label_entries", ["request"])
    op.create_index("label_entries_by_age", "label_entries", ["kept"])
    op.drop_index("labels_by_age", "labels")
    op.drop_table("labels")


def downgrade() -> None:
    """Of each request the label that holds; what it corrected is gone."""
    op.create_table(
        "labels",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("label", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kept", sa.Double, nullable=False),
    )
    op.create_index("labels_by_age", "labels", ["kept"])
    op.execute(
        "INSERT INTO labels (request, endpoint, label, at, kept) "
        "SELECT request, endpoint, label, at, kept FROM label_entries AS held WHERE NOT EXISTS ("
        "SELECT 1 FROM label_entries AS other WHERE other.request = held.request "
        "AND other.endpoint = held.endpoint "
        "AND (other.at > held.at OR (other.at = held.at AND other.number > held.number)))"
    )
    op.drop_index("label_entries_by_age", "label_entries")
    op.drop_index("label_entries_of_request", "label_entries")
    op.drop_table("label_entries")
