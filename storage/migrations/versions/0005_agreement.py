"""Approvals of releases, versions that are followed, and releases numbered in the order of their start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Releases that are there are numbered by the clocks of their time, which is all that is known."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "approvals",
        sa.Column("position", whole, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("authentication", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("approvals_of_release", "approvals", ["release"])
    op.create_table(
        "followed",
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("steps", whole, nullable=False),
        sa.Column("token", whole, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.add_column("releases", sa.Column("number", whole, nullable=False, server_default="0"))
    op.execute(
        "UPDATE releases SET number = (SELECT count(*) FROM releases AS earlier WHERE earlier.opened < "
        "releases.opened OR (earlier.opened = releases.opened AND earlier.id <= releases.id))"
    )
    op.drop_index("releases_of_endpoint", "releases")
    op.create_index("releases_of_endpoint", "releases", ["endpoint", "number"])
    op.create_index("releases_by_number", "releases", ["number"], unique=True)


def downgrade() -> None:
    """Without approvals and what was followed, which are gone afterwards: both are asked for again."""
    op.drop_index("releases_by_number", "releases")
    op.drop_index("releases_of_endpoint", "releases")
    op.create_index("releases_of_endpoint", "releases", ["endpoint", "opened"])
    with op.batch_alter_table("releases") as releases:
        releases.drop_column("number")
    op.drop_table("followed")
    op.drop_index("approvals_of_release", "approvals")
    op.drop_table("approvals")
