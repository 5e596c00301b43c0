"""Contracts as AsyncAPI can hold them: its schemas are draft 7, ours are 2020-12.

What draft 7 has under another name is renamed; what it lacks (``unevaluatedProperties`` and the like) is left
out, so that a schema never refuses more than its contract. Each says which contract it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urldefrag, urljoin

from contracts.contract import Contract

__all__ = ["draft7"]

_ONE = frozenset({"additionalProperties", "contains", "else", "if", "not", "propertyNames", "then"})
_MANY = frozenset({"allOf", "anyOf", "oneOf"})
_NAMED = frozenset({"patternProperties", "properties"})
_LEFT_OUT = frozenset(
    {
        "$anchor",
        "$comment",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$schema",
        "$vocabulary",
        "contentSchema",
        "maxContains",
        "minContains",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_RENAMED = {"$defs": "definitions", "prefixItems": "items"}


def draft7(contracts: Iterable[Contract]) -> dict[str, Any]:
    """``components.schemas`` by contract type."""
    listed = list(contracts)
    known = {contract.id: contract.type for contract in listed}
    return {
        contract.type: {**_written(contract.schema, contract.id, known), "x-contract": contract.id}
        for contract in listed
    }


def _written(schema: Any, base: str, known: Mapping[str, str]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        # In draft 7 a reference hides its siblings.
        reference = {"$ref": _reference(str(schema["$ref"]), base, known)}
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        rest = _written(beside, base, known)
        return {"allOf": [reference, rest]} if rest else reference
    if schema.get("minContains") == 0:
        schema = {key: value for key, value in schema.items() if key != "contains"}
    written: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _LEFT_OUT:
            continue
        if key in _ONE:
            written[key] = _written(value, base, known)
        elif key in _MANY or key == "prefixItems":
            written[_RENAMED.get(key, key)] = [_written(one, base, known) for one in value]
        elif key in _NAMED or key in ("$defs", "definitions"):
            inner = {name: _written(one, base, known) for name, one in value.items()}
            written[_RENAMED.get(key, key)] = inner
        elif key == "items":
            after = "additionalItems" if "prefixItems" in schema else "items"
            written[after] = _written(value, base, known)
        elif key in ("dependentRequired", "dependentSchemas"):
            inner = {name: _written(one, base, known) for name, one in value.items()}
            written["dependencies"] = {**written.get("dependencies", {}), **inner}
        else:
            written[key] = value
    return written


def _reference(reference: str, base: str, known: Mapping[str, str]) -> str:
    full = base + reference if reference.startswith("#") else urljoin(base, reference)
    target, fragment = urldefrag(full)
    place = fragment.replace("/$defs/", "/definitions/").replace("/prefixItems/", "/items/")
    return f"#/components/schemas/{known.get(target, target)}{place}"
