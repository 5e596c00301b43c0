"""JSON of what is stored, whatever its depth."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

__all__ = ["written"]


def written(content: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """``content`` as JSON (RFC 8259) in UTF-8; ``default`` says what has no form of its own.

    orjson writes 254 levels. What is stored may have as many, and stands below those of what it is told in.
    """
    try:
        return orjson.dumps(content, default=default)
    except orjson.JSONEncodeError:
        return json.dumps(content, default=default, ensure_ascii=False, separators=(",", ":")).encode()
