"""What a run's document holds at a place of its flow: what paths and conditions can read there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from antiphon.checking.shapes import ANYTHING, Shape
from antiphon.checking.system import System
from contracts.errors import Terminal
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Parallel, Step, Wait, When
from orchestrator.plan import Place

__all__ = ["Document", "Root", "build", "reached"]

_TEXT: dict[str, Any] = {"type": "string"}
_MOST_CALLS = 8


def _record(**properties: Any) -> dict[str, Any]:
    """An object of exactly these."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


_RUN = Shape(_record(id=_TEXT, key=_TEXT, workspace=_TEXT, correlation=_TEXT))
_ERROR = Shape(
    _record(
        code={"type": "string", "minLength": 1, "maxLength": Terminal.LONGEST_CODE},
        message={"type": "string", "maxLength": 2000},
        node={"type": ["string", "null"]},
    )
)


@dataclass(frozen=True, slots=True)
class Root:
    """What one name of the document leads to. ``unknown`` says why nothing is known of it.

    ``doubt`` says why it may not be there at all.
    """

    shape: Shape
    unknown: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Document:
    """The document of a run at a node; at its end without one, or at its failure.

    ``undoing``: what the compensation of the node reads.
    """

    system: System
    flow: Flow
    at: Place | None = None
    failing: bool = False
    undoing: bool = False

    def root(self, name: str) -> Root:
        """What ``$.name`` leads to. The plan has made sure that there is something of that name."""
        if name == "input":
            return self._narrowed(name, self._input())
        if name == "run":
            return Root(_RUN)
        if name == "error":
            return Root(_ERROR)
        place = self.flow.plan.places[name]
        return self._narrowed(name, self._result(place), place)

    def schema(self) -> dict[str, Any]:
        """The whole document as a condition reads it."""
        end = self.at.position if self.at else len(self.flow.plan.places)
        names = [
            name
            for name, place in self.flow.plan.places.items()
            if place.position < end and isinstance(place.node, Step | Wait | Call)
        ]
        roots = {name: self.root(name) for name in ("input", "run", *names)}
        return {
            "type": "object",
            "properties": {name: root.shape.schema for name, root in roots.items()} | {"error": True},
            "required": [*(name for name, root in roots.items() if not root.doubt), "error"],
            "additionalProperties": False,
        }

    def _input(self) -> Root:
        uri = self.system.uri(self.flow.input_type)
        if uri is None:
            return Root(ANYTHING, unknown=f"the input {self.flow.input_type!r} has no contract")
        return Root(self.system.library.whole(uri))

    def _result(self, place: Place) -> Root:
        node = place.node
        if isinstance(node, Call):
            return self._child(node)
        type = node.type if isinstance(node, Wait) else None
        if isinstance(node, Wait) and node.signal:
            return Root(ANYTHING, unknown=f"what signal {node.signal!r} brings has no contract")
        if isinstance(node, Step):
            type = self.system.result_type(self.flow, node)
        if type is None:
            return Root(ANYTHING, unknown=f"step {node.name!r} does not say what it returns (result=)")
        uri = self.system.uri(type)
        if uri is None:
            return Root(ANYTHING, unknown=f"{type!r}, which {node.name!r} brings, has no contract")
        return Root(self.system.library.whole(uri))

    def _child(self, call: Call, depth: int = _MOST_CALLS) -> Root:
        child = self.system.app.catalog.find(call.flow, call.version or 0)
        if child is None or depth == 0:
            return Root(ANYTHING, unknown=f"the result of flow {call.flow!r} is not known")
        if child.result is None:
            return Root(Shape({"type": "null"}))
        if any(isinstance(place.node, Call) for place in child.plan.places.values()):
            return Root(ANYTHING, unknown=f"flow {call.flow!r} calls others, which is not looked into")
        inner = Document(self.system, child)
        return Root(Shape(build(dict(child.result), inner)))

    def _narrowed(self, name: str, root: Root, place: Place | None = None) -> Root:
        """What the conditions of the choices that lead here say of it, and whether it has run."""
        schemas, proven = [root.shape.schema], False
        for condition in self._conditions():
            said = condition.get("properties", {}).get(name)
            if said is not None:
                schemas.append(said)
            proven = proven or name in condition.get("required", ())
        doubt = "" if place is None or proven else self._doubt(place)
        if len(schemas) == 1:
            return Root(root.shape, root.unknown, doubt)
        return Root(Shape({"allOf": schemas}, root.shape.exact), root.unknown, doubt)

    def _conditions(self) -> Iterator[Mapping[str, Any]]:
        for name, way in self.at.choices if self.at else ():
            node = self.flow.plan.places[name].node
            if way == 0 and isinstance(node, When) and isinstance(node.condition, Mapping):
                yield node.condition

    def _doubt(self, place: Place) -> str:
        """Why a node may not have run when this is read."""
        name = place.node.name
        if self.failing:
            return f"the run may have failed before {name!r} was done"
        if self.undoing and self.at is not None and self.at.node.name == name:
            return f"the outcome of {name!r} may be unknown when it is undone"
        mine = dict(self.at.choices) if self.at else {}
        for choice, way in place.choices:
            if mine.get(choice) != way:
                return f"{name!r} runs only where choice {choice!r} leads to it"
        inside = dict(self.at.branches) if self.at else {}
        for fork, branch in place.branches:
            node = self.flow.plan.places[fork].node
            if isinstance(node, Parallel) and node.mode == "first" and inside.get(fork) != branch:
                return f"{name!r} is given up when another branch of {fork!r} ends first"
        return ""


def build(template: Any, document: Document, wanted: Shape | None = None, holes: Collection[str] = ()) -> Any:
    """The schema of all that a template can become.

    Where nothing is known, and for the paths in ``holes``, what is ``wanted`` there stands: it can't be held
    against it.
    """
    library = document.system.library
    match template:
        case str() if template.startswith("$."):
            shape = None if template in holes else reached(template, document)
            if shape is None:
                return True if wanted is None else wanted.schema
            return shape.schema
        case str() if template.startswith("$$."):
            return {"const": template[1:]}
        case dict():
            inner = {name: library.inside(wanted, name) if wanted else None for name in template}
            return _record(
                **{name: build(one, document, inner[name], holes) for name, one in template.items()}
            )
        case list() | tuple():
            each = [
                build(one, document, library.inside(wanted, str(index)) if wanted else None, holes)
                for index, one in enumerate(template)
            ]
            return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
        case _:
            return {"const": template}


def reached(path: str, document: Document) -> Shape | None:
    """What a path leads to; None when nothing is known of it, or nothing can be there."""
    name, *rest = path[2:].split(".")
    root = document.root(name)
    if root.unknown:
        return None
    shape: Shape | None = root.shape
    for part in rest:
        shape = document.system.library.inside(shape, part) if shape is not None else None
    return shape
