"""A flow: the definition of a core process."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from contracts.envelope import derive_id
from contracts.errors import InvalidFlow
from orchestrator.graph import Graph, draw
from orchestrator.node_json import Functions, read_emit, read_nodes, write_node
from orchestrator.nodes import Emit, Node
from orchestrator.plan import Plan

__all__ = ["Flow", "run_id_of"]

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def run_id_of(workspace: str, flow: str, key: str) -> str:
    """The id of the run that this key has: derived, so that starting is idempotent."""
    return derive_id("run", workspace, flow, key)


@dataclass(frozen=True)
class Flow:
    """Steps in strict order, as data, with a name and a version.

    ``key`` is the field of the input that names the business object; ``input`` is the contract of the
    input, or a pydantic model. ``on_failure`` holds the events that tell of a run that could not go
    forward. ``result`` is the mapping that makes the run's result. ``declared_at`` is the ``file:line``
    where it was written.

    Raises InvalidFlow when the definition can't run.
    """

    name: str
    version: int
    key: str
    input: str | type
    steps: Sequence[Node]
    on_failure: Sequence[Emit] = ()
    result: Mapping[str, Any] | None = None
    declared_at: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.declared_at:
            frame = sys._getframe(2)  # past the __init__ that the dataclass has made
            object.__setattr__(self, "declared_at", f"{frame.f_code.co_filename}:{frame.f_lineno}")
        if not _NAME.fullmatch(self.name):
            raise InvalidFlow(f"{self.name!r} is no name for a flow: use a-z, 0-9, _ and -")
        if self.version < 1:
            raise InvalidFlow(f"flow {self.name!r}: versions begin with 1, not {self.version}")
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "on_failure", tuple(self.on_failure))
        self.plan.check_template(self.result, "result")

    @cached_property
    def plan(self) -> Plan:
        """The flow laid flat."""
        return Plan(self.name, self.steps, self.on_failure)

    @property
    def input_type(self) -> str:
        """The contract of the input; a pydantic model's is named after the flow."""
        return self.input if isinstance(self.input, str) else f"flow.{self.name}-input.v{self.version}"

    def result_type(self, node: str) -> str | None:
        """The contract of a step's result, if it has one."""
        declared = getattr(self.plan.places[node].node, "result", None)
        if declared is None or isinstance(declared, str):
            return declared
        return f"flow.{self.name}-{node}.v{self.version}"

    def graph(self) -> Graph:
        """The flow as it is drawn."""
        return draw(self.plan)

    def as_json(self) -> dict[str, Any]:
        """The JSON form: the same model, functions by name."""
        return {
            "flow": self.name,
            "version": self.version,
            "key": self.key,
            "input": self.input_type,
            "steps": [write_node(node, self.result_type) for node in self.steps],
            "on_failure": [write_node(node, self.result_type) for node in self.on_failure],
            "result": dict(self.result) if self.result is not None else None,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], functions: Functions) -> Flow:
        """The flow that ``as_json`` wrote, with its functions looked up by name. Raises InvalidFlow."""
        try:
            return cls(
                name=document["flow"],
                version=document["version"],
                key=document["key"],
                input=document["input"],
                steps=read_nodes(document["steps"], functions),
                on_failure=[read_emit(node) for node in document.get("on_failure", ())],
                result=document.get("result"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidFlow(f"not the JSON form of a flow: {type(error).__name__}: {error}") from error
