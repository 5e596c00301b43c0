"""The app as the check sees it: its contracts as schemas, and who emits, reads, asks and answers."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from antiphon.app import App
from antiphon.checking.finding import Spot
from antiphon.checking.shapes import Library
from contracts.compatibility import Verdict, compare
from contracts.forms import writer_form
from orchestrator.flow import Flow
from orchestrator.nodes import Command, Emit, Node, Step
from reactors.reactor import Reactor
from reactors.service import CommandHandler

__all__ = [
    "System",
    "commands_of",
    "emits_of",
    "flow_spot",
    "handler_spot",
    "literal_emits",
    "node_spot",
    "reactor_spot",
]

_SECONDS = 3.0


@dataclass(frozen=True)
class System:
    """One app, looked at from all sides."""

    app: App

    @cached_property
    def library(self) -> Library:
        """Every contract; a model's is closed, for it writes what it declares and nothing else."""
        return Library(
            {
                contract.id: contract.schema if contract.path else writer_form(contract.schema)
                for contract in self.app.registry.contracts()
            }
        )

    @cached_property
    def _readers(self) -> dict[str, Any]:
        return {contract.id: contract.schema for contract in self.app.registry.contracts()}

    def uri(self, type: str) -> str | None:
        """The ``$id`` of a type's contract; None when it has none."""
        return self.app.registry.contract(type).id if self.app.registry.has(type) else None

    def compare(self, writer: Any, reader: Any) -> Verdict:
        """Whether all that the one schema allows is allowed by the other. Both may refer to contracts."""
        return compare(
            writer,
            reader,
            writer_resources=self.library.resources,
            reader_resources=self._readers,
            seconds=_SECONDS,
        )

    def handler(self, service: str | None, command: str) -> CommandHandler | None:
        """What does a command at a service of this app."""
        for one in self.app.services:
            if one.name == service:
                return one.handlers.get(command)
        return None

    def result_type(self, flow: Flow, step: Step) -> str | None:
        """The contract of a step's result: its own, or that of the service's reply."""
        declared = flow.result_type(step.name)
        if declared is not None or step.command is None:
            return declared
        handler = self.handler(step.at, step.command.type)
        return handler.reply if handler is not None else None

    @cached_property
    def reactor_emits(self) -> dict[str, tuple[str, ...]]:
        """What each reactor emits: as declared, or as far as its own text shows."""
        return {
            reactor.name: literal_emits(reactor) if reactor.emits is None else reactor.emits
            for reactor in self.app.reactors
        }

    @cached_property
    def emitted(self) -> dict[str, list[Spot]]:
        """Who emits each type, flows first."""
        found: dict[str, list[Spot]] = {}
        for flow in self.app.flows:
            for emit in emits_of(flow):
                found.setdefault(emit.type, []).append(node_spot(flow, emit))
        for reactor in self.app.reactors:
            for type in self.reactor_emits[reactor.name]:
                found.setdefault(type, []).append(reactor_spot(reactor))
        return found

    @cached_property
    def read(self) -> dict[str, list[Spot]]:
        """Who listens for each type: reactors, and flows that wait for it."""
        found: dict[str, list[Spot]] = {}
        for flow in self.app.flows:
            for wait in flow.plan.waits():
                if wait.by is not None:
                    for type in (wait.type, *self.app.registry.upcasters.leading_to([wait.type])):
                        found.setdefault(type, []).append(node_spot(flow, wait))
        for reactor in self.app.reactors:
            for type in (*reactor.types, *reactor.older):
                found.setdefault(type, []).append(reactor_spot(reactor))
        return found

    @cached_property
    def asked(self) -> dict[tuple[str, str], list[Spot]]:
        """Who sends each command, by service and type."""
        found: dict[tuple[str, str], list[Spot]] = {}
        for flow in self.app.flows:
            for place in flow.plan.places.values():
                node = place.node
                if isinstance(node, Step) and node.at:
                    for command in commands_of(node):
                        found.setdefault((node.at, command.type), []).append(node_spot(flow, node))
        return found


def flow_spot(flow: Flow) -> Spot:
    """A flow, where it was written."""
    return Spot(f"flow {flow.name} v{flow.version}", flow.declared_at)


def node_spot(flow: Flow, node: Node) -> Spot:
    """A node of a flow, where it was written."""
    kind = type(node).__name__.lower()
    named = (
        repr(node.name) if not node.name.startswith(f"{kind} ") else f"{node.name.removeprefix(kind)[1:]!r}"
    )
    return flow_spot(flow).inside(f"{kind} {named}", node.declared_at)


def reactor_spot(reactor: Reactor) -> Spot:
    """A reactor, where it was written."""
    return Spot(f"reactor {reactor.name}", reactor.declared_at)


def handler_spot(service: str, handler: CommandHandler) -> Spot:
    """A handler of a service, where it was written."""
    return Spot(f"service {service}, handler of {handler.type}", handler.declared_at)


def commands_of(step: Step) -> list[Command]:
    """The command of a step at a service, and that of its compensation."""
    return [one for one in (step.command, step.compensate) if isinstance(one, Command)]


def emits_of(flow: Flow) -> Iterator[Emit]:
    """Every event that a flow emits, those of its failure last."""
    for place in flow.plan.places.values():
        if isinstance(place.node, Emit):
            yield place.node
    yield from flow.plan.on_failure


def literal_emits(reactor: Reactor) -> tuple[str, ...]:
    """The types that a handler's own text shows: ``ctx.emit("…", …)``. What it calls is not looked into."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(reactor.handler.function)))
    except (OSError, TypeError, SyntaxError):
        return ()  # written where there is no file, as at a prompt: then nothing is known
    types = [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "emit"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]
    return tuple(dict.fromkeys(types))
