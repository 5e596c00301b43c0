"""What contracts refer to: each ``$ref`` leads to something that is here, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry as Resources
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from contracts.bounds import check_effort
from contracts.contract import Contract
from contracts.errors import ConfigurationError
from contracts.subschemas import subschemas

__all__ = ["check_references", "known_to"]


def known_to(contracts: Iterable[Contract]) -> Resources[Any]:
    """What references may lead to: these contracts and the published meta-schemas. Nothing is fetched."""
    # Without "$schema": where a reference leads to a named draft, jsonschema would change to its plain class.
    named = (
        (
            contract.id,
            DRAFT202012.create_resource({k: v for k, v in contract.schema.items() if k != "$schema"}),
        )
        for contract in contracts
    )
    published: Resources[Any] = REGISTRY
    return published.with_resources(named).crawl()


def check_references(contract: Contract, known: Resources[Any]) -> None:
    """Raises ConfigurationError, with file and pointer: a reference leads nowhere, or round in circles."""
    bases: list[tuple[str, str]] = [("", contract.id)]
    for place, schema in subschemas(contract.schema):
        if not isinstance(schema, dict):
            continue
        while not f"{place}/".startswith(f"{bases[-1][0]}/"):
            bases.pop()
        if place and isinstance(schema.get("$id"), str):
            bases.append((place, urljoin(bases[-1][1], schema["$id"])))
        resolver = known.resolver(base_uri=bases[-1][1])
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(keyword), str):
                _resolve(resolver, schema[keyword], f"{contract.where} at {place}/{keyword}")
    check_effort(contract.schema, known.resolver(base_uri=contract.id), contract.where)


def _resolve(resolver: Any, reference: str, where: str) -> None:
    try:
        resolver.lookup(reference)
    except Unresolvable as error:
        raise ConfigurationError(
            f"{where}: {reference} leads to no contract here, and nothing is fetched; "
            "add that file to the contracts, or correct the reference"
        ) from error
