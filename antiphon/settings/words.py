"""How settings are named, shown and complained about."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from bus.addresses import addresses, parts_of

__all__ = [
    "PREFIX",
    "TEST_PREFIX",
    "in_words",
    "shown",
    "unknown_variables",
    "variable",
    "without_password",
    "wrong_address",
]

PREFIX = "ANTIPHON_"
TEST_PREFIX = "ANTIPHON_TEST_"  # what tests read, and contracts.crash, which they arm; no setting

SCHEMES: dict[str, tuple[str, ...]] = {
    "database_url": ("sqlite", "postgresql", "postgresql+asyncpg"),
    "amqp_url": ("amqp", "amqps"),
    "redis_url": ("redis", "rediss", "unix"),
}


def variable(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def wrong_address(field: str, url: str) -> str | None:
    """What is wrong with an address that can be seen from here. Shows nothing of it: it holds a password."""
    schemes = SCHEMES[field]
    nodes = addresses(url) if field == "amqp_url" else (url,)
    if not all(node.partition(":")[0].lower() in schemes for node in nodes):
        return f"starts with none of {', '.join(f'{scheme}://' for scheme in schemes)}"
    if field == "amqp_url" and None in map(parts_of, nodes):
        return "has a port that is none; in a password, write %2F for / and so on"
    return None


def without_password(url: str) -> str:
    """The URL as it may be shown: its password, and what a query may hide, as ``***``."""
    hidden = re.sub(r"(?<=://)([^/?#@\s]*?):[^/?#\s]*@", r"\1:***@", url)
    return re.sub(r"(?i)((?:password|passwd|token|secret|key)=)[^&#\s]*", r"\1***", hidden)


def unknown_variables(environ: Mapping[str, str], fields: Iterable[str]) -> list[str]:
    """One line for each ANTIPHON_* variable that is no setting, with the one that may have been meant."""
    known = {variable(name).removeprefix(PREFIX): variable(name) for name in fields}
    problems = []
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith(TEST_PREFIX) or upper in known.values():
            continue
        close = difflib.get_close_matches(upper.removeprefix(PREFIX), known, n=1)
        hint = f"did you mean {known[close[0]]}?" if close else "docs/settings.md lists every setting"
        problems.append(f"{name} is no setting of Antiphon: {hint}")
    return problems


def shown(value: Any) -> Any:
    """A setting's value as it may be logged."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, Path):
        return str(value)
    return without_password(value) if isinstance(value, str) else value


def in_words(error: ValidationError) -> list[str]:
    """One line for each variable that is wrong."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        place = ".".join(str(part) for part in problem["loc"])
        lines.append(f"{variable(place)}: {message}" if place else message)
    return lines
