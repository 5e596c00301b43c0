"""Nodes in the JSON form of a flow: the same model, with functions by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contracts.errors import InvalidFlow
from contracts.retry import Retry
from orchestrator.nodes import Call, Command, Emit, Node, Parallel, Sleep, Step, Wait, When

__all__ = ["Functions", "read_emit", "read_nodes", "write_node"]

Functions = Mapping[str, Callable[..., Any]]
ResultType = Callable[[str], str | None]


def write_node(node: Node, result_type: ResultType) -> dict[str, Any]:
    """One node as JSON; ``result_type`` names the contract of a step's result."""
    match node:
        case Step():
            written: dict[str, Any] = {"step": node.name, "timeout": node.timeout}
            if node.run is not None:
                written["run"] = node.run.__name__
            if node.at and node.command:
                written |= {"at": node.at, "command": node.command.type, "data": dict(node.command.data)}
            if isinstance(node.compensate, Command):
                written["compensate"] = {"command": node.compensate.type, "data": dict(node.compensate.data)}
            elif node.compensate is not None:
                written["compensate"] = node.compensate.__name__
            if node.changes_nothing:
                written["changes_nothing"] = True
            if node.retry is not None:
                written["retry"] = node.retry.as_json()
            if node.deadline is not None:
                written["deadline"] = node.deadline
            if node.pivot:
                written["pivot"] = True
            if node.result is not None:
                written["result"] = result_type(node.name)
            return written
        case Emit():
            return {"emit": node.type, "name": node.name, "data": dict(node.data), "subject": node.subject}
        case Wait():
            return {"wait": node.type, "name": node.name, "by": node.by, "timeout": node.timeout}
        case Sleep():
            return {"sleep": node.seconds, "name": node.name}
        case When():
            condition = node.condition.__name__ if callable(node.condition) else dict(node.condition)
            return {
                "when": condition,
                "name": node.name,
                "then": [write_node(inner, result_type) for inner in node.then],
                "otherwise": [write_node(inner, result_type) for inner in node.otherwise],
            }
        case Parallel():
            branches = [[write_node(inner, result_type) for inner in branch] for branch in node.branches]
            return {"parallel": branches, "name": node.name, "mode": node.mode}
        case Call():
            return {"call": node.flow, "name": node.name, "input": dict(node.input), "version": node.version}


def _read(document: Mapping[str, Any], functions: Functions) -> Node:
    match document:
        case {"step": str()}:
            return _read_step(document, functions)
        case {"emit": str()}:
            return read_emit(document)
        case {"wait": str(type), "name": str(name)}:
            return Wait(name, type, document.get("by"), document.get("timeout"))
        case {"sleep": (int() | float()) as seconds, "name": str(name)}:
            return Sleep(name, float(seconds))
        case {"when": condition, "name": str(name)}:
            return When(
                name,
                _function(condition, functions) if isinstance(condition, str) else condition,
                read_nodes(document.get("then", ()), functions),
                read_nodes(document.get("otherwise", ()), functions),
            )
        case {"parallel": branches, "name": str(name)}:
            mode = document.get("mode", "all")
            if mode not in ("all", "first"):
                raise InvalidFlow(f"parallel {name!r}: mode is all or first, not {mode!r}")
            return Parallel(name, tuple(read_nodes(branch, functions) for branch in branches), mode)
        case {"call": str(flow), "name": str(name), "input": input}:
            return Call(name, flow, input, document.get("version"))
        case _:
            raise InvalidFlow(f"not a node of a flow: {dict(document)!r}")


def read_nodes(documents: Sequence[Mapping[str, Any]], functions: Functions) -> tuple[Node, ...]:
    """The nodes that ``write_node`` wrote. Raises InvalidFlow."""
    return tuple(_read(document, functions) for document in documents)


def read_emit(document: Mapping[str, Any]) -> Emit:
    """An emit node of the JSON form."""
    return Emit(document["name"], document["emit"], document["data"], document.get("subject"))


def _read_step(document: Mapping[str, Any], functions: Functions) -> Step:
    back = document.get("compensate")
    if isinstance(back, Mapping):
        compensate: Any = Command(back["command"], back.get("data", {}))
    else:
        compensate = _function(back, functions) if back is not None else None
    command = document.get("command")
    run = document.get("run")
    retry = document.get("retry")
    return Step(
        name=document["step"],
        run=_function(run, functions) if run is not None else None,
        at=document.get("at"),
        command=Command(command, document.get("data", {})) if command is not None else None,
        compensate=compensate,
        retry=Retry.from_json(retry) if retry is not None else None,
        timeout=document["timeout"],
        deadline=document.get("deadline"),
        pivot=document.get("pivot", False),
        result=document.get("result"),
        changes_nothing=document.get("changes_nothing", False),
    )


def _function(name: str, functions: Functions) -> Callable[..., Any]:
    if name not in functions:
        raise InvalidFlow(f"the flow names a function {name!r} that was not given: {sorted(functions)}")
    return functions[name]
