"""What the boundary costs for one message: ``python -m benchmarks.boundary [--json]``.

One process, one core, the same event of about 300 bytes for all. Each figure is the median over rounds of
the time for one message, in microseconds; the rounds of what is compared are interleaved, so that a busy
moment of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import orjson

from bus.envelope import publication
from bus.port import EVENTS, Bus, Delivery, Outgoing
from bus.signed import SignedBus, Signing
from bus.signer import Signer
from contracts.envelope import Event
from contracts.keyring import ALGORITHMS, Key, Keyring, Rights, SigningKey
from contracts.registry import Registry
from reactors.intake import Accepted, Intake

TYPE = "ride.booked.v1"
LIMIT = 250.0  # microseconds, the median for verify + validate + decode
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["ride_id", "rider", "driver", "pickup", "dropoff", "fare", "booked_at"],
    "additionalProperties": False,
    "properties": {
        "ride_id": {"type": "string", "pattern": "^r-[0-9]+$"},
        "rider": {"$ref": "#/$defs/person"},
        "driver": {"$ref": "#/$defs/person"},
        "pickup": {"$ref": "#/$defs/place"},
        "dropoff": {"$ref": "#/$defs/place"},
        "fare": {
            "type": "object",
            "required": ["amount", "currency"],
            "properties": {
                "amount": {"type": "integer", "minimum": 0},
                "currency": {"enum": ["EUR", "USD", "GBP"]},
            },
        },
        "booked_at": {"type": "string", "minLength": 20, "maxLength": 35},
        "notes": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
    },
    "$defs": {
        "person": {
            "type": "object",
            "required": ["id", "name"],
            "properties": {"id": {"type": "string"}, "name": {"type": "string", "minLength": 1}},
        },
        "place": {
            "type": "object",
            "required": ["lat", "lon"],
            "properties": {
                "lat": {"type": "number", "minimum": -90, "maximum": 90},
                "lon": {"type": "number", "minimum": -180, "maximum": 180},
            },
        },
    },
}
DATA: dict[str, Any] = {
    "ride_id": "r-48151623",
    "rider": {"id": "p-1001", "name": "Ada Lovelace"},
    "driver": {"id": "d-2002", "name": "Grace Hopper"},
    "pickup": {"lat": 52.520008, "lon": 13.404954},
    "dropoff": {"lat": 52.373058, "lon": 13.064972},
    "fare": {"amount": 4250, "currency": "EUR"},
    "booked_at": "2026-11-24T08:15:42.184221Z",
    "notes": ["two bags"],
}


class _Ring:
    """One service's key, which may say what it says here."""

    def __init__(self, key: SigningKey) -> None:
        rights = Rights.of(sources=["/acme/flows/ride"], types=["ride.**"], exchanges=[EVENTS])
        self._ring = Keyring([Key(key.kid, key.algorithm, key.public(), rights, not_before=0.0)])

    def keyring(self) -> Keyring:
        return self._ring

    look_again = keyring


class _Nowhere:
    """Stands where a bus would be: nothing here is sent."""


def event() -> Event:
    """The event that is measured."""
    return Event.create(
        TYPE,
        DATA,
        id="kq3vfhb2tb4ejd3ctrcnbwf2ty",
        source="/acme/flows/ride",
        at=time.time(),
        workspace="acme",
        correlation="q6m4wh7t2nq7eh5xkbq3l2t5pu",
        causation="4q2z6m4l3bq7eh5xkbq3l2t5pu",
        subject="r-48151623",
        extensions={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    )


def _bus(key: SigningKey) -> SignedBus:
    nowhere: Any = _Nowhere()
    inner: Bus = nowhere
    return SignedBus(inner, Signing("strict", _Ring(key), lambda: key, 86_400.0))


def _delivery(signed: Outgoing) -> Delivery:
    return Delivery(signed.message, "reactor.notify", EVENTS, TYPE, 0, None)


def _signing(key: SigningKey, number: int = 1) -> Callable[[], list[Outgoing]]:
    signer, outgoing = Signer(_Ring(key), permit=None, clock=time.time), [publication(event())] * number
    return lambda: signer.sign(outgoing, key)


def _boundary(key: SigningKey) -> tuple[SignedBus, Delivery]:
    (out,) = _signing(key)()
    return _bus(key), _delivery(out)


def _together(key: SigningKey, number: int) -> Callable[[], bool]:
    """Verifies, one at each call, what was signed together, each time as somebody who has seen none of it."""
    deliveries = list(map(_delivery, _signing(key, number)()))

    def endless() -> Iterator[bool]:
        while True:
            bus = _bus(key)
            for delivery in deliveries:
                yield bus.verified(delivery).refusal is None

    return partial(next, endless())


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by its name; each does one message. Raises what goes wrong in any of them."""
    registry = Registry()
    registry.add(TYPE, SCHEMA)
    bare = jsonschema_rs.validator_for(SCHEMA)
    compiled = jsonschema.Draft202012Validator(SCHEMA)
    intake = Intake(registry, default_workspace=None)
    keys = [SigningKey("ride/1", algorithm, bytes(range(32))) for algorithm in ALGORITHMS]
    ed25519, hmac = map(_boundary, keys)

    def whole(bus: SignedBus, delivery: Delivery) -> None:
        admitted = intake.admit(bus.verified(delivery), (TYPE,))
        if not isinstance(admitted, Accepted):
            raise TypeError(f"the message was refused: {admitted}")

    found: dict[str, Callable[[], object]] = {
        "validate: bare jsonschema-rs": lambda: bare.is_valid(DATA),
        "validate: registry": lambda: registry.validate(TYPE, DATA),
        "validate: compiled jsonschema": lambda: compiled.is_valid(DATA),
        "sign: ed25519": _signing(keys[0]),
        "sign: hmac-sha256": _signing(keys[1]),
        "verify: ed25519": lambda: ed25519[0].verified(ed25519[1]),
        "verify: ed25519, of 32 signed together": _together(keys[0], 32),
        "verify: hmac-sha256": lambda: hmac[0].verified(hmac[1]),
        "decode and validate, unsigned": lambda: intake.admit(ed25519[1], (TYPE,)),
        "verify, decode, validate: ed25519": lambda: whole(*ed25519),
        "verify, decode, validate: hmac-sha256": lambda: whole(*hmac),
    }
    for name, work in found.items():
        if work() is False:
            raise ValueError(f"{name}: the message does not fit")
    return found


def measure(rounds: int, each: float) -> dict[str, float]:
    """The median microseconds for each case over ``rounds`` of about ``each`` seconds."""
    todo = cases()
    repeats = {name: max(1, int(each / _time(work, 3))) for name, work in todo.items()}
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, work in todo.items():
            taken[name].append(_time(work, repeats[name]) * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def _time(work: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def report(found: dict[str, float]) -> dict[str, Any]:
    """The figures, and what was to be reached."""
    registry = found["validate: registry"]
    whole = found["verify, decode, validate: ed25519"]
    over_bare = registry / found["validate: bare jsonschema-rs"]
    under_compiled = found["validate: compiled jsonschema"] / registry
    return {
        "body_bytes": len(event().body),
        "median_us": {name: round(value, 2) for name, value in found.items()},
        "registry_over_bare": round(over_bare, 2),
        "compiled_over_registry": round(under_compiled, 1),
        "goals": {
            f"verify, decode, validate below {LIMIT:.0f} us": whole < LIMIT,
            "registry within 2x of bare jsonschema-rs": over_bare <= 2.0,
            "registry at least 50x faster than compiled jsonschema": under_compiled >= 50.0,
        },
    }


def main() -> int:
    """Measure and tell; the exit code is 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{Path(__file__).stem}", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.02, help="per case and round")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args()
    told = report(measure(given.rounds, given.seconds))
    if given.json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        for name, value in told["median_us"].items():
            sys.stdout.write(f"{value:10.2f} us  {name}\n")
        for goal, reached in told["goals"].items():
            sys.stdout.write(f"{'reached' if reached else 'MISSED':>13}  {goal}\n")
    return 0 if all(told["goals"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
