"""The map as a Mermaid flowchart: flows as boxes of nodes, and the events between them and the reactors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

__all__ = ["mermaid"]

_SHAPES = {
    "start": ('(("', '"))'),
    "end": ('(("', '"))'),
    "when": ('{"', '"}'),
    "parallel": ('[["', '"]]'),
    "join": ('[["', '"]]'),
    "wait": ('(["', '"])'),
    "sleep": ('(["', '"])'),
    "emit": ('>"', '"]'),
}


def mermaid(found: dict[str, Any]) -> str:
    """The source of the chart."""
    return "\n".join(["flowchart TD", *_lines(found)]) + "\n"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for flow in found["flows"]:
        yield from _flow(flow)
    for event in found["events"]:
        yield f"  {_id('event', event['type'])}{{{{{_text(event['type'])}}}}}"
    for reactor in found["reactors"]:
        here = _id("reactor", reactor["name"])
        yield f"  {here}[/{_text(reactor['name'])}/]"
        yield from (f"  {_id('event', type)} --> {here}" for type in reactor["reacts_to"])
        yield from (f"  {here} --> {_id('event', type)}" for type in reactor["emits"])
    for service in found["services"]:
        yield f"  {_id('service', service['name'])}[({_text(service['name'])})]"


def _flow(flow: dict[str, Any]) -> Iterator[str]:
    named = f"{flow['name']} v{flow['version']}"
    yield f"  subgraph {_id('flow', named)}[{_text(named)}]"
    for node in _nodes(flow):
        before, after = _SHAPES.get(node["kind"], ('["', '"]'))
        yield f"    {_id(named, node['name'])}{before}{_plain(node['name'])}{after}"
    for edge in flow["edges"]:
        label = f"|{_text(edge['label'])}|" if edge["label"] else ""
        yield f"    {_id(named, edge['from'])} -->{label} {_id(named, edge['to'])}"
    yield "  end"
    for type in flow["emits"]:
        yield f"  {_id('flow', named)} --> {_id('event', type)}"
    for type in flow["waits_for"]:
        if not type.startswith("signal:"):
            yield f"  {_id('event', type)} --> {_id('flow', named)}"
    for asked in dict.fromkeys(one["service"] for one in flow["asks"]):
        yield f"  {_id('flow', named)} -.-> {_id('service', asked)}"


def _nodes(flow: dict[str, Any]) -> Iterator[dict[str, str]]:
    known = {step["name"]: step for step in flow["steps"]}
    names = dict.fromkeys(name for edge in flow["edges"] for name in (edge["from"], edge["to"]))
    for name in names:
        yield known.get(name) or {"name": name, "kind": "start" if name == "(start)" else "end"}


def _id(kind: str, name: str) -> str:
    """Mermaid has reserved words and characters: an id of our own, the same each time."""
    return f"n{hashlib.sha256(f'{kind}/{name}'.encode()).hexdigest()[:12]}"


def _text(text: str) -> str:
    return f'"{_plain(text)}"'


def _plain(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
