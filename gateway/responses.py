"""JSON out."""

from __future__ import annotations

import base64
from dataclasses import asdict, is_dataclass
from typing import Any

from starlette.responses import Response

from contracts.deep import written

__all__ = ["Json", "encode"]


class Json(Response):
    """A JSON response; dataclasses are encoded as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return encode(content)


def encode(content: Any) -> bytes:
    """JSON text; bytes become base64, as CloudEvents' ``data_base64`` does it."""
    return written(content, _other)


def _other(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON form")
