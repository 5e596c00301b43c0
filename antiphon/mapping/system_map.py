"""The map of an app as data: flows with their nodes, events, reactors, services and contracts."""

from __future__ import annotations

from typing import Any

from antiphon.app import App
from antiphon.checking.system import System, commands_of, emits_of
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Step

__all__ = ["system_map"]


def system_map(app: App) -> dict[str, Any]:
    """Who emits what, who listens, which flow asks which service, and what each message's contract is."""
    system = System(app)
    return {
        "app": app.name,
        "flows": [_flow(system, flow) for flow in app.flows],
        "events": [_event(system, type) for type in sorted({*system.emitted, *system.read})],
        "reactors": [
            {
                "name": reactor.name,
                "declared_at": reactor.declared_at,
                "reacts_to": list(reactor.types),
                "emits": list(system.reactor_emits[reactor.name]),
            }
            for reactor in app.reactors
        ],
        "services": [
            {
                "name": service.name,
                "handles": [
                    {"command": one.type, "reply": one.reply, "declared_at": one.declared_at}
                    for _, one in sorted(service.handlers.items())
                ],
            }
            for service in app.services
        ],
        "contracts": [
            {
                "type": contract.type,
                "id": contract.id,
                "path": None if contract.path is None else str(contract.path),
                "description": contract.description,
            }
            for contract in app.registry.contracts()
        ],
    }


def _flow(system: System, flow: Flow) -> dict[str, Any]:
    graph = flow.graph()
    places = [place.node for place in flow.plan.places.values()]
    return {
        "name": flow.name,
        "version": flow.version,
        "declared_at": flow.declared_at,
        "input": flow.input_type,
        "steps": [
            {"name": one.id, "kind": one.kind, "detail": one.detail}
            for one in graph.nodes
            if one.kind not in ("start", "end")
        ],
        "edges": [{"from": one.source, "to": one.target, "label": one.label} for one in graph.edges],
        "emits": sorted({emit.type for emit in emits_of(flow)}),
        "waits_for": sorted({wait.type for wait in flow.plan.waits()}),
        "asks": [
            {"service": node.at, "command": command.type, "reply": system.result_type(flow, node)}
            for node in places
            if isinstance(node, Step) and node.at
            for command in commands_of(node)
        ],
        "calls": sorted({node.flow for node in places if isinstance(node, Call)}),
    }


def _event(system: System, type: str) -> dict[str, Any]:
    return {
        "type": type,
        "external": type in system.app.external,
        "emitted_by": [spot.what for spot in system.emitted.get(type, ())],
        "read_by": [spot.what for spot in system.read.get(type, ())],
    }
