"""What is to be told to receivers, and when a training was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty tables: nobody was told anything before."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "notices",
        sa.Column("position", whole, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("receiver", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("claimant", sa.Text, nullable=False),
        sa.Column("claimed", sa.Double, nullable=False),
        sa.Column("settled", sa.Double),
        sa.Column("outcome", sa.Text),
        sa.UniqueConstraint("id", "receiver", name="notices_once"),
    )
    op.create_index("notices_by_settlement", "notices", ["settled"])
    op.create_table(
        "retrainings",
        sa.Column("claim", sa.Text, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Without what was not delivered yet, which is gone afterwards."""
    op.drop_index("notices_by_settlement", "notices")
    for name in ("notices", "retrainings"):
        op.drop_table(name)
