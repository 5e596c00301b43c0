"""The registry: every contract by its type, checked when loaded and compiled once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
from referencing import Registry as Resources

from contracts.bounds import check_uri
from contracts.contract import Contract, check_metaschema, read_contract
from contracts.errors import ConfigurationError, ContractViolation, UnknownContract, Violation
from contracts.forms import reader_form
from contracts.judge import Judge, compile_schema, resources
from contracts.references import check_references, known_to
from contracts.subschemas import pointer
from contracts.upcasting import Upcasters
from contracts.violations import explain, explainer, shorten

__all__ = ["Contract", "Registry"]


@dataclass(frozen=True, slots=True)
class _Form:
    """A contract as its writers or its readers go by it."""

    contract: Contract
    judge: Judge
    known: Resources[Any]

    def validate(self, data: Any) -> None:
        """Raises ContractViolation."""
        try:
            if self.judge.is_valid(data):
                return
        except ValueError as error:
            # Not JSON at all: a datetime, a set, a key that is no text. It could not be sent either.
            raise ContractViolation(
                self.contract.type, [Violation("", f"JSON values only ({error})", shorten(data))]
            ) from error
        slow = explainer(self.contract.schema, self.known)
        raise ContractViolation(self.contract.type, explain(slow, self.judge, data))


@dataclass(frozen=True, slots=True)
class _Compiled:
    written: _Form
    read: _Form

    @property
    def contract(self) -> Contract:
        """The contract as it was written."""
        return self.written.contract


class Registry:
    """Contracts by type. Validation is read-only and safe from several threads; adding is not.

    Files are ``<domain>/<name>.v<major>.json`` below a folder: ``ride/booked.v1.json`` is
    ``ride.booked.v1``. They may refer to each other by ``$ref``, relative to their ``$id``.
    Nothing is fetched. ``upcasters`` carry data of an older major over to a newer one.
    """

    def __init__(self) -> None:
        self.upcasters = Upcasters()
        self._compiled: dict[str, _Compiled] = {}

    @classmethod
    def load(cls, *folders: Path) -> Registry:
        """The contracts of all files in the folders.

        Raises ConfigurationError for the first that is wrong: with the file, the place in it and what to do.
        """
        registry = cls()
        found: list[Contract] = []
        for folder in folders:
            if not folder.is_dir():
                raise ConfigurationError(f"{folder}: no such folder of contracts; correct the path")
            files = sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))
            found += (read_contract(path, folder) for path in files)
        registry._include(found, strict=True)
        return registry

    def types(self) -> list[str]:
        """Every type, sorted."""
        return sorted(self._compiled)

    def has(self, type: str) -> bool:
        """Whether there is a contract of that type."""
        return type in self._compiled

    def contract(self, type: str) -> Contract:
        """The contract of a type. Raises UnknownContract."""
        return self._find(type).contract

    def contracts(self) -> list[Contract]:
        """Every contract, sorted by type."""
        return [self._compiled[type].contract for type in self.types()]

    def schema(self, type: str) -> dict[str, Any]:
        """The JSON Schema of a type. Raises UnknownContract."""
        return dict(self._find(type).contract.schema)

    def validate(self, type: str, data: Any) -> None:
        """Whether this may be sent. Raises UnknownContract, or ContractViolation with each place that does
        not fit.
        """
        (self._compiled.get(type) or self._find(type)).written.validate(data)

    def validate_read(self, type: str, data: Any) -> None:
        """Whether this can be read. Its writer may know properties that are not in this contract yet, or any
        more (``contracts.forms.reader_form``). Raises as ``validate`` does.
        """
        (self._compiled.get(type) or self._find(type)).read.validate(data)

    def add(self, type: str, schema: Mapping[str, Any], *, id: str | None = None) -> Contract:
        """Adds a contract that is not a file: the schema of a model class.

        Adding the same again changes nothing. Raises ConfigurationError when the type is there with another
        schema, or the schema is wrong.
        """
        check_metaschema(schema, type)
        if id is not None:
            check_uri(id, f"{type}: the id")
        contract = Contract(
            type=type,
            id=id or schema.get("$id") or f"urn:antiphon:contract:{type}",
            schema=dict(schema),
            description=str(schema.get("description", "")),
            examples=tuple(schema.get("examples", ())),
        )
        self._include([contract], strict=False)
        return self._compiled[type].contract

    def merge(self, other: Registry) -> Registry:
        """Takes over every contract of the other, and returns itself.

        Raises ConfigurationError when both have a type with different schemas.
        """
        fresh = [one.contract for one in other._compiled.values() if not self._same(one.contract)]
        self._no_clash(fresh)
        self._compiled.update((contract.type, other._compiled[contract.type]) for contract in fresh)
        return self

    def _find(self, type: str) -> _Compiled:
        try:
            return self._compiled[type]
        except KeyError:
            known = ", ".join(self.types()[:20]) or "none"
            raise UnknownContract(
                f"no contract {type!r}; add its file to the contracts (known: {known})"
            ) from None

    def _same(self, contract: Contract) -> bool:
        there = self._compiled.get(contract.type)
        return there is not None and there.contract.digest == contract.digest

    def _no_clash(self, contracts: Iterable[Contract]) -> None:
        types = {type: compiled.contract for type, compiled in self._compiled.items()}
        ids = {contract.id: contract for contract in types.values()}
        for contract in contracts:
            for there in (types.get(contract.type), ids.get(contract.id)):
                if there is not None:
                    raise ConfigurationError(
                        f"{contract.where}: {contract.type} ({contract.id}) is already defined by "
                        f"{there.where}; give one of them another name and $id"
                    )
            types[contract.type] = ids[contract.id] = contract

    def _include(self, contracts: list[Contract], *, strict: bool) -> None:
        fresh = [contract for contract in contracts if not self._same(contract)]
        self._no_clash(fresh)
        there = list(self._compiled.values())
        as_written = [one.contract for one in there] + fresh
        opened = [replace(one, schema=reader_form(one.schema)) for one in fresh]
        as_read = [one.read.contract for one in there] + opened
        known = known_to(as_written)
        for contract in fresh:
            check_references(contract, known)
        written = _forms(fresh, as_written, known, strict=strict)
        read = written
        if any(one.schema != other.schema for one, other in zip(as_read, as_written, strict=True)):
            read = _forms(opened, as_read, known_to(as_read), strict=strict)
        for contract in fresh:
            _check_examples(written[contract.type])
            compiled = _Compiled(written[contract.type], read[contract.type])
            self._compiled[contract.type] = compiled


def _forms(
    some: Iterable[Contract], everything: Iterable[Contract], known: Resources[Any], *, strict: bool
) -> dict[str, _Form]:
    """Some of the contracts compiled, by type; they may refer to every one."""
    library = resources({contract.id: dict(contract.schema) for contract in everything})
    return {one.type: _Form(one, _compile(one, library, strict=strict), known) for one in some}


def _compile(contract: Contract, library: jsonschema_rs.Registry, *, strict: bool) -> Judge:
    # Its own $id, so that a schema without one resolves its references like one that has it.
    schema = {"$id": contract.id, **contract.schema}
    try:
        return compile_schema(schema, library, strict=strict)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        message = getattr(error, "message", str(error))
        place = pointer(*getattr(error, "schema_path", ())) or "/"
        raise ConfigurationError(f"{contract.where} at {place}: {message}; correct it there") from error


def _check_examples(form: _Form) -> None:
    contract = form.contract
    for index, example in enumerate(contract.examples):
        if not form.judge.is_valid(example):
            slow = explainer(contract.schema, form.known)
            first = explain(slow, form.judge, example)[0]
            raise ConfigurationError(
                f"{contract.where} at /examples/{index}: the example does not fit its own schema {first}; "
                "correct the example or the schema"
            )
