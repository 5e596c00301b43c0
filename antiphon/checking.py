"""What can be known to be wrong with an app before anything runs: the whole system, from the app alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from antiphon.app import App
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Command, Emit, Step, Wait

__all__ = ["Finding", "check_app", "map_of"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (``error``) or looks so (``warning``), where, and what to do."""

    code: str
    level: Literal["error", "warning"]
    where: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def check_app(app: App) -> list[Finding]:
    """Every finding, flows first."""
    return [
        *(finding for flow in app.flows for finding in _check_flow(app, flow)),
        *_check_reactors(app),
        *_check_services(app),
    ]


def map_of(app: App) -> dict[str, Any]:
    """Who emits what, who reads it, and which flow asks which service."""
    return {
        "app": app.name,
        "flows": [
            {
                "name": flow.name,
                "version": flow.version,
                "input": flow.input_type,
                "steps": list(flow.plan.places),
                "emits": sorted({node.type for node in _emits(flow)}),
                "waits_for": sorted({wait.type for wait in flow.plan.waits()}),
                "asks": sorted({step.at for step in _steps(flow) if step.at}),
            }
            for flow in app.flows
        ],
        "reactors": [{"name": reactor.name, "reacts_to": list(reactor.types)} for reactor in app.reactors],
        "services": [{"name": s.name, "handles": sorted(s.handlers)} for s in app.services],
        "contracts": app.registry.types(),
    }


def _check_flow(app: App, flow: Flow) -> Iterator[Finding]:
    where = f"flow {flow.name} v{flow.version}"
    if not app.registry.has(flow.input_type):
        yield _no_contract(where, flow.input_type, "its input")
    for emit in _emits(flow):
        if not app.registry.has(emit.type):
            yield _no_contract(f"{where}, {emit.name!r}", emit.type, "the event")
        elif not any(emit.type in reactor.types for reactor in app.reactors):
            yield Finding(
                "nobody-reacts",
                "warning",
                f"{where}, {emit.name!r}",
                f"no reactor of this app reads {emit.type}",
            )
    for wait in flow.plan.waits():
        if wait.by is not None and not app.registry.has(wait.type):
            yield _no_contract(f"{where}, {wait.name!r}", wait.type, "the awaited event")
    for name, place in flow.plan.places.items():
        node = place.node
        if isinstance(node, Step):
            yield from _check_step(app, flow, node, pivoted=place.pivoted, where=f"{where}, step {name!r}")
        elif isinstance(node, Call) and app.catalog.find(node.flow, node.version or 0) is None:
            yield Finding("unknown-flow", "error", f"{where}, {name!r}", f"there is no flow {node.flow!r}")


def _check_step(app: App, flow: Flow, step: Step, *, pivoted: bool, where: str) -> Iterator[Finding]:
    result = flow.result_type(step.name)
    if result is not None and not app.registry.has(result):
        yield _no_contract(where, result, "its result")
    if step.compensate is None and not step.pivot and not pivoted and _has_later_steps(flow, step):
        yield Finding(
            "no-compensation",
            "warning",
            where,
            "comes before the pivot and can't be undone: give it compensate=, unless it changes nothing",
        )
    commands = [command for command in (step.command, step.compensate) if isinstance(command, Command)]
    for command in commands:
        if not app.registry.has(command.type):
            yield _no_contract(where, command.type, "the command")
        handled = [s for s in app.services if s.name == step.at and command.type in s.handlers]
        known = [s for s in app.services if s.name == step.at]
        if known and not handled:
            yield Finding(
                "unhandled-command", "error", where, f"service {step.at!r} does not handle {command.type}"
            )
        elif not known:
            yield Finding(
                "unknown-service",
                "warning",
                where,
                f"this app has no service {step.at!r}; it must run elsewhere",
            )


def _check_reactors(app: App) -> Iterator[Finding]:
    emitted = {node.type for flow in app.flows for node in _emits(flow)}
    for reactor in app.reactors:
        where = f"reactor {reactor.name} ({reactor.declared_at})"
        for type in reactor.types:
            if not app.registry.has(type):
                yield _no_contract(where, type, "the event")
            elif type not in emitted:
                yield Finding(
                    "nobody-emits",
                    "warning",
                    where,
                    f"no flow of this app emits {type}; it must come from outside",
                )


def _check_services(app: App) -> Iterator[Finding]:
    for service in app.services:
        for handler in service.handlers.values():
            where = f"service {service.name} ({handler.declared_at})"
            for type in (handler.type, handler.reply):
                if type is not None and not app.registry.has(type):
                    yield _no_contract(where, type, "the command or its reply")


def _no_contract(where: str, type: str, what: str) -> Finding:
    return Finding(
        "no-contract", "error", where, f"{what} {type!r} has no contract: add its file to the contracts"
    )


def _emits(flow: Flow) -> Iterator[Emit]:
    for place in flow.plan.places.values():
        if isinstance(place.node, Emit):
            yield place.node
    yield from flow.plan.on_failure


def _steps(flow: Flow) -> Iterator[Step]:
    return (place.node for place in flow.plan.places.values() if isinstance(place.node, Step))


def _has_later_steps(flow: Flow, step: Step) -> bool:
    position = flow.plan.places[step.name].position
    return any(
        place.position > position and isinstance(place.node, Step | Wait | Call)
        for place in flow.plan.places.values()
    )
