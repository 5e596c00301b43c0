"""The map as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["text"]


def text(found: dict[str, Any]) -> str:
    """A paragraph for each flow, then events, reactors and services."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"app {found['app']}"
    for flow in found["flows"]:
        yield f"\nflow {flow['name']} v{flow['version']}, from {flow['input']}"
        for step in flow["steps"]:
            yield f"  {step['kind']:8} {step['name']}{'  (' + step['detail'] + ')' if step['detail'] else ''}"
    yield "\nevents"
    for event in found["events"]:
        yield f"  {event['type']}{' (external)' if event['external'] else ''}"
        for word, names in (("from", event["emitted_by"]), ("to", event["read_by"])):
            for name in names:
                yield f"    {word:4} {name}"
    if found["reactors"]:
        yield "\nreactors"
    for reactor in found["reactors"]:
        emits = f" -> {', '.join(reactor['emits'])}" if reactor["emits"] else ""
        yield f"  {reactor['name']}: {', '.join(reactor['reacts_to'])}{emits}"
    if found["services"]:
        yield "\nservices"
    for service in found["services"]:
        for one in service["handles"]:
            yield f"  {service['name']}: {one['command']}{' -> ' + one['reply'] if one['reply'] else ''}"
    yield "\ncontracts"
    for contract in found["contracts"]:
        yield f"  {contract['type']}"
