"""The numbers of a reactor get an index that no search by key can be led to.

It began with ``reactor`` as the primary key does, and a planner that knows nothing of the table yet may take
any index for as good as the key's: each reaction was then settled by reading a whole reactor's.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "reactions_workspace_reactor_status", "reactions", ["workspace", "reactor", "status"], unique=False
    )
    op.drop_index("reactions_reactor_status", table_name="reactions")


def downgrade() -> None:
    op.create_index("reactions_reactor_status", "reactions", ["reactor", "status"], unique=False)
    op.drop_index("reactions_workspace_reactor_status", table_name="reactions")
