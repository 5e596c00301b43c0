"""The flows: contracts, keys, calls, versions, waits and choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from antiphon.checking.documents import Document
from antiphon.checking.finding import Finding, Spot, example, found
from antiphon.checking.system import System, flow_spot, node_spot
from contracts.compatibility import Compatible, Incompatible
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Emit, Step, Wait, When
from orchestrator.plan import Place

__all__ = ["check_flows", "check_versions"]


def check_flows(system: System) -> Iterator[Finding]:
    """Each flow by itself, and whom it calls."""
    for flow in system.app.flows:
        spot = flow_spot(flow)
        if not system.app.registry.has(flow.input_type):
            yield _no_contract(spot, "its input", flow.input_type)
        else:
            yield from _check_key(
                system, "key-unfit", spot, flow.input_type, flow.key, f"its key {flow.key!r}"
            )
        for emit in flow.plan.on_failure:
            yield from _check_emit(system, flow, emit)
        for place in flow.plan.places.values():
            yield from _check_node(system, flow, place)
        yield from _check_pivot(flow)


def _check_node(system: System, flow: Flow, place: Place) -> Iterator[Finding]:
    node = place.node
    spot = node_spot(flow, node)
    match node:
        case Emit():
            yield from _check_emit(system, flow, node)
        case Wait():
            yield from _check_wait(system, node, spot)
        case When(condition=Mapping()):
            yield from _check_choice(system, flow, place, node, spot)
        case Call() if system.app.catalog.find(node.flow, node.version or 0) is None:
            known = ", ".join(sorted({flow.name for flow in system.app.flows}))
            version = f" v{node.version}" if node.version else ""
            yield found("unknown-flow", spot, f"there is no flow {node.flow!r}{version}; there are: {known}")
        case Call():
            circle = _circle(system, flow, node)
            if circle:
                yield found("call-cycle", spot, f"it calls itself: {' -> '.join(circle)}")


def _check_emit(system: System, flow: Flow, emit: Emit) -> Iterator[Finding]:
    if not system.app.registry.has(emit.type):
        yield _no_contract(node_spot(flow, emit), "the event", emit.type)


def _check_wait(system: System, wait: Wait, spot: Spot) -> Iterator[Finding]:
    if wait.timeout is None:
        yield found("no-timeout", spot, f"it waits for {wait.signal or wait.type} without end")
    if wait.by is None:
        return
    if not system.app.registry.has(wait.type):
        yield _no_contract(spot, "the awaited event", wait.type)
        return
    yield from _check_key(system, "wait-key-unfit", spot, wait.type, wait.by, f"by={wait.by!r}")


def _check_key(system: System, code: str, spot: Spot, type: str, field: str, what: str) -> Iterator[Finding]:
    wanted = {"type": "object", "properties": {field: {"type": ["string", "integer"]}}, "required": [field]}
    verdict = system.compare({"$ref": system.uri(type)}, wanted)
    if isinstance(verdict, Compatible):
        return
    proof = None
    if isinstance(verdict, Incompatible):
        proof = example(verdict.counterexample, verdict.pointer, verdict.why)
    yield found(
        code,
        spot,
        f"{what} is not a string or an integer that {type} always has: {verdict}",
        counterexample=proof,
    )


def _check_choice(system: System, flow: Flow, place: Place, node: When, spot: Spot) -> Iterator[Finding]:
    document = Document(system, flow, place).schema()
    condition = dict(node.condition) if isinstance(node.condition, Mapping) else {}
    if isinstance(system.compare(document, condition), Compatible) and node.otherwise:
        names = ", ".join(repr(one.name) for one in node.otherwise)
        yield found("unreachable", spot, f"the condition always holds, so {names} never runs")
    elif isinstance(system.compare(document, {"not": condition}), Compatible) and node.then:
        names = ", ".join(repr(one.name) for one in node.then)
        yield found("unreachable", spot, f"the condition never holds, so {names} never runs")


def _check_pivot(flow: Flow) -> Iterator[Finding]:
    """An event that says too much: the run can still fail, there is no pivot, and nobody is told."""
    places = flow.plan.places.values()
    if flow.plan.on_failure or any(isinstance(place.node, Step) and place.node.pivot for place in places):
        return
    last = max((place.position for place in places if isinstance(place.node, Step | Call | Wait)), default=-1)
    for place in places:
        if isinstance(place.node, Emit) and place.position < last:
            later = next(
                one.node.name
                for one in places
                if one.position > place.position and isinstance(one.node, Step | Call | Wait)
            )
            yield found(
                "no-pivot",
                node_spot(flow, place.node),
                f"{place.node.type} is out before {later!r}, which can still fail, and then nothing is told",
            )
            return


def _circle(system: System, flow: Flow, call: Call) -> list[str]:
    """The names of the flows from this one back to it; empty when there is no way back."""
    waiting: list[tuple[Call, list[str]]] = [(call, [flow.name])]
    seen: set[tuple[str, int]] = set()
    while waiting:
        here, path = waiting.pop()
        child = system.app.catalog.find(here.flow, here.version or 0)
        if child is None:
            continue
        if (child.name, child.version) == (flow.name, flow.version):
            return [*path, flow.name]
        if (child.name, child.version) not in seen:
            seen.add((child.name, child.version))
            inner = [place.node for place in child.plan.places.values() if isinstance(place.node, Call)]
            waiting += [(one, [*path, child.name]) for one in inner]
    return []


def _no_contract(spot: Spot, what: str, type: str) -> Finding:
    return found("no-contract", spot, f"{what} {type!r} has no contract")


def check_versions(system: System) -> Iterator[Finding]:
    """Flows that come in several versions."""
    versions: dict[str, list[Flow]] = {}
    for flow in system.app.flows:
        versions.setdefault(flow.name, []).append(flow)
    for flows in versions.values():
        ordered = sorted(flows, key=lambda flow: flow.version)
        for older, newer in pairwise(ordered):
            if _said(older) == _said(newer):
                yield found(
                    "same-version",
                    flow_spot(newer),
                    f"it says the same as v{older.version}, {older.declared_at}",
                )
        if len(ordered) > 1:
            names = ", ".join(f"v{flow.version}" for flow in ordered)
            yield found("two-versions", flow_spot(ordered[-1]), f"there are {names}; new runs get the last")


def _said(flow: Flow) -> dict[str, object]:
    said = {**flow.as_json(), "version": 0}
    if not isinstance(flow.input, str):
        said["input"] = flow.input  # a model's contract is named after the version
    return said
