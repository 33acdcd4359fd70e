"""Results of gates, releases, and the steps that they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty tables: nothing was released by these rules before."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "gate_results",
        sa.Column("position", whole, primary_key=True),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("gate", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("ended", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("gate_results_of_endpoint", "gate_results", ["endpoint", "ended"])
    op.create_table(
        "releases",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("open_at", sa.Text, unique=True),
        sa.Column("opened", sa.Double, nullable=False),
        sa.Column("steps", whole, nullable=False),
        sa.Column("token", whole, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("releases_of_endpoint", "releases", ["endpoint", "opened"])
    op.create_table(
        "release_steps",
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("number", whole, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("token", whole, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Without releases and results, which are gone afterwards; nobody is served by a candidate for it."""
    op.drop_index("gate_results_of_endpoint", "gate_results")
    op.drop_index("releases_of_endpoint", "releases")
    for name in ("gate_results", "release_steps", "releases"):
        op.drop_table(name)
