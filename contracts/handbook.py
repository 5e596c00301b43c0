"""The contracts as a document for people: what messages mean, what is in them, who emits and reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from contracts.contract import Contract
from contracts.lock import Lock
from contracts.registry import Registry
from contracts.wording import expectation

__all__ = ["describe", "fields", "handbook"]

Users = Mapping[str, Sequence[str]]


def fields(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The properties of an object's schema: name, what is expected, whether required, description."""
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "expected": expectation(one),
            "required": name in required,
            "description": one.get("description", "") if isinstance(one, dict) else "",
        }
        for name, one in schema.get("properties", {}).items()
    ]


def describe(contract: Contract, lock: Lock, emitters: Users, readers: Users) -> dict[str, Any]:
    """Everything about one contract, for machines."""
    return {
        "type": contract.type,
        "id": contract.id,
        "description": contract.description,
        "path": str(contract.path) if contract.path else None,
        "digest": contract.digest,
        "revisions": [revision.digest for revision in lock.of(contract.type)],
        "fields": fields(contract.schema),
        "emitted_by": list(emitters.get(contract.type, ())),
        "read_by": list(readers.get(contract.type, ())),
        "examples": list(contract.examples),
        "schema": dict(contract.schema),
    }


def handbook(
    registry: Registry,
    lock: Lock,
    emitters: Users | None = None,
    readers: Users | None = None,
    *,
    only: str | None = None,
) -> str:
    """All contracts as Markdown, or one of them. Raises UnknownContract when that one is not there."""
    parts = ["# Contracts\n"] if only is None else []
    for contract in registry.contracts() if only is None else [registry.contract(only)]:
        parts.append("\n".join(_chapter(contract, lock, emitters or {}, readers or {})))
    return "\n".join(parts)


def _chapter(contract: Contract, lock: Lock, emitters: Users, readers: Users) -> Iterator[str]:
    yield f"## {contract.type}\n"
    yield f"{contract.description}\n"
    revisions = len(lock.of(contract.type))
    yield f"`{contract.id}`, " + (f"revision {revisions}.\n" if revisions else "not released yet.\n")
    for word, users in (("Emitted by", emitters), ("Read by", readers)):
        if users.get(contract.type):
            yield f"{word} {', '.join(users[contract.type])}.\n"
    rows = fields(contract.schema)
    if rows:
        yield "| property | expected | required | meaning |\n|---|---|---|---|"
        for row in rows:
            cells = [
                f"`{row['name']}`",
                row["expected"],
                "yes" if row["required"] else "",
                row["description"],
            ]
            yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        yield ""
    for example in contract.examples:
        text = orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()
        yield f"```json\n{text}\n```\n"
