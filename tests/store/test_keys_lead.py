"""Searches by key find only one index to take."""

from __future__ import annotations

from store.tables import metadata


def test_no_other_index_begins_with_a_column_of_a_key() -> None:
    """PostgreSQL may take one for as good as the key's as long as it knows nothing of the table."""
    misleading = [
        f"{index.name} of {table.name}"
        for table in metadata.sorted_tables
        for index in table.indexes
        if index.columns[0] in table.primary_key.columns.values()
    ]
    assert metadata.sorted_tables
    assert misleading == []
