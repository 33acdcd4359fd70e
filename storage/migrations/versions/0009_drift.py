"""What drift is measured against, and what was counted, hour by hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables that nothing is in yet."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "drift_profiles",
        sa.Column("position", whole, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("retired", sa.Double),
    )
    op.create_index("drift_profiles_of_endpoint", "drift_profiles", ["endpoint", "source"])
    op.create_table(
        "drift_hours",
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("profile", sa.Text, primary_key=True),
        sa.Column("hour", whole, primary_key=True, autoincrement=False),
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("drift_hours_by_age", "drift_hours", ["hour"])


def downgrade() -> None:
    """Without them; a profile is learned anew."""
    op.drop_index("drift_hours_by_age", "drift_hours")
    op.drop_table("drift_hours")
    op.drop_index("drift_profiles_of_endpoint", "drift_profiles")
    op.drop_table("drift_profiles")
