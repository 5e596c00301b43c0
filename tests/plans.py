"""How a database carries out what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event

from store.database import Database

__all__ = ["Explained", "plans"]


def plans(conn: Connection, of: str, ask: Callable[[Connection], Any]) -> list[str]:
    """How the statements of ``ask``, which must answer something, read a table."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if f"FROM {of}" in statement or f"JOIN {of}" in statement:
            asked.append((statement, parameters))

    event.listen(conn, "before_cursor_execute", note)
    try:
        assert ask(conn)
    finally:
        event.remove(conn, "before_cursor_execute", note)
    explain = "EXPLAIN" if conn.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    rows = [conn.exec_driver_sql(f"{explain} {sql}", values).all() for sql, values in asked]
    return ["\n".join(str(row[-1]) for row in plan) for plan in rows]


class Explained:
    """A database that answers what is read with how it reads it."""

    def __init__(self, database: Database, of: str) -> None:
        self._database = database
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def read(self, work: Callable[[Connection], Any]) -> list[str]:
        """The plans of the statements of ``work``."""
        return await self._database.read(lambda conn: plans(conn, self._of, work))
