"""Two contracts, one of which refers to the other, and what a registry says of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ContractViolation
from contracts.registry import Registry

BASE = "https://ride.example/contracts/"
BOOKED: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": BASE + "ride/booked.v1.json",
    "description": "A ride was booked: a driver is on the way.",
    "type": "object",
    "properties": {
        "ride_id": {"type": "string", "format": "uuid"},
        "fare": {"$ref": "../common/money.v1.json"},
        "at": {"type": "string", "format": "date-time"},
        "pickup": {"$ref": "#/$defs/place"},
        "seats": {"type": "integer", "minimum": 1, "maximum": 6},
    },
    "required": ["ride_id", "fare"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"zone": {"type": "string", "minLength": 1}}}},
    "examples": [
        {"ride_id": "0b5a3e0e-6d0b-4b1f-9a3e-2f6f5d1c7a11", "fare": {"amount": 12.5, "currency": "USD"}}
    ],
}
MONEY: dict[str, Any] = {
    "$id": BASE + "common/money.v1.json",
    "description": "An amount of money.",
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0, "multipleOf": 0.01},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    },
    "required": ["amount", "currency"],
    "examples": [{"amount": 1, "currency": "EUR"}],
}
GOOD: dict[str, Any] = BOOKED["examples"][0]

Write = Callable[..., Path]


def violations(registry: Registry, data: Any, type: str = "ride.booked.v1") -> dict[str, tuple[str, str]]:
    """What the registry says is wrong, by pointer."""
    with pytest.raises(ContractViolation) as caught:
        registry.validate(type, data)
    assert caught.value.contract == type
    return {one.pointer: (one.expected, one.got) for one in caught.value.violations}
