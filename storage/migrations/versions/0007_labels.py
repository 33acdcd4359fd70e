"""Labels that came for requests, and when each gateway was last heard of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables that nothing is in yet."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "labels",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("label", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kept", sa.Double, nullable=False),
    )
    op.create_index("labels_by_age", "labels", ["kept"])
    op.create_table(
        "audit_lives",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("since", whole, primary_key=True, autoincrement=False),
        sa.Column("heard", whole, nullable=False),
    )


def downgrade() -> None:
    """Without them; what was live is told from the chain as ever."""
    op.drop_table("audit_lives")
    op.drop_index("labels_by_age", "labels")
    op.drop_table("labels")
