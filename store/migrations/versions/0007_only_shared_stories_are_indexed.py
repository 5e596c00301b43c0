"""The index of runs by stories leaves out those that are a story of their own: their id finds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = "runs_workspace_correlation"


def upgrade() -> None:
    op.drop_index(_NAME, table_name="runs")
    shared = sa.text("correlation <> id")
    op.create_index(
        _NAME,
        "runs",
        ["workspace", "correlation"],
        unique=False,
        sqlite_where=shared,
        postgresql_where=shared,
    )


def downgrade() -> None:
    op.drop_index(_NAME, table_name="runs")
    op.create_index(_NAME, "runs", ["workspace", "correlation"], unique=False)
