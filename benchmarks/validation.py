"""How fast a contract is checked: through the registry, by jsonschema-rs alone, and by compiled jsonschema.

The same schema and the same event of about 300 bytes for all three, in one process, best of several rounds.
Run it with ``python -m benchmarks.validation``; the last line is one JSON object, times in microseconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jsonschema
import jsonschema_rs
import orjson

from contracts.registry import Registry

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "ride_id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{2,63}$"},
        "rider": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "maxLength": 64},
                "email": {"type": "string", "format": "email"},
            },
            "required": ["id", "email"],
            "additionalProperties": False,
        },
        "pickup": {"type": "string", "minLength": 1},
        "dropoff": {"type": "string", "minLength": 1},
        "fare_cents": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "payment": {"enum": ["card", "cash"]},
        "requested_at": {"type": "string", "format": "date-time"},
        "note": {"type": "string", "maxLength": 200},
    },
    "required": ["ride_id", "rider", "pickup", "dropoff", "fare_cents", "payment", "requested_at"],
    "additionalProperties": False,
}
EVENT: dict[str, Any] = {
    "ride_id": "ride-2019-03-23-202109-00042",
    "rider": {"id": "rider-0000042", "email": "rider-0000042@example.com"},
    "pickup": "Lenox Hill West",
    "dropoff": "UN/Turtle Bay South",
    "fare_cents": 1295,
    "payment": "card",
    "requested_at": "2026-03-23T20:21:09.250000Z",
    "note": "Two bags, the side door please.",
}
ROUNDS = 7


def microseconds(work: Callable[[], object], times: int) -> float:
    """The best round's time for one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, time.perf_counter() - began)
    return best / times * 1e6


def measure() -> dict[str, float]:
    """The three times and their ratios."""
    registry = Registry()
    registry.add("ride.requested.v1", SCHEMA)
    bare = jsonschema_rs.Draft202012Validator(SCHEMA, validate_formats=True)
    slow = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    times = {
        "registry": microseconds(lambda: registry.validate("ride.requested.v1", EVENT), 20_000),
        "jsonschema_rs": microseconds(lambda: bare.is_valid(EVENT), 20_000),
        "jsonschema": microseconds(lambda: slow.is_valid(EVENT), 300),
    }
    return {
        "bytes": len(orjson.dumps(EVENT)),
        **{name: round(one, 2) for name, one in times.items()},
        "times_bare": round(times["registry"] / times["jsonschema_rs"], 2),
        "times_faster_than_jsonschema": round(times["jsonschema"] / times["registry"], 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
