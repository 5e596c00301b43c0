"""One broker, or each node of a cluster: several addresses in one text."""

from __future__ import annotations

import re

__all__ = ["addresses"]


def addresses(url: str) -> tuple[str, ...]:
    """``amqp://a/v,amqp://b/v``: each with its scheme, so that a comma inside of one stays what it is."""
    return tuple(part for part in re.split(r"\s*,\s*(?=amqps?://)", url.strip()) if part)
