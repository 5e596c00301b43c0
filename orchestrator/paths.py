"""Data that is read from a run: ``"$.quote_fare.total"``.

A mapping is data and not a function, so that it can be checked before anything runs, drawn, and
written in the JSON form. Strings that begin with ``$.`` are paths; everything else is itself. A
string that must begin with ``$.`` is written ``$$.``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.errors import Terminal

__all__ = ["fill", "paths_in"]


def fill(template: Any, document: Mapping[str, Any]) -> Any:
    """The template with each path replaced by what the document holds there.

    Raises Terminal (code ``missing_data``) when a path leads nowhere.
    """
    match template:
        case str() if template.startswith("$."):
            return _look_up(template, document)
        case str() if template.startswith("$$."):
            return template[1:]
        case dict():
            return {name: fill(value, document) for name, value in template.items()}
        case list() | tuple():
            return [fill(value, document) for value in template]
        case _:
            return template


def paths_in(template: Any) -> Iterator[str]:
    """Every path in a template."""
    match template:
        case str() if template.startswith("$."):
            yield template
        case dict():
            for value in template.values():
                yield from paths_in(value)
        case list() | tuple():
            for value in template:
                yield from paths_in(value)


def _look_up(path: str, document: Mapping[str, Any]) -> Any:
    here: Any = document
    for part in path[2:].split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        else:
            raise Terminal(f"{path} leads nowhere: there is no {part!r}", code="missing_data")
    return here
