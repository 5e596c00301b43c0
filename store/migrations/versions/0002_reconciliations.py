"""What the reconcilers found, and an index over open runs alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("proved", sa.Integer(), nullable=False),
        sa.Column("unproven", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Text(), nullable=False),
        sa.Column("repaired", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition"),
    )
    op.drop_index("runs_partition_open", table_name="runs")
    op.create_index(
        "runs_partition_open",
        "runs",
        ["partition", "id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("runs_partition_open", table_name="runs")
    op.create_index("runs_partition_open", "runs", ["partition", "ended_at"], unique=False)
    op.drop_table("reconciliations")
