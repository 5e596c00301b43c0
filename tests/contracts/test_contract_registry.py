"""The registry: what it knows, and what it says about data that does not fit."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field
from ride_contracts import BASE, BOOKED, GOOD, MONEY, Write, violations

from contracts.errors import ConfigurationError, ContractViolation, UnknownContract
from contracts.handbook import fields
from contracts.registry import Registry

CLOSED: dict[str, Any] = {"type": "object", "properties": {"x": {}}, "additionalProperties": False}


@pytest.fixture
def registry(write: Write) -> Registry:
    """Two contracts, one of which refers to the other."""
    return Registry.load(write(ride__booked__v1=BOOKED, common__money__v1=MONEY))


def test_a_type_is_named_after_its_file(registry: Registry) -> None:
    """`ride/booked.v1.json` is `ride.booked.v1`, and everything about it can be asked for."""
    assert registry.types() == ["common.money.v1", "ride.booked.v1"]
    assert registry.has("ride.booked.v1")
    assert not registry.has("ride.booked.v2")
    assert registry.schema("ride.booked.v1") == BOOKED
    contract = registry.contract("ride.booked.v1")
    assert (contract.name, contract.major, contract.id) == ("ride.booked", 1, BOOKED["$id"])
    assert contract.description == BOOKED["description"]
    assert contract.examples == (GOOD,)
    assert contract.path is not None
    assert contract.path.name == "booked.v1.json"


def test_data_that_fits_passes(registry: Registry) -> None:
    """What fits raises nothing, also through references to another contract."""
    registry.validate("ride.booked.v1", GOOD)
    registry.validate("ride.booked.v1", {**GOOD, "seats": 2.0, "pickup": {"zone": "Harlem"}})


def test_what_a_newer_writer_adds_can_be_read_and_not_be_sent(registry: Registry) -> None:
    """In the contract and in one that it refers to; all else holds for readers, too."""
    registry.add(
        "note.v1", {"anyOf": [CLOSED, {"$ref": BOOKED["$id"]}], "not": {"required": ["x"], **CLOSED}}
    )
    newer = {**GOOD, "tip": 2}
    for type in ("ride.booked.v1", "note.v1"):
        registry.validate_read(type, newer)
        with pytest.raises(ContractViolation):
            registry.validate(type, newer)
    for wrong in ({**newer, "seats": 0}, {"tip": 2}):
        with pytest.raises(ContractViolation) as caught:
            registry.validate_read("ride.booked.v1", wrong)
        assert {one.pointer for one in caught.value.violations} <= {"/seats", "/ride_id", "/fare"}
    with pytest.raises(ContractViolation):
        registry.validate_read("note.v1", {"x": 1})  # what tells values apart is not opened
    with pytest.raises(UnknownContract):
        registry.validate_read("nothing", {})


def test_an_unknown_type_is_told_with_what_is_known(registry: Registry) -> None:
    """Asking for a type that is not there names those that are."""
    with pytest.raises(UnknownContract, match=r"ride\.booked\.v1"):
        registry.validate("ride.bookd.v1", {})
    with pytest.raises(UnknownContract):
        registry.schema("nothing")
    with pytest.raises(UnknownContract):
        registry.contract("nothing")


@pytest.mark.parametrize(
    ("change", "pointer", "expected", "got"),
    [
        ({"fare": None}, "/fare", "an object", "null"),
        ({"seats": 0}, "/seats", "a number >= 1", "0"),
        ({"seats": 7}, "/seats", "a number <= 6", "7"),
        ({"seats": True}, "/seats", "an integer", "true"),
        ({"at": "yesterday"}, "/at", "date-time", '"yesterday"'),
        ({"ride_id": "12"}, "/ride_id", "a UUID", '"12"'),
        ({"colour": "red"}, "/colour", "no such property", '"red"'),
        ({"pickup": {"zone": ""}}, "/pickup/zone", "at least 1 character", '""'),
        ({"fare": {"amount": 1.005, "currency": "USD"}}, "/fare/amount", "a multiple of 0.01", "1.005"),
        ({"fare": {"amount": 1, "currency": "usd"}}, "/fare/currency", "matches ^[A-Z]{3}$", '"usd"'),
        ({"fare": {"amount": 1}}, "/fare/currency", "(required)", "nothing"),
    ],
)
def test_a_violation_says_where_what_and_instead_of_what(
    registry: Registry, change: dict[str, Any], pointer: str, expected: str, got: str
) -> None:
    """Each violation has a pointer, what the contract wants in words, and what was there."""
    found = violations(registry, {**GOOD, **change})
    assert list(found) == [pointer]
    assert expected in found[pointer][0]
    assert found[pointer][1] == got


def test_every_violation_is_told(registry: Registry) -> None:
    """Several things wrong at once are all told, required ones each with their own pointer."""
    assert set(violations(registry, {"seats": 9})) == {"/ride_id", "/fare", "/seats"}


def test_a_multiple_of_a_fraction_is_exact(registry: Registry) -> None:
    """4.35 is a multiple of 0.01, although 4.35 / 0.01 is not whole in binary."""
    assert set(violations(registry, {"fare": {"amount": 4.35, "currency": "USD"}})) == {"/ride_id"}


def test_what_was_got_is_shortened(registry: Registry) -> None:
    """A huge value is told in at most 80 characters, and the number of violations is bounded."""
    found = violations(registry, {**GOOD, "at": "x" * 100_000})
    assert len(found["/at"][1]) <= 80
    found = violations(registry, {**GOOD, **{f"extra{n}": n for n in range(1000)}})
    assert len(found) == 20


def test_pointers_are_escaped(registry: Registry) -> None:
    """A slash or a tilde in a name is escaped as RFC 6901 wants."""
    assert list(violations(registry, {**GOOD, "a/b~c": 1})) == ["/a~1b~0c"]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_of_alternatives_the_one_that_was_meant_is_told(keyword: str) -> None:
    """The violation is about the alternative whose tag fits, not about all of them."""
    card = {"properties": {"kind": {"const": "card"}, "last4": {"type": "string"}}, "required": ["last4"]}
    cash = {"properties": {"kind": {"const": "cash"}, "given": {"type": "number"}}, "required": ["given"]}
    registry = Registry()
    registry.add("pay.v1", {"type": "object", keyword: [card, cash]})
    found = violations(registry, {"kind": "cash", "last4": 1, "given": "much"}, "pay.v1")
    assert found == {"/given": ("a number", '"much"')}


def test_places_of_what_may_not_be_are_told() -> None:
    """A property, an item or an alternative that is `false` is told with its own place."""
    registry = Registry()
    schema = {
        "properties": {"gone": False, "list": {"prefixItems": [True], "items": False}},
        "anyOf": [False, {}],
    }
    registry.add("no.v1", schema)
    found = violations(registry, {"gone": 1, "list": [1, 2]}, "no.v1")
    assert found == {"/gone": ("no such property here", "1"), "/list": ("at most 1 item", "[1, 2]")}
    registry.add("never.v1", {"anyOf": [False, {"required": ["a"]}]})
    assert violations(registry, {}, "never.v1")


def test_what_is_counted_or_impossible_is_told_in_words() -> None:
    """How many items of which kind, and that a list of no values leaves none; both in the handbook, too."""
    registry = Registry()
    schema = {
        "properties": {
            "few": {"contains": {"type": "string"}, "minContains": 2},
            "many": {"contains": {"type": "string"}, "maxContains": 1},
            "none": {"enum": []},
        }
    }
    registry.add("some.v1", schema)
    found = violations(registry, {"few": ["a"], "many": ["a", "b"], "none": 1}, "some.v1")
    assert {place: wanted for place, (wanted, _) in found.items()} == {
        "/few": "at least 2 items that fit: a string",
        "/many": "at most 1 item that fits: a string",
        "/none": "no such value",
    }
    assert [one["expected"] for one in fields(schema)][-1] == "no such value"


def test_a_referenced_contract_is_judged_alike(write: Write) -> None:
    """Formats and patterns are asserted in a contract that is reached by a reference, too."""
    zone = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": BASE + "ride/zone.v1.json",
        "description": "A zone.",
        "properties": {"name": {"pattern": "^(a+)+$"}, "since": {"format": "date"}},
        "examples": [{"name": "a"}],
    }
    trip = {"$id": BASE + "t", "description": "Trip.", "$ref": zone["$id"], "examples": [{}]}
    registry = Registry.load(write(ride__zone__v1=zone, ride__trip__v1=trip))
    found = violations(registry, {"name": "a" * 20_000 + "!", "since": "now"}, "ride.trip.v1")
    assert found["/since"][0] == "a date such as 2026-01-31"
    assert set(found) == {"/name", "/since"}


def test_alternatives_of_which_none_is_near_are_told_together() -> None:
    """When not even the type fits, the violation names what all alternatives want."""
    registry = Registry()
    registry.add("id.v1", {"anyOf": [{"type": "string"}, {"type": "null"}]})
    assert violations(registry, 5, "id.v1") == {"": ("a string or null", "5")}
    registry.add("one.v1", {"oneOf": [{"type": "integer"}, {"minimum": 2}]})
    assert "not several" in violations(registry, 5, "one.v1")[""][0]


@pytest.mark.parametrize(
    "value", [datetime(2026, 1, 1, tzinfo=UTC), {1, 2}, object(), {1: 2}, float("nan"), float("inf")]
)
def test_what_is_no_json_violates_every_contract(value: Any) -> None:
    """Python values that are no JSON are a violation, not a crash."""
    registry = Registry()
    registry.add("any.v1", {"type": ["object", "number", "array"], "additionalProperties": {"minimum": 0}})
    with pytest.raises(ContractViolation):
        registry.validate("any.v1", value)
    with pytest.raises(ContractViolation):
        registry.validate("any.v1", {"at": value, "n": -1})


def test_deep_nesting_is_a_violation() -> None:
    """Data nested a thousand deep against a recursive contract is refused in words, not by a crash."""
    registry = Registry()
    registry.add("deep.v1", {"type": "array", "items": {"$ref": "#"}})
    data: Any = "bottom"
    for _ in range(1000):
        data = [data]
    with pytest.raises(ContractViolation) as caught:
        registry.validate("deep.v1", data)
    assert caught.value.violations


def test_a_hostile_string_does_not_stall_a_careless_pattern() -> None:
    """A pattern with nested repetition is decided and explained without backtracking."""
    registry = Registry()
    schema = {
        "properties": {"code": {"pattern": "^(a+)+$"}},
        "patternProperties": {"^(b+)+$": {"type": "integer"}},
        "additionalProperties": False,
    }
    registry.add("code.v1", schema)
    found = violations(registry, {"code": "a" * 20_000 + "!", "b" * 20_000 + "!": 1}, "code.v1")
    assert len(found) == 2


def test_a_model_class_can_be_a_contract(registry: Registry) -> None:
    """The schema of a pydantic model is added without a file, and adding it again changes nothing."""

    class Quote(BaseModel):
        total: float = Field(gt=0)
        note: str | None = None

    added = registry.add("ride.quote.v1", Quote.model_json_schema())
    assert registry.add("ride.quote.v1", Quote.model_json_schema()) is added
    registry.validate("ride.quote.v1", {"total": 1.5})
    assert violations(registry, {"total": 0}, "ride.quote.v1") == {"/total": ("a number > 0", "0")}
    with pytest.raises(ConfigurationError, match="already defined"):
        registry.add("ride.quote.v1", {"type": "string"})


def test_an_added_contract_may_refer_to_a_file(registry: Registry) -> None:
    """A model's schema may use a contract of the registry by its `$id`."""
    registry.add("tip.v1", {"properties": {"tip": {"$ref": MONEY["$id"]}}})
    assert "/tip" in violations(registry, {"tip": 5}, "tip.v1")


def test_registries_merge(registry: Registry) -> None:
    """Merging takes over what is new, leaves what is the same, and refuses what clashes."""
    other = Registry()
    other.add("tip.v1", {"type": "number"})
    other.add("common.money.v1", MONEY)
    assert registry.merge(other) is registry
    registry.validate("tip.v1", 1)
    clash = Registry()
    clash.add("tip.v1", {"type": "string"})
    with pytest.raises(ConfigurationError, match=r"tip\.v1"):
        registry.merge(clash)


def test_several_threads_may_validate(registry: Registry) -> None:
    """One registry serves several threads at once."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                registry.validate("ride.booked.v1", GOOD)
                assert violations(registry, {**GOOD, "seats": 0})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
