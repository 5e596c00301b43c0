"""Logs: one JSON object a line (or a coloured line for a person), ours and every library's alike.

Each line carries what is bound where it is written: ``workspace``, ``correlation``, ``run``, ``reactor``.
Any room logs with ``structlog.get_logger()``; libraries that use ``logging`` come out the same way. Passwords
in URLs and values under telling names are masked, because somebody always logs a connection string.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO

import orjson
import structlog

from antiphon.settings import without_password

__all__ = ["bound", "configure"]

Line = MutableMapping[str, Any]
SECRET_NAME = re.compile(
    r"(?i)(^|[_.-])(password|passwd|secret|token|authorization|cookie|api_?key|admin_?key)$"
)

# Libraries that say at INFO what we say better, or say it for every request.
QUIETER = {
    "aio_pika": logging.WARNING,
    "aiormq": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
}


def configure(
    level: str = "info",
    form: Literal["json", "console"] = "json",
    *,
    stream: TextIO | None = None,
    role: str | None = None,
) -> None:
    """Send every log line to ``stream`` (unless given: stderr). A second call replaces the first."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Callable[[Any, str, Line], Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_role(role),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=_ending(form, stream or sys.stderr)
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name, least in QUIETER.items():
        logging.getLogger(name).setLevel(max(number, least))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)  # it would print lines of its own form
        logger.handlers[:] = []
        logger.propagate = True


def bound(**context: str | None) -> AbstractContextManager[None]:
    """Bind ``workspace``, ``correlation``, ``run``, ``reactor``… to lines of a with block and its tasks."""
    return structlog.contextvars.bound_contextvars(
        **{name: value for name, value in context.items() if value}
    )


def _ending(form: str, stream: TextIO) -> list[Callable[[Any, str, Line], Any]]:
    steps: list[Callable[[Any, str, Line], Any]] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if form == "console":
        colors = stream.isatty()
        return [*steps, _mask, structlog.dev.ConsoleRenderer(colors=colors)]
    renamed = structlog.processors.EventRenamer("message")  # an event is something else in this house
    return [
        *steps,
        structlog.processors.format_exc_info,
        _mask,
        renamed,
        structlog.processors.JSONRenderer(_dump),
    ]


def _dump(line: Line, default: Callable[[Any], Any] | None = None, **_: Any) -> str:
    return orjson.dumps(line, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _name_role(role: str | None) -> Callable[[Any, str, Line], Line]:
    def add(_logger: Any, _method: str, line: Line) -> Line:
        if role is not None:
            line.setdefault("role", role)
        return line

    return add


def _mask(_logger: Any, _method: str, line: Line) -> Line:
    for name, value in line.items():
        line[name] = _masked(name, value)
    return line


def _masked(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name) and value is not None:
        return "***"
    if isinstance(value, str):
        return without_password(value) if "://" in value else value
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    return value
