"""Where a broker is: one address, or each node of a cluster in one text."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

__all__ = ["addresses", "parts_of"]


def addresses(url: str) -> tuple[str, ...]:
    """``amqp://a/v,amqp://b/v``: each with its scheme, so that a comma inside of one stays what it is."""
    return tuple(part for part in re.split(r"\s*,\s*(?=amqps?://)", url.strip()) if part)


def parts_of(url: str) -> SplitResult | None:
    """The parts of one address; None where its port is none, or half of its host in brackets is missing."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None
