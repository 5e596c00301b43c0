"""How rows are found from those of another table, or from a story: by an index, in a store of any size."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_

from store.tables import history, runs

__all__ = ["of_its_run", "runs_of_story"]

# How a fact is found from its run; by the id alone all of the history would be read.
of_its_run = and_(history.c.run_id == runs.c.id, history.c.run_created_at == runs.c.created_at)


def runs_of_story(workspace: Any, correlation: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The runs of a story, in two parts: the one that is its own story, and what came of something else.

    Most are the only run of their story, which then has their id. They have no entry in the index by stories:
    ids are hashes, so that in a large store each would be a page of its own to write.
    """
    c = runs.c
    mine = c.workspace == workspace
    return (
        and_(c.id == correlation, mine, c.correlation == c.id),
        and_(c.correlation == correlation, mine, c.correlation != c.id),
    )
