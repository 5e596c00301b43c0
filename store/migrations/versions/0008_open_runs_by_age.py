"""Open runs are indexed by age, ended ones by their end, and busy ones alone (decision 0031).

No orchestrator of before may be at work: it would sort all open runs again and again, and quarantine what the
processes of this version sign together (decision 0032).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.migrations.owners import refuse_owners

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OPEN = "ended_at IS NULL"


def upgrade() -> None:
    refuse_owners(revision, "would not trust what processes of this version sign")
    op.drop_index("runs_partition_busy", table_name="runs")
    op.drop_index("runs_partition_open", table_name="runs")
    _create("runs_partition_busy", ["partition"], "busy = 1")
    _create("runs_partition_open", ["partition", "created_at", "id"], _OPEN)
    _create("runs_partition_ended", ["partition", "ended_at"], "ended_at IS NOT NULL")


def downgrade() -> None:
    for name in ("runs_partition_ended", "runs_partition_open", "runs_partition_busy"):
        op.drop_index(name, table_name="runs")
    op.create_index("runs_partition_busy", "runs", ["partition", "busy"], unique=False)
    _create("runs_partition_open", ["partition", "id"], _OPEN)


def _create(name: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(name, "runs", columns, unique=False, sqlite_where=only, postgresql_where=only)
