"""The fast validator and the one that explains: they agree on what fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.compatibility.guess import guesses
from contracts.errors import ContractViolation
from contracts.judge import compile_schema, fits
from contracts.references import known_to
from contracts.registry import Registry
from contracts.violations import explain, explainer

RIDE = Path(__file__).parents[2] / "examples" / "ride" / "contracts"
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 20)
    | st.sampled_from([0.5, 1.0, 4.35, 1e9])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"]),
    "enum": st.lists(JSON, min_size=1, max_size=3),
    "const": JSON,
    "minimum": st.integers(-3, 3),
    "exclusiveMaximum": st.sampled_from([0, 1.5, 4]),
    "multipleOf": st.sampled_from([0.01, 0.5, 2]),
    "minLength": st.integers(0, 3),
    "maxLength": st.integers(0, 3),
    "pattern": st.sampled_from(["^a", "b$", "^[0-9]+$", "^\\d$", "^\\w+$"]),
    "format": st.sampled_from(["date", "date-time", "email", "uuid", "ipv4", "uri"]),
    "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
    "minProperties": st.integers(0, 2),
    "maxItems": st.integers(0, 2),
    "uniqueItems": st.booleans(),
    "dependentRequired": st.just({"a": ["b"]}),
}


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of up to three keywords, nested."""

    def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        nested: dict[str, st.SearchStrategy[Any]] = {
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner,
            "propertyNames": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "contains": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "unevaluatedProperties": st.booleans(),
        }
        some = st.sampled_from(sorted({**KEYWORDS, **nested}))
        chosen = st.lists(some, min_size=1, max_size=3, unique=True)
        return chosen.flatmap(
            lambda names: st.fixed_dictionaries({name: {**KEYWORDS, **nested}[name] for name in names})
        )

    return st.recursive(st.booleans(), wider, max_leaves=6)


def agreed(schema: Any, data: Any) -> None:
    """Both say the same, and what is refused is explained."""
    judge = compile_schema(schema)
    slow = explainer(schema, known_to([]))
    fast = judge.is_valid(data)
    assert slow.is_valid(data) == fast, (schema, data)
    if not fast:
        assert explain(slow, judge, data)


@MANY
@given(schema=schemas(), data=st.lists(JSON, min_size=1, max_size=6))
def test_both_agree_on_generated_schemas(schema: Any, data: list[Any]) -> None:
    """Whatever the schema and the data, fast and slow give one answer."""
    for one in data:
        agreed(schema, one)


@pytest.mark.parametrize("path", sorted(RIDE.rglob("*.json")), ids=lambda path: path.stem)
def test_both_agree_on_the_contracts_in_use(path: Path) -> None:
    """Each example of each contract, and hundreds of small changes to it: one answer, and never a crash."""
    registry = Registry.load(RIDE)
    contract = next(one for one in registry.contracts() if one.path == path)
    judge = jsonschema_rs.Draft202012Validator(dict(contract.schema), validate_formats=True, offline=True)
    slow = explainer(contract.schema, known_to(registry.contracts()))
    for data in guesses(list(contract.examples)):
        fast = judge.is_valid(data)
        assert slow.is_valid(data) == fast, json.dumps(data)
        if fast:
            registry.validate(contract.type, data)
        else:
            with pytest.raises(ContractViolation):
                registry.validate(contract.type, data)


# Formats that contracts use, with what both libraries have to say of them by themselves.
FORMATS = {
    "date": (["2026-01-31", "2024-02-29"], ["2026-13-01", "2026-02-30", "31.01.2026", ""]),
    "date-time": (
        ["2026-01-31T09:30:00Z", "2026-01-31T09:30:00.25+01:00"],
        ["2026-01-31", "2026-01-31 9:30"],
    ),
    "email": (["ann@example.com"], ["ann", ""]),
    "ipv4": (["192.0.2.1"], ["192.0.2", "999.0.2.1"]),
    "ipv6": (["2001:db8::1"], ["2001:db8", "1"]),
    "uri": (["https://example.com/a?b=c", "urn:a"], ["/a", "a b", ""]),
    "uuid": (["0b5a3e0e-6d0b-4b1f-9a3e-2f6f5d1c7a11"], ["0b5a3e0e6d0b4b1f9a3e2f6f5d1c7a11", "x"]),
    "duration": (["PT30S", "P1DT2H"], ["30s", "P", ""]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_mean_the_same_to_both_libraries(name: str) -> None:
    """jsonschema's own checker of a format agrees with jsonschema-rs on what is and what is not of it."""
    checker = jsonschema.FormatChecker()
    for wanted, texts in zip((True, False), FORMATS[name], strict=True):
        for text in texts:
            assert fits("format", name, text) == wanted, text
            assert checker.conforms(text, name) == wanted, text
