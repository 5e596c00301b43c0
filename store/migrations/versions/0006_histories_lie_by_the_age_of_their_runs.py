"""Histories lie by the age of their runs (decision 0025): the facts of runs of one time share their pages.

Each fact is written once more; on a large store this is what takes time. An orchestrator of before does not
know the new column and could commit nothing: none may be at work.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from store.migrations.owners import refuse_owners

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BEFORE = ("run_id", "seq")
_NOW = ("run_created_at", "run_id", "seq")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        refuse_owners(revision, "could commit nothing")
        op.add_column("history", sa.Column("run_created_at", sa.Double(), nullable=True))
        op.execute(
            "UPDATE history SET run_created_at = runs.created_at FROM runs WHERE runs.id = history.run_id"
        )
        # Of runs that are not there.
        op.execute("UPDATE history SET run_created_at = at WHERE run_created_at IS NULL")
        op.alter_column("history", "run_created_at", nullable=False)
        _key_of_postgres(_NOW)
    else:
        _rebuild(_NOW, "coalesce(runs.created_at, history.at)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _key_of_postgres(_BEFORE)
        op.drop_column("history", "run_created_at")
    else:
        _rebuild(_BEFORE)


def _key_of_postgres(columns: tuple[str, ...]) -> None:
    op.drop_constraint("history_pkey", "history", type_="primary")
    op.create_primary_key("history_pkey", "history", list(columns))


def _rebuild(key: tuple[str, ...], *more: str) -> None:
    """SQLite changes no primary key: a new table takes the rows over, in the key's order."""
    columns: list[sa.Column[Any]] = [
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    ]
    names = ", ".join([f"history.{column.name}" for column in columns] + list(more))
    if more:
        columns.append(sa.Column("run_created_at", sa.Double(), nullable=False))
    op.create_table("history_next", *columns, sa.PrimaryKeyConstraint(*key))
    order = "runs.created_at, history.run_id, history.seq" if more else "history.run_id, history.seq"
    op.execute(
        f"INSERT INTO history_next SELECT {names} FROM history "  # noqa: S608 - names of ours
        f"LEFT JOIN runs ON runs.id = history.run_id ORDER BY {order}"
    )
    op.drop_table("history")
    op.rename_table("history_next", "history")
