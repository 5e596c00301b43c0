"""Text as both databases take it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

__all__ = ["headers_json", "storable"]


def storable(text: str, most: int) -> str:
    """At most ``most`` characters, without what PostgreSQL refuses in text: NUL and lone surrogates."""
    return text[:most].encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def headers_json(headers: Mapping[str, object]) -> str:
    """Headers as JSON text; a value that JSON does not know is shown as text."""
    return orjson.dumps(dict(headers), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
