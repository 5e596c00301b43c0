"""Data that goes into messages: is it there, and does all that it can become fit the contract?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from antiphon.checking.documents import Document, build, reached
from antiphon.checking.finding import Finding, Spot, example, found
from antiphon.checking.system import System, commands_of, flow_spot, node_spot
from contracts.compatibility import Compatible, Incompatible, Unknown
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Emit, Step
from orchestrator.paths import paths_in
from orchestrator.plan import Place

__all__ = ["check_data"]


def check_data(system: System) -> Iterator[Finding]:
    """Of every flow: what is emitted, what services are told, what is called with, what comes out."""
    for flow in system.app.flows:
        for place in flow.plan.places.values():
            yield from _of_node(system, flow, place)
        for emit in flow.plan.on_failure:
            yield from _of_emit(emit, node_spot(flow, emit), Document(system, flow, failing=True))
        if flow.result is not None:
            spot = flow_spot(flow).inside("result")
            yield from _check(spot, dict(flow.result), None, Document(system, flow))


def _of_node(system: System, flow: Flow, place: Place) -> Iterator[Finding]:
    node = place.node
    spot, document = node_spot(flow, node), Document(system, flow, place)
    match node:
        case Emit():
            yield from _of_emit(node, spot, document)
        case Call():
            child = system.app.catalog.find(node.flow, node.version or 0)
            yield from _check(spot, dict(node.input), child.input_type if child else None, document)
        case Step():
            for command in commands_of(node):
                undoing = command is node.compensate
                where = spot.inside("compensation") if undoing else spot
                document = Document(system, flow, place, undoing=undoing)
                yield from _check(where, dict(command.data), command.type, document)


def _of_emit(emit: Emit, spot: Spot, document: Document) -> Iterator[Finding]:
    yield from _check(spot, dict(emit.data), emit.type, document)
    if emit.subject is not None:
        yield from _check(spot.inside("subject"), emit.subject, None, document)


def _check(spot: Spot, template: Any, contract: str | None, document: Document) -> Iterator[Finding]:
    holes: set[str] = set()
    told: set[str] = set()
    for path in dict.fromkeys(paths_in(template)):
        for finding in _check_path(spot, path, document, told):
            if finding.code in ("missing-data", "unchecked-data"):
                holes.add(path)
            yield finding
    system = document.system
    if contract is None or (uri := system.uri(contract)) is None:
        return
    writer = build(template, document, system.library.whole(uri), holes)
    verdict = system.compare(writer, system.library.resources[uri])
    match verdict:
        case Incompatible(instance, pointer, why) if _exact(template, document):
            yield found(
                "data-mismatch",
                spot,
                f"what goes into {contract} may be off it, at {pointer or '/'}: {why}",
                counterexample=example(instance, pointer, why),
            )
        case Incompatible(_, pointer, why):
            yield found(
                "unchecked-data",
                spot,
                f"what goes into {contract} may be off it, at {pointer or '/'}: {why}; it is not sure, "
                "because the contract that it comes from has conditions which were not looked into",
            )
        case Unknown(reason):
            yield found("unchecked-data", spot, f"whether it fits {contract} can't be told: {reason}")


def _check_path(spot: Spot, path: str, document: Document, told: set[str]) -> Iterator[Finding]:
    name, *rest = path[2:].split(".")
    root = document.root(name)
    if root.doubt and name not in told:
        told.add(name)
        yield found("may-not-have-run", spot, f"it reads {path}, and {root.doubt}")
    if root.unknown:
        if rest or name not in told:
            yield found("unchecked-data", spot, f"it reads {path}, and {root.unknown}")
        return
    if not rest:
        return
    if reached(path, document) is None:
        yield found("missing-data", spot, f"{path} leads nowhere: there can be no {'.'.join(rest)!r} there")
        return
    verdict = document.system.compare(root.shape.schema, _having(rest))
    match verdict:
        case Incompatible(instance, _, _):
            yield found(
                "missing-data",
                spot,
                f"{path} may lead nowhere: nothing says that it is there",
                counterexample=example(instance, why=f"it has no {'.'.join(rest)}"),
            )
        case Unknown(reason):
            yield found("unchecked-data", spot, f"whether {path} is there can't be told: {reason}")
        case Compatible():
            return


def _having(path: Sequence[str]) -> Any:
    """The schema of what has something at the path."""
    if not path:
        return True
    name, *rest = path
    inside = _having(rest)
    holder = {"type": "object", "properties": {name: inside}, "required": [name]}
    if not name.isdigit():
        return holder
    index = int(name)
    items = {"type": "array", "minItems": index + 1, "prefixItems": [*([True] * index), inside]}
    return {"anyOf": [holder, items]}


def _exact(template: Any, document: Document) -> bool:
    shapes = (reached(path, document) for path in paths_in(template))
    return all(shape is None or shape.exact for shape in shapes)
