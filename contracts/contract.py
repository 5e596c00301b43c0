"""One contract, and how it is read from its file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from contracts.bounds import check_form, check_uris
from contracts.errors import ConfigurationError
from contracts.judge import DRAFT
from contracts.subschemas import pointer

__all__ = ["Contract", "check_metaschema", "digest_of", "read_contract", "type_of"]

_STEM = re.compile(r"[a-z][a-z0-9_-]*\.v[1-9][0-9]*")
_FOLDER = re.compile(r"[a-z][a-z0-9_-]*")
_VERSIONED = re.compile(r"(?P<name>.+)\.v(?P<major>[1-9][0-9]*)")


@dataclass(frozen=True)
class Contract:
    """The JSON Schema (2020-12) of one event, command or flow input.

    ``type`` is ``<domain>.<name>.v<major>``; ``id`` the schema's ``$id``, an event's ``dataschema``;
    ``path`` is None for one that was declared by a model class.
    """

    type: str
    id: str
    schema: Mapping[str, Any]
    path: Path | None = None
    description: str = ""
    examples: tuple[Any, ...] = field(default=())

    @property
    def where(self) -> str:
        """The file, or the type where there is none: for messages."""
        return str(self.path) if self.path else self.type

    @property
    def name(self) -> str:
        """The type without its major: ``ride.booked`` of ``ride.booked.v1``."""
        match = _VERSIONED.fullmatch(self.type)
        return match["name"] if match else self.type

    @property
    def major(self) -> int:
        """The major of the type: 1 of ``ride.booked.v1``; 1 for a type that names none."""
        match = _VERSIONED.fullmatch(self.type)
        return int(match["major"]) if match else 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the schema's canonical JSON; see ``digest_of``."""
        return digest_of(self.schema)


def digest_of(schema: Mapping[str, Any]) -> str:
    """SHA-256 of a schema in hex, the same whatever its white space and the order of its keys."""
    text = jsonschema_rs.canonical.json.to_string(dict(schema))
    return hashlib.sha256(text.encode()).hexdigest()


def type_of(path: Path, folder: Path) -> str:
    """The type that a file's place says. Raises ConfigurationError when the place says none."""
    *folders, _ = parts = path.relative_to(folder).parts
    if not folders or not all(map(_FOLDER.fullmatch, folders)) or not _STEM.fullmatch(path.stem):
        raise ConfigurationError(
            f"{path}: not the name of a contract; name it {folder.name}/<domain>/<name>.v<major>.json "
            f"in lower case, as in {folder.name}/ride/booked.v1.json for ride.booked.v1"
        )
    return ".".join([*parts[:-1], path.stem])


def read_contract(path: Path, folder: Path) -> Contract:
    """The contract in a file, its form checked but not yet compiled.

    Raises ConfigurationError that names the file, the place in it and what to do.
    """
    type = type_of(path, folder)
    try:
        schema = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read ({error.strerror}); check its permissions"
        ) from error
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}; correct it there") from error
    if not isinstance(schema, dict):
        raise ConfigurationError(f"{path}: a contract is a JSON object with $id, description and its schema")
    check_metaschema(schema, str(path))
    return Contract(
        type=type,
        id=_identifier(schema, path, type),
        schema=schema,
        path=path,
        description=_description(schema, path),
        examples=tuple(_examples(schema, path)),
    )


def check_metaschema(schema: Mapping[str, Any], where: str) -> None:
    """Raises ConfigurationError when a schema is no JSON Schema 2020-12, or beyond ``contracts.bounds``."""
    check_form(schema, where)
    draft = schema.get("$schema", DRAFT)
    if not isinstance(draft, str) or draft.rstrip("#") != DRAFT:
        raise ConfigurationError(
            f"{where} at /$schema: contracts are written in {DRAFT}, this one in {draft}; convert it"
        )
    try:
        jsonschema_rs.meta.validate(dict(schema))
    except jsonschema_rs.ValidationError as error:
        place = pointer(*error.instance_path) or "/"
        raise ConfigurationError(
            f"{where} at {place}: not JSON Schema 2020-12: {error.message}; correct it there"
        ) from error
    check_uris(schema, where)


def _identifier(schema: Mapping[str, Any], path: Path, type: str) -> str:
    identifier = schema.get("$id")
    if not isinstance(identifier, str) or ":" not in identifier or "#" in identifier:
        raise ConfigurationError(
            f"{path} at /$id: a contract is known by an absolute URI without fragment; add for example "
            f'"$id": "https://example.com/contracts/{type}"'
        )
    return identifier


def _description(schema: Mapping[str, Any], path: Path) -> str:
    description = schema.get("description")
    if not isinstance(description, str) or not description.strip():
        raise ConfigurationError(
            f'{path} at /description: say in a sentence what this message means ("description")'
        )
    return description


def _examples(schema: Mapping[str, Any], path: Path) -> list[Any]:
    examples = schema.get("examples")
    if not isinstance(examples, list) or not examples:
        raise ConfigurationError(
            f'{path} at /examples: add at least one example of the message ("examples": [...])'
        )
    return examples
