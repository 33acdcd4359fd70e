"""Who is logged in to the console."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody is."""
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.Column("ends", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("sessions_by_end", "sessions", ["ends"])


def downgrade() -> None:
    """Everybody is logged out."""
    op.drop_index("sessions_by_end", "sessions")
    op.drop_table("sessions")
