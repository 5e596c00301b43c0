"""The events: who emits, who listens, and where that leads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from antiphon.checking.finding import Finding, found
from antiphon.checking.system import System, emits_of, literal_emits, node_spot, reactor_spot
from orchestrator.flow import Flow
from orchestrator.nodes import Emit, Wait
from orchestrator.plan import Place
from reactors.reactor import Reactor

__all__ = ["check_events"]


def check_events(system: System) -> Iterator[Finding]:
    """The traffic of the whole system."""
    upcasters = system.app.registry.upcasters
    for type, spots in system.read.items():
        if upcasters.way(type):
            continue  # of an older major: it may still be about, and nobody need emit it any more
        sources = {type, *upcasters.leading_to([type])}
        if not sources & system.emitted.keys() and type not in system.app.external:
            for spot in spots:
                yield found("nobody-emits", spot, f"nothing in this app emits {type}")
    for type, spots in system.emitted.items():
        if type not in system.read and type not in system.app.external:
            for spot in spots:
                yield found("nobody-reacts", spot, f"nothing in this app listens for {type}")
    for reactor in system.app.reactors:
        yield from _check_declared(system, reactor)
    yield from _check_circles(system)
    for flow in system.app.flows:
        for place in flow.plan.places.values():
            if isinstance(place.node, Wait) and place.node.by is not None:
                yield from _check_wait(system, flow, place, place.node)


def _check_declared(system: System, reactor: Reactor) -> Iterator[Finding]:
    spot, shown = reactor_spot(reactor), literal_emits(reactor)
    if reactor.emits is None:
        if shown:
            yield found("undeclared-emit", spot, f"it emits {', '.join(shown)} and declares no emits=")
    else:
        for type in shown:
            if type not in reactor.emits:
                yield found("forbidden-emit", spot, f"it emits {type}, and declares {list(reactor.emits)}")
    for type in dict.fromkeys((*reactor.types, *(reactor.emits or ()), *shown)):
        if not system.app.registry.has(type):
            yield found("no-contract", spot, f"the event {type!r} has no contract")


def _check_circles(system: System) -> Iterator[Finding]:
    """Reactors that feed themselves, by way of others or not. One whose author says why it ends is no way."""
    reactors = {one.name: one for one in system.app.reactors if one.ends is None}
    told: set[frozenset[str]] = set()
    for reactor in reactors.values():
        circle = _way_back(system, reactor, reactors.values())
        names = frozenset(name for name, _ in circle)
        if circle and names not in told:
            told.add(names)
            way = "".join(f"{name} emits {type}, " for name, type in circle)
            yield found("event-cycle", reactor_spot(reactor), f"{way}and so on without an end")


def _way_back(system: System, start: Reactor, reactors: Iterable[Reactor]) -> list[tuple[str, str]]:
    """The shortest way from a reactor to itself: each reactor with the type that it emits."""
    waiting: list[tuple[Reactor, list[tuple[str, str]]]] = [(start, [])]
    seen: set[str] = set()
    while waiting:
        here, way = waiting.pop(0)
        for type in system.reactor_emits[here.name]:
            for reader in reactors:
                if type not in reader.types:
                    continue
                if reader is start:
                    return [*way, (here.name, type)]
                if reader.name not in seen:
                    seen.add(reader.name)
                    waiting.append((reader, [*way, (here.name, type)]))
    return []


def _check_wait(system: System, flow: Flow, place: Place, wait: Wait) -> Iterator[Finding]:
    taken = {wait.type, *system.app.registry.upcasters.leading_to([wait.type])}
    spots = [spot for type in sorted(taken & system.emitted.keys()) for spot in system.emitted[type]]
    if not spots or taken & _before(system, flow, place):
        return
    emitters = ", ".join(f"{spot.what} ({spot.at})" for spot in spots)
    yield found(
        "waits-for-itself",
        node_spot(flow, wait),
        f"{wait.type} comes only from what follows this wait: {emitters}",
    )


def _before(system: System, flow: Flow, wait: Place) -> set[str]:
    """What can be emitted while a run waits: by its earlier nodes, in other branches, by others, outside."""
    came = set(system.app.external)
    for other in system.app.flows:
        if other.name != flow.name:
            came |= {emit.type for emit in emits_of(other)}
    came |= {type for reactor in system.app.reactors for type in reactor.types if type not in system.emitted}
    for one in flow.plan.places.values():
        if isinstance(one.node, Emit) and (one.position < wait.position or _beside(one, wait)):
            came.add(one.node.type)
    while True:
        more = {
            type
            for reactor in system.app.reactors
            if came & {*reactor.types}
            for type in system.reactor_emits[reactor.name]
        }
        if more <= came:
            return came
        came |= more


def _beside(one: Place, other: Place) -> bool:
    """Whether two nodes are in different branches of one fork, and so run at the same time."""
    mine = dict(one.branches)
    return any(fork in mine and mine[fork] != branch for fork, branch in other.branches)
