"""W3C Trace Context: which trace a request is a part of."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["trace_of"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]{1,512}")


def trace_of(given: Mapping[str, str]) -> dict[str, str]:
    """``traceparent`` and ``tracestate`` among headers or attributes; each only when it can be read.

    What can't be parsed is ignored, and a state without its parent, too (§3.2.2.3 and §3.3).
    """
    found = {}
    if _TRACEPARENT.fullmatch(given.get("traceparent", "")):
        found["traceparent"] = given["traceparent"]
        if _TRACESTATE.fullmatch(given.get("tracestate", "")):
            found["tracestate"] = given["tracestate"]
    return found
