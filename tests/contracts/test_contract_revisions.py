"""Released contracts: seen when edited, released when compatible, carried over when broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.compatibility import compare
from contracts.errors import ConfigurationError, ContractViolation, UnknownContract
from contracts.forms import reader_form, writer_form
from contracts.handbook import describe, handbook
from contracts.lock import LOCK_FILE, Lock
from contracts.registry import Registry
from contracts.review import release, review
from contracts.revisions import compare_revisions
from contracts.upcasting import Upcasters

BOOKED: dict[str, Any] = {
    "$id": "https://ride.example/booked",
    "description": "A ride was booked.",
    "type": "object",
    "properties": {"ride_id": {"type": "string"}, "fare": {"type": "integer", "description": "US | cents."}},
    "required": ["ride_id"],
    "examples": [{"ride_id": "r1", "fare": 5}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one contract."""
    write(tmp_path, BOOKED)
    return tmp_path


def write(folder: Path, schema: Any, name: str = "ride/booked.v1") -> None:
    """Writes a contract's file."""
    path = folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(schema))


def states(folder: Path, lock: Lock) -> dict[str, str]:
    """The state of each contract."""
    return {one.type: one.state for one in review(Registry.load(folder), lock)}


def changed(**properties: Any) -> dict[str, Any]:
    """The contract with other properties beside its own."""
    return {**BOOKED, "properties": {**BOOKED["properties"], **properties}}


def test_a_release_is_kept_and_read_back(folder: Path) -> None:
    """The lock survives its file, and a released contract is as it was released."""
    assert states(folder, Lock({})) == {"ride.booked.v1": "new"}
    release(Registry.load(folder), Lock.read(folder / LOCK_FILE)).write(folder / LOCK_FILE)
    lock = Lock.read(folder / LOCK_FILE)
    assert states(folder, lock) == {"ride.booked.v1": "released"}
    assert [len(one.digest) for one in lock.of("ride.booked.v1")] == [64]
    assert release(Registry.load(folder), lock) == lock


def test_layout_is_no_edit(folder: Path) -> None:
    """White space and the order of keys do not change a digest."""
    lock = release(Registry.load(folder), Lock({}))
    write(folder, dict(reversed(BOOKED.items())))
    assert states(folder, lock) == {"ride.booked.v1": "released"}


@pytest.mark.parametrize(
    ("edit", "state"),
    [
        (changed(note={"type": "string"}), "revised"),
        ({**BOOKED, "description": "Another."}, "revised"),
        (changed(fare={"type": "number"}), "incompatible"),
        (changed(fare={"type": "integer", "minimum": 0}), "incompatible"),
        ({**BOOKED, "required": ["ride_id", "fare"]}, "incompatible"),
        ({**BOOKED, "required": []}, "incompatible"),
        (changed(ride_id={"type": "string", "pattern": "(?=a)"}, fare=True), "incompatible"),
        (changed(note={"type": "string", "pattern": "^(?=x)y$"}), "revised"),
    ],
)
def test_an_edit_of_a_released_contract_is_seen(folder: Path, edit: Any, state: str) -> None:
    """A compatible edit may be released as a revision; one that is not is refused, with what to do."""
    lock = release(Registry.load(folder), Lock({}))
    edit = {**edit, "examples": [{"ride_id": "a", "fare": 5}]}
    write(folder, edit)
    found = review(Registry.load(folder), lock)[0]
    assert found.state == state
    if state == "revised":
        assert len(release(Registry.load(folder), lock).of("ride.booked.v1")) == 2
    else:
        assert "ride.booked.v2" in found.message
        assert found.as_json()["report"]["verdict"] == "incompatible"
        with pytest.raises(ConfigurationError, match=r"booked\.v1"):
            release(Registry.load(folder), lock)


def test_what_can_not_be_told_is_not_released(folder: Path) -> None:
    """Unknown counts as a failure."""
    write(folder, changed(code={"pattern": "(?<=a)b"}))
    lock = release(Registry.load(folder), Lock({}))
    write(folder, changed(code={"pattern": "(?<=a)c"}))
    assert states(folder, lock) == {"ride.booked.v1": "unknown"}


def test_every_released_revision_counts(folder: Path) -> None:
    """A property may not come back with another type, although the last revision had none."""
    write(folder, changed(note={"type": "string"}))
    lock = release(Registry.load(folder), Lock({}))
    write(folder, BOOKED)
    lock = release(Registry.load(folder), lock)
    write(folder, changed(note={"type": "integer"}))
    found = review(Registry.load(folder), lock)[0]
    assert (found.state, found.revision) == ("incompatible", 1)


def test_a_released_contract_may_not_vanish(folder: Path) -> None:
    """A file that is gone stands in the way of a release of everything, not of other types."""
    write(folder, {**BOOKED, "$id": "https://ride.example/b2"}, "ride/other.v1")
    lock = release(Registry.load(folder), Lock({}))
    (folder / "ride" / "booked.v1.json").unlink()
    assert states(folder, lock)["ride.booked.v1"] == "removed"
    with pytest.raises(ConfigurationError, match="restore"):
        release(Registry.load(folder), lock)
    assert release(Registry.load(folder), lock, ["ride.other.v1"]) == lock


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version": 1}', '{"version": 9, "contracts": {}}', '{"version": 1, "contracts": []}'],
)
def test_a_broken_lock_is_told(tmp_path: Path, text: str) -> None:
    """A file that is no lock, or of another version, is a configuration error that names it."""
    path = tmp_path / LOCK_FILE
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=LOCK_FILE):
        Lock.read(path)


def test_an_edited_lock_is_seen(folder: Path) -> None:
    """A schema in the lock that is not the one that was released is refused."""
    path = folder / LOCK_FILE
    release(Registry.load(folder), Lock({})).write(path)
    path.write_text(path.read_text().replace("A ride was booked.", "A ride was sold."))
    with pytest.raises(ConfigurationError, match="edited after its release"):
        Lock.read(path)


def test_readers_read_open_and_writers_write_closed() -> None:
    """The forms of a contract: an optional property may come and go, below combinations and references."""
    schema = {
        "allOf": [{"properties": {"a": {"$ref": "#/$defs/p"}}}],
        "properties": {"b": {"type": "object", "properties": {"c": True}, "additionalProperties": False}},
        "$defs": {"p": {"properties": {"x": {"type": "integer"}}}},
    }
    closed = writer_form(schema)
    assert closed["unevaluatedProperties"] is False
    assert "unevaluatedProperties" not in closed["allOf"][0]
    assert "unevaluatedProperties" in closed["allOf"][0]["properties"]["a"]
    assert "unevaluatedProperties" not in closed["$defs"]["p"]
    assert "additionalProperties" not in reader_form(schema)["properties"]["b"]
    assert compare(closed, schema).word == "compatible"
    assert writer_form({"type": "object", "additionalProperties": {"type": "string"}}).keys() == {
        "type",
        "additionalProperties",
    }
    assert reader_form({"not": {"additionalProperties": False}}) == {"not": {"additionalProperties": False}}


def test_strict_revisions_are_compared_as_written() -> None:
    """Without the forms, an open object may not get another property."""
    old, new = {"properties": {"a": True}}, {"properties": {"a": True, "b": {"type": "string"}}}
    assert compare_revisions(old, new).verdict.word == "compatible"
    assert compare_revisions(old, new, strict=True).verdict.word == "incompatible"


def test_revisions_follow_references_to_other_contracts() -> None:
    """What a contract refers to is part of what it means."""
    resources = {"https://ride.example/money": {"type": "integer"}}
    one = {"$id": "https://ride.example/a", "properties": {"fare": {"$ref": "money"}}}
    two = {"$id": "https://ride.example/a", "properties": {"fare": {"type": "integer"}}}
    three = {"$id": "https://ride.example/a", "properties": {"fare": {"type": "string"}}}
    assert compare_revisions(one, two, resources=resources).verdict.word == "compatible"
    assert compare_revisions(one, three, resources=resources).verdict.word == "incompatible"


BASE: dict[str, Any] = {"type": "object", "properties": {"id": {"type": "string"}}}


@pytest.mark.parametrize(
    "around",
    [
        lambda own: {"$ref": "base", **own},
        lambda own: {"allOf": [{"$ref": "base"}], **own},
        lambda own: {"properties": {"b": BASE, "in": {"$ref": "#/properties/b", **own}}},
        lambda own: {"properties": {"id": {}, "in": {"allOf": [{"$ref": "#"}], **own}}},
        lambda own: {"properties": {"in": {"$ref": "#/$defs/b", **own}}, "$defs": {"b": BASE}},
    ],
)
def test_what_extends_another_schema_may_write_its_own_properties(around: Any) -> None:
    """The extended schema is closed where it stands alone only: else nothing could be written at all."""
    old, new = (
        {"$id": "https://ride.example/a", **around({"properties": {"fare": {"type": type}}})}
        for type in ("integer", "string")
    )
    found = compare_revisions(old, new, resources={"https://ride.example/base": BASE})
    assert [one.verdict.word for one in found.comparisons] == ["incompatible", "incompatible"]


def test_a_reference_to_another_contract_is_closed_where_it_stands() -> None:
    """What a property's own contract does not declare is not written there, so that it may be declared."""
    more = {"type": "object", "properties": {**BASE["properties"], "more": {"type": "string"}}}
    old = {"$id": "https://ride.example/a", "properties": {"b": {"$ref": "base"}}}
    new = {**old, "properties": {"b": more}}
    for one in (
        old,
        {**old, "properties": {"b": {"$ref": "#/$defs/b"}}, "$defs": {"b": BASE}, "$id": "urn:a"},
    ):
        found = compare_revisions(one, new, resources={"https://ride.example/base": BASE})
        assert found.verdict.word == "compatible"


def test_upcasters_carry_data_over_one_major_at_a_time() -> None:
    """Data of an old major is carried to the newest, each step checked against its contract."""
    registry = Registry()
    registry.add("a.b.v1", {"required": ["fare"]})
    registry.add("a.b.v2", {"required": ["cents"]})
    registry.add("a.b.v3", {"required": ["amount"]})
    upcasters = Upcasters()

    @upcasters.upcasts("a.b.v1", "a.b.v2")
    def to_cents(data: Any) -> Any:
        return {"cents": data["fare"] * 100}

    upcasters.add("a.b.v2", "a.b.v3", lambda data: {"amount": data["cents"]} if data["cents"] else {})
    assert upcasters.way("a.b.v1") == ["a.b.v2", "a.b.v3"]
    assert upcasters.upcast("a.b.v1", {"fare": 2}, "a.b.v3", registry.validate) == {"amount": 200}
    assert upcasters.upcast("a.b.v3", {"amount": 1}, "a.b.v3", registry.validate) == {"amount": 1}
    with pytest.raises(ContractViolation, match=r"a\.b\.v3"):
        upcasters.upcast("a.b.v1", {"fare": 0}, "a.b.v3", registry.validate)
    assert upcasters.nearest("a.b.v1", ["a.b.v3", "a.b.v2"]) == "a.b.v2"
    assert upcasters.nearest("a.b.v2", ["a.b.v2", "a.b.v3"]) == "a.b.v2"
    assert upcasters.nearest("a.b.v3", ["a.b.v1"]) is None
    with pytest.raises(UnknownContract, match="no upcaster"):
        upcasters.upcast("a.b.v3", {}, "a.b.v1", registry.validate)


def test_upcasters_that_lead_nowhere_are_refused() -> None:
    """Two from one type, or a circle, are configuration errors."""
    upcasters = Upcasters()
    upcasters.add("a", "b", lambda data: data)
    with pytest.raises(ConfigurationError, match="already"):
        upcasters.add("a", "c", lambda data: data)
    with pytest.raises(ConfigurationError, match="back"):
        upcasters.add("b", "a", lambda data: data)


def test_the_handbook_says_what_a_message_means(folder: Path) -> None:
    """Each contract has its meaning, its properties, its users and its examples."""
    registry = Registry.load(folder)
    text = handbook(
        registry, Lock({}), {"ride.booked.v1": ["flow ride"]}, {"ride.booked.v1": ["notify", "receipts"]}
    )
    assert "## ride.booked.v1" in text
    assert "Emitted by flow ride." in text
    assert "Read by notify, receipts." in text
    assert "| `ride_id` | a string | yes |  |" in text
    assert "US \\| cents." in text
    assert '"ride_id": "r1"' in text
    found = describe(registry.contract("ride.booked.v1"), Lock({}), {}, {})
    assert [one["name"] for one in found["fields"]] == ["ride_id", "fare"]
    with pytest.raises(UnknownContract):
        handbook(registry, Lock({}), only="nothing")
