"""What is left of purged runs, and indexes to find what is old."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "purged",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("purged_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("early_events_at", "early_events", ["at"])
    op.create_index("dead_letters_settled", "dead_letters", ["settled_at"])
    op.create_index("idempotency_created", "idempotency", ["created_at"])


def downgrade() -> None:
    op.drop_index("idempotency_created", "idempotency")
    op.drop_index("dead_letters_settled", "dead_letters")
    op.drop_index("early_events_at", "early_events")
    op.drop_table("purged")
