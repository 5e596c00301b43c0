"""The validator of the hot path: how a schema is compiled by jsonschema-rs, once.

Patterns are run by its linear-time engine; one that needs look-around is run with a bounded number of
steps and refuses the value when it exceeds them. Nothing is ever fetched.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jsonschema_rs

__all__ = ["DRAFT", "Judge", "compile_schema", "fits", "resources"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Judge = jsonschema_rs.Draft202012Validator

_PATTERNS = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=10_000, size_limit=1_000_000, dfa_size_limit=1_000_000
)


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not among the contracts, and nothing is fetched")


def resources(schemas: dict[str, Any]) -> jsonschema_rs.Registry:
    """What references may lead to: schemas by their ``$id``. Raises jsonschema_rs.ReferencingError."""
    return jsonschema_rs.Registry(list(schemas.items()), retriever=_refuse)


def compile_schema(
    schema: dict[str, Any] | bool, known: jsonschema_rs.Registry | None = None, *, strict: bool = False
) -> Judge:
    """A compiled validator that asserts formats; ``strict`` refuses formats that it does not know.

    Raises jsonschema_rs.ValidationError when the schema can't be compiled.
    """
    return jsonschema_rs.Draft202012Validator(
        schema,
        registry=known,
        validate_formats=True,
        ignore_unknown_formats=not strict,
        pattern_options=_PATTERNS,
        offline=True,
    )


@lru_cache(maxsize=1024)
def _single(keyword: str, value: Any, kind: str) -> Judge:
    return compile_schema({keyword: value})


def fits(keyword: str, value: str | float, instance: Any) -> bool:
    """Whether the instance fits the schema ``{keyword: value}``; the value is text or a number."""
    # The type is part of the cache's key, because 1 == 1.0 == True in Python.
    return _single(keyword, value, type(value).__name__).is_valid(instance)
