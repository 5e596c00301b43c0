"""A page per file; each has ``ROUTES``."""

from __future__ import annotations

from starlette.routing import BaseRoute

from gateway.dashboard.routes import (
    audit,
    dead_letter,
    dead_letters,
    find,
    login,
    overview,
    quarantine,
    reactors,
    run,
    run_actions,
    runs,
    story,
)

__all__ = ["PAGES"]

PAGES: list[BaseRoute] = [
    *login.ROUTES,
    *overview.ROUTES,
    *runs.ROUTES,
    *run.ROUTES,
    *run_actions.ROUTES,
    *story.ROUTES,
    *dead_letters.ROUTES,
    *dead_letter.ROUTES,
    *quarantine.ROUTES,
    *reactors.ROUTES,
    *audit.ROUTES,
    *find.ROUTES,
]
