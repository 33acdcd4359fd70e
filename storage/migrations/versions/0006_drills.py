"""Drills and their reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An empty table: nothing was rehearsed before."""
    op.create_table(
        "drills",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("open_at", sa.Text, unique=True),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("ends", sa.Double, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("drills_of_endpoint", "drills", ["endpoint", "began"])


def downgrade() -> None:
    """Without the history of drills, which is gone afterwards; the audit keeps every report."""
    op.drop_index("drills_of_endpoint", "drills")
    op.drop_table("drills")
