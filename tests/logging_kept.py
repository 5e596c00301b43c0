"""The log's configuration, kept: what a test or a house for many tests changes ends with it.

A logger of a module that is cached keeps the configuration of its first use for the life of a process. Users
want that; in a test process it would be that of whichever test came first, and so nothing is cached here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from antiphon import logs

__all__ = ["logging_kept", "silence"]

_LOGGERS = ("", "uvicorn", "uvicorn.error", "uvicorn.access", *logs.QUIETER)
_configure = structlog.configure


def _configure_uncached(**config: Any) -> None:
    _configure(**{**config, "cache_logger_on_first_use": False})


setattr(structlog, "configure", _configure_uncached)  # noqa: B010


@contextmanager
def logging_kept() -> Iterator[None]:
    """As it was before, at the end; whatever was configured meanwhile."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    config = structlog.get_config()
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.setLevel(level)
            logger.propagate = propagate
        structlog.configure(**config)


@contextmanager
def silence() -> Iterator[None]:
    """No log, for what is refused by the thousand."""
    with logging_kept():
        logs.configure("critical")
        yield
