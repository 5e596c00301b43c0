"""Run by Alembic, on the connection and in the transaction that ``store.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
