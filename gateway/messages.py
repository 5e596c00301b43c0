"""Messages as they came, for people to look at."""

from __future__ import annotations

import base64
from typing import Any

import orjson

__all__ = ["shown_body"]


def shown_body(body: bytes) -> dict[str, Any]:
    """The body as ``data`` where it is JSON, as ``text`` where it is that, else as ``data_base64``."""
    try:
        data = orjson.loads(body)
        orjson.dumps([[data]])  # 1,024 levels can be read, and 254 be written, of which two are the answer's
        return {"data": data}
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(body).decode()}
