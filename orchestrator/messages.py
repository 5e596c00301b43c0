"""The contracts of what travels to partitions: our own boundary, held like any other."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from contracts.errors import MalformedMessage

__all__ = ["check_message"]

_TEXT = {"type": "string"}
# What becomes a column or a key: PostgreSQL takes no NUL in text.
_ID = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^[^\x00]*$"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_OBJECT = {"type": ["object", "null"]}
_ANY: dict[str, Any] = {}
_PARENT = {
    "type": ["object", "null"],
    "properties": {
        "run_id": _ID,
        "node": _ID,
        "partition": {"type": "integer", "minimum": 0},
        "child": _ID,  # of one that was made again: the id that the call knows
    },
    "required": ["run_id", "node", "partition"],
}
_ERROR = {
    "type": ["object", "null"],
    "properties": {"code": _TEXT, "message": _TEXT, "node": _MAYBE_TEXT},
    "required": ["code", "message"],
}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


_ASKED = {"run_id": _ID, "reason": _TEXT, "actor": _TEXT}
_START = {
    "run_id": _ID,
    "flow": _ID,
    "version": {"type": "integer", "minimum": 1},
    "key": _ID,
    "input": {"type": "object"},
    "input_digest": _ID,
    "parent": _PARENT,
    "linked_from": _MAYBE_TEXT,
    "begin_at": _MAYBE_TEXT,
    "results": _MAYBE_OBJECT,
}
# What a start by itself says in the attributes of its event.
_IN_COMPANY = {
    "id": _TEXT,
    "correlation": _TEXT,
    "causation": _MAYBE_TEXT,
    "traceparent": _MAYBE_TEXT,
    "answer_to": _MAYBE_TEXT,
}

_SCHEMAS: dict[str, dict[str, Any]] = {
    "antiphon.start.v1": _object(_START),
    "antiphon.starts.v1": _object(
        {"starts": {"type": "array", "minItems": 1, "items": _object({**_START, **_IN_COMPANY})}}
    ),
    "antiphon.event.v1": _object({"run_id": _ID, "type": _ID, "data": _ANY}),
    "antiphon.signal.v1": _object({"run_id": _ID, "name": _ID, "data": _ANY, "actor": _TEXT}),
    "antiphon.cancel.v1": _object(_ASKED, {"parent": _MAYBE_TEXT}),
    "antiphon.retry.v1": _object(
        _ASKED, {"from_node": _MAYBE_TEXT, "rerun": {"type": ["integer", "null"], "minimum": 0}}
    ),
    "antiphon.pause.v1": _object(_ASKED),
    "antiphon.resume.v1": _object(_ASKED),
    "antiphon.migrate.v1": _object(
        {
            **_ASKED,
            "to": {"type": "integer", "minimum": 1},
            "renames": {"type": "object", "additionalProperties": _ID, "propertyNames": _ID},
            "without": {"type": "array", "items": _ID},
        }
    ),
    "antiphon.child.v1": _object(
        {"run_id": _ID, "node": _ID, "child": _ID, "status": _ID, "result": _ANY, "error": _ERROR}
    ),
    "antiphon.reply.v1": {
        "type": "object",
        "properties": {
            "outcome": {"enum": ["done", "refused", "failed"]},
            "error": _ERROR,
            "retry_after": {"type": ["number", "null"]},
        },
        "required": ["outcome"],
        "if": {"properties": {"outcome": {"const": "done"}}},
        "then": {"required": ["result"]},
        "else": {"required": ["error"], "properties": {"error": {"type": "object"}}},
    },
}
_VALIDATORS = {type: jsonschema_rs.validator_for(schema) for type, schema in _SCHEMAS.items()}


def check_message(type: str, data: Any) -> None:
    """Raises MalformedMessage when a partition's message is not as its kind must be."""
    validator = _VALIDATORS.get(type)
    if validator is None:
        raise MalformedMessage(f"a partition takes no {type!r}")
    if validator.is_valid(data):
        return
    first = next(iter(validator.iter_errors(data)))
    place = "/" + "/".join(str(part) for part in first.instance_path)
    raise MalformedMessage(f"{type}: at {place}: {first.message[:500]}")
