"""The lock: each released revision of each contract, with its digest, in ``contracts.lock`` beside them.

A released contract that is edited in place is seen, and told from a revision that is released by ``lock``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from contracts.contract import Contract, digest_of
from contracts.errors import ConfigurationError

__all__ = ["LOCK_FILE", "Lock", "Revision"]

LOCK_FILE = "contracts.lock"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Revision:
    """One released revision: SHA-256 in hex over the schema's canonical JSON, and the schema."""

    digest: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lock:
    """Released revisions by type, oldest first."""

    revisions: Mapping[str, tuple[Revision, ...]]

    @classmethod
    def read(cls, path: Path) -> Lock:
        """The lock in a file; an empty one where there is no file.

        Raises ConfigurationError when the file is no lock, or a schema in it is not the one that was
        released.
        """
        if not path.exists():
            return cls({})
        try:
            document = orjson.loads(path.read_bytes())
            if document["version"] != _VERSION:
                raise ConfigurationError(
                    f"{path}: a lock of version {document['version']}, this reads {_VERSION}; update Antiphon"
                )
            revisions = {
                str(type): tuple(Revision(str(one["digest"]), dict(one["schema"])) for one in listed)
                for type, listed in document["contracts"].items()
            }
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"{path}: not a lock of contracts ({error!r}); restore it from git"
            ) from error
        _refuse_edited(revisions, path)
        return cls(revisions)

    def write(self, path: Path) -> None:
        """Writes the file whole, or not at all."""
        document = {
            "version": _VERSION,
            "contracts": {
                type: [{"digest": one.digest, "schema": one.schema} for one in revisions]
                for type, revisions in sorted(self.revisions.items())
            },
        }
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        beside.replace(path)

    def of(self, type: str) -> tuple[Revision, ...]:
        """The released revisions of a type, oldest first."""
        return self.revisions.get(type, ())

    def with_released(self, contracts: Iterable[Contract]) -> Lock:
        """A lock in which the contracts, as they are now, are released too."""
        revisions = dict(self.revisions)
        for contract in contracts:
            released = revisions.get(contract.type, ())
            if not released or released[-1].digest != contract.digest:
                revisions[contract.type] = (*released, Revision(contract.digest, dict(contract.schema)))
        return Lock(revisions)


def _refuse_edited(revisions: Mapping[str, tuple[Revision, ...]], path: Path) -> None:
    for type, released in revisions.items():
        for number, revision in enumerate(released, start=1):
            if digest_of(revision.schema) != revision.digest:
                raise ConfigurationError(
                    f"{path}: revision {number} of {type} was edited after its release; restore it from git"
                )
