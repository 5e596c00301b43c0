"""From a schema to what it says of a value of one kind.

Follows the keywords of drafts 7, 2019-09 and 2020-12 as jsonschema-rs asserts them: ``format`` is asserted,
draft 7's ``dependencies`` counts in every draft, and siblings of ``$ref`` count from 2019-09 on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from contracts.compatibility.formula import (
    FALSE,
    TRUE,
    And,
    Count,
    Each,
    EachName,
    EachProperty,
    Formula,
    Has,
    Items,
    Length,
    Multiple,
    Names,
    OneOfValues,
    Opaque,
    Range,
    Schema,
    Text,
    Unique,
    both,
    either,
)
from contracts.compatibility.lookahead import parted
from contracts.compatibility.node import Node, canonical
from contracts.compatibility.tags import exclusive

__all__ = ["fraction", "kind_of", "meaning"]

_TYPES = {"integer": ("integer", "number"), "fraction": ("number",)}


def kind_of(value: Any) -> str:
    """The kind of a JSON value; see ``formula.KINDS``."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def fraction(number: int | float) -> Fraction:
    """A JSON number as it is written: 0.1 is one tenth."""
    return Fraction(str(number)) if isinstance(number, float) else Fraction(number)


def meaning(node: Node, kind: str, left_out: frozenset[str] = frozenset()) -> Formula:
    """What the schema's keywords, but for those left out, say of a value of that kind, one level deep.

    ``unevaluatedItems`` and ``unevaluatedProperties`` are not read here; see ``evaluated.opened``.
    """
    return both(_parts(node, kind, left_out))


def _parts(node: Node, kind: str, left_out: frozenset[str]) -> Iterator[Formula]:
    schema: Mapping[str, Any] = node.schema
    if "$ref" not in left_out:
        yield from map(Schema, node.targets())
    for keyword, value in schema.items():
        if keyword in left_out:
            continue
        for table in (_ANYWHERE, _BY_KIND[kind]):
            if keyword in table:
                yield table[keyword](node, value, kind)


def _type(node: Node, value: Any, kind: str) -> Formula:
    wanted = _TYPES.get(kind, (kind,))
    names = [value] if isinstance(value, str) else value
    return TRUE if any(name in wanted for name in names) else FALSE


def _enum(node: Node, values: Any, kind: str) -> Formula:
    fitting = frozenset(canonical(value) for value in values if kind_of(value) == kind)
    return OneOfValues(fitting) if fitting else FALSE


def _one_of(node: Node, branches: Any, kind: str) -> Formula:
    nodes = [node.child(branch) for branch in branches if _may_be(node, branch, kind)]
    if exclusive(nodes, kind_of, kind):
        return either(map(Schema, nodes))
    return either(_only(nodes, index) for index in range(len(nodes)))


def _only(nodes: list[Node], index: int) -> Formula:
    """The one schema and none of the others: as many words as there are, for each of them."""
    budget = nodes[index].document.budget
    budget.spend(1 + len(nodes) // 8)
    budget.check()
    return both(Schema(one, other == index) for other, one in enumerate(nodes))


def _may_be(node: Node, branch: Any, kind: str) -> bool:
    """Whether the type of a branch admits that kind."""
    hidden = not isinstance(branch, dict) or (node.draft == "7" and "$ref" in branch)
    return hidden or "type" not in branch or _type(node, branch["type"], kind) == TRUE


def _if(node: Node, condition: Any, kind: str) -> Formula:
    test = node.child(condition)
    yes = Schema(node.child(node.schema["then"])) if "then" in node.schema else TRUE
    no = Schema(node.child(node.schema["else"])) if "else" in node.schema else TRUE
    return either([both([Schema(test), yes]), both([Schema(test, False), no])])


_SINCE_2019 = frozenset({"duration", "uuid"})
_Reader = Callable[[Node, Any, str], Formula]
_ANYWHERE: dict[str, _Reader] = {
    "type": _type,
    "enum": _enum,
    "const": lambda node, value, kind: _enum(node, [value], kind),
    "allOf": lambda node, branches, kind: both(Schema(node.child(one)) for one in branches),
    "anyOf": lambda node, branches, kind: either(Schema(node.child(one)) for one in branches),
    "oneOf": _one_of,
    "not": lambda node, schema, kind: Schema(node.child(schema), False),
    "if": _if,
}


def _content(node: Node, value: Any, kind: str) -> Formula:
    # An annotation since 2019-09; draft 7's validators may assert it, so that it can't be ignored there.
    return Opaque(f"{value!r} as content is asserted by some validators only") if node.draft == "7" else TRUE


def _pattern(node: Node, pattern: Any, kind: str) -> Formula:
    parts = parted(pattern) or [(pattern, True)]
    return both(Text("pattern", part, matches) for part, matches in parts)


def _format(node: Node, name: Any, kind: str) -> Formula:
    if node.draft == "7" and name in _SINCE_2019:
        return Text("format?", name)
    return Text("format", name)


_STRING: dict[str, _Reader] = {
    "minLength": lambda node, n, kind: Length(least=int(n)),
    "maxLength": lambda node, n, kind: Length(most=int(n)),
    "pattern": _pattern,
    "format": _format,
    "contentEncoding": _content,
    "contentMediaType": _content,
}
_NUMBER: dict[str, _Reader] = {
    "minimum": lambda node, n, kind: Range(">=", fraction(n)),
    "exclusiveMinimum": lambda node, n, kind: Range(">", fraction(n)),
    "maximum": lambda node, n, kind: Range("<=", fraction(n)),
    "exclusiveMaximum": lambda node, n, kind: Range("<", fraction(n)),
    "multipleOf": lambda node, n, kind: Multiple(fraction(n)),
}


def _items(node: Node, value: Any, kind: str) -> Formula:
    if isinstance(value, list):
        return both(Each(Items(index, index + 1), Schema(node.child(one))) for index, one in enumerate(value))
    prefix = node.schema.get("prefixItems", ()) if node.draft == "2020-12" else ()
    return Each(Items(len(prefix)), Schema(node.child(value)))


def _prefix_items(node: Node, value: Any, kind: str) -> Formula:
    return _items(node, value, kind) if node.draft == "2020-12" else TRUE


def _additional_items(node: Node, value: Any, kind: str) -> Formula:
    items = node.schema.get("items")
    if node.draft == "2020-12" or not isinstance(items, list):
        return TRUE
    return Each(Items(len(items)), Schema(node.child(value)))


def _contains(node: Node, value: Any, kind: str) -> Formula:
    counted = node.draft != "7"
    least = int(node.schema.get("minContains", 1)) if counted else 1
    most = node.schema.get("maxContains") if counted else None
    return Count(Schema(node.child(value)), least, None if most is None else int(most))


_ARRAY: dict[str, _Reader] = {
    "minItems": lambda node, n, kind: Length(least=int(n)),
    "maxItems": lambda node, n, kind: Length(most=int(n)),
    "uniqueItems": lambda node, value, kind: Unique() if value else TRUE,
    "items": _items,
    "prefixItems": _prefix_items,
    "additionalItems": _additional_items,
    "contains": _contains,
}


def _properties(node: Node, value: Mapping[str, Any], kind: str) -> Formula:
    return both(
        EachProperty(Names(name=name), Schema(node.child(one)))
        for name, one in value.items()
        if one is not True
    )


def _pattern_properties(node: Node, value: Mapping[str, Any], kind: str) -> Formula:
    return both(
        EachProperty(Names(pattern=pattern), Schema(node.child(one))) for pattern, one in value.items()
    )


def _additional_properties(node: Node, value: Any, kind: str) -> Formula:
    beside = (
        frozenset(node.schema.get("properties", ())),
        frozenset(node.schema.get("patternProperties", ())),
    )
    return TRUE if value is True else EachProperty(Names(beside=beside), Schema(node.child(value)))


def _depends(name: str, wanted: Formula) -> Formula:
    return either([Has(name, False), wanted])


def _dependencies(node: Node, value: Mapping[str, Any], kind: str) -> Formula:
    return both(
        _depends(name, And(tuple(map(Has, one))) if isinstance(one, list) else Schema(node.child(one)))
        for name, one in value.items()
    )


def _newer(reader: _Reader) -> _Reader:
    return lambda node, value, kind: TRUE if node.draft == "7" else reader(node, value, kind)


_OBJECT: dict[str, _Reader] = {
    "minProperties": lambda node, n, kind: Length(least=int(n)),
    "maxProperties": lambda node, n, kind: Length(most=int(n)),
    "required": lambda node, names, kind: both(map(Has, names)),
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": lambda node, schema, kind: EachName(Schema(node.child(schema))),
    "dependencies": _dependencies,
    "dependentRequired": _newer(_dependencies),
    "dependentSchemas": _newer(_dependencies),
}
_BY_KIND: dict[str, dict[str, _Reader]] = {
    "object": _OBJECT,
    "array": _ARRAY,
    "string": _STRING,
    "integer": _NUMBER,
    "fraction": _NUMBER,
    "boolean": {},
    "null": {},
}
