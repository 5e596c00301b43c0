"""What a test does to the user's own functions: others in their place, failures, a death in their midst."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from antiphon.app import App
from antiphon.testing.place import Place
from contracts.errors import ConfigurationError, Terminal
from orchestrator.nodes import Command, Step
from reactors.reactor import Reactor
from reactors.service import CommandHandler, Service

__all__ = ["Doubles", "Part"]

Kind = Literal["step", "undo", "reactor", "command"]


@dataclass
class Part:
    """One function of the app, by what it is there: a step, what undoes it, a reactor, or a command."""

    kind: Kind
    name: str
    calls: int = 0
    stand_in: Callable[..., Any] | None = None
    failures: list[Exception] = field(default_factory=list)
    deaths: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Doubles:
    """Every function of an app, and what is to become of it."""

    def __init__(self, app: App, stand_ins: Mapping[str, Callable[..., Any]]) -> None:
        self._parts = {str(part): part for part in _parts_of(app)}
        for name, function in stand_ins.items():
            self.find(name).stand_in = function

    def find(self, name: str) -> Part:
        """The part of that name: ``charge``, or ``undo:charge`` where several have it.

        A step goes before what undoes it. Raises ConfigurationError when there is none, or are several.
        """
        if name in self._parts:
            return self._parts[name]
        found = [part for part in self._parts.values() if part.name == name and part.kind != "undo"]
        if len(found) == 1:
            return found[0]
        known = ", ".join(str(part) for part in found) or ", ".join(self._parts) or "nothing"
        what = "several parts are called" if found else "the app has no step, reactor or command"
        raise ConfigurationError(f"{what} {name!r}; there are: {known}")

    def step(self, place: Place, name: str, back: bool, function: Callable[..., Any]) -> Callable[..., Any]:
        """What runs instead of the function of a step."""
        return self._instead(place, self._parts[f"{'undo' if back else 'step'}:{name}"], function)

    def reactors(self, place: Place, app: App) -> list[Reactor]:
        """The app's reactors, as they run in this place."""
        return [
            replace(
                each,
                handler=replace(
                    each.handler,
                    function=self._instead(place, self._parts[f"reactor:{each.name}"], each.handler.function),
                ),
            )
            for each in app.reactors
        ]

    def services(self, place: Place, app: App) -> list[Service]:
        """The app's services, as they run in this place, and one for each that runs elsewhere."""

        def double(each: CommandHandler) -> CommandHandler:
            part = self._parts[f"command:{each.type}"]
            function = self._instead(place, part, each.handler.function)
            return replace(each, handler=replace(each.handler, function=function))

        found = []
        here = {service.name: service for service in app.services}
        for name, commands in _commands_of(app).items():
            service = (here.get(name) or Service(name)).changed(lambda each: each)
            for command in commands:
                if command not in service.handlers:
                    service.handles(command)(_nobody(command))
            found.append(service.changed(double))
        return found

    def _instead(self, place: Place, part: Part, function: Callable[..., Any]) -> Callable[..., Any]:
        async def instead(*given: Any) -> Any:
            part.calls += 1
            if part.failures:
                raise part.failures.pop(0)
            result = (part.stand_in or function)(*given)
            if isinstance(result, Awaitable):
                result = await result
            if part.deaths > 0:
                part.deaths -= 1
                place.kill(f"after {part}, before anybody knew of it")
                await asyncio.get_running_loop().create_future()
            return result

        return instead


def _nobody(command: str) -> Callable[..., Any]:
    async def handle(data: Any, context: Any) -> Any:
        raise Terminal(
            f"{command} is for a service that runs elsewhere: say what it does with "
            f"stand_ins={{{command!r}: function}}",
            code="no_stand_in",
        )

    return handle


def _parts_of(app: App) -> Iterator[Part]:
    for flow in app.flows:
        for name, found in flow.plan.places.items():
            node = found.node
            if not isinstance(node, Step):
                continue
            if node.run is not None:
                yield Part("step", name)
            if node.compensate is not None and not isinstance(node.compensate, Command):
                yield Part("undo", name)
    for reactor in app.reactors:
        yield Part("reactor", reactor.name)
    for commands in _commands_of(app).values():
        for command in commands:
            yield Part("command", command)


def _commands_of(app: App) -> dict[str, list[str]]:
    """The commands of each service, those that run elsewhere too."""
    found: dict[str, dict[str, None]] = {
        service.name: dict.fromkeys(service.handlers) for service in app.services
    }
    for flow in app.flows:
        for place in flow.plan.places.values():
            node = place.node
            if isinstance(node, Step) and node.at is not None:
                sent = [each.type for each in (node.command, node.compensate) if isinstance(each, Command)]
                found.setdefault(node.at, {}).update(dict.fromkeys(sent))
    return {service: list(commands) for service, commands in found.items()}
