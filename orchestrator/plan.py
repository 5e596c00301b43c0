"""A flow laid flat: where each node stands, and what comes after it.

Nodes are nested as written (choices, branches); a run moves over places. What the plan refuses can't
run, so that a flow that loads is a flow that can be started.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from contracts.errors import InvalidFlow
from contracts.retry import Retry
from orchestrator.nodes import Call, Command, Emit, Node, Parallel, Sleep, Step, Wait, When
from orchestrator.paths import paths_in

__all__ = ["KINDS", "Place", "Plan"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = frozenset({"input", "run", "error"})


@dataclass(frozen=True, slots=True)
class Place:
    """A node where it stands. ``next`` is the node after it; None ends the sequence.

    ``joins`` is the fork whose branch ends here. ``heads`` are the first nodes of what a choice or a
    fork leads to (None: straight on). ``branches`` are the forks and branch numbers that this is in,
    outermost first. ``choices`` are the choices that it is in. ``pivoted``: no way back from here.
    """

    node: Node
    position: int
    next: str | None
    joins: str | None = None
    heads: tuple[str | None, ...] = ()
    branches: tuple[tuple[str, int], ...] = ()
    choices: tuple[tuple[str, int], ...] = ()
    pivoted: bool = False


class Plan:
    """The places of one flow, by name, in the order in which they were written."""

    def __init__(self, flow: str, steps: Sequence[Node], on_failure: Sequence[Emit]) -> None:
        self.flow = flow
        self.places: dict[str, Place] = {}
        self.on_failure = tuple(on_failure)
        if not steps:
            raise InvalidFlow(f"flow {flow!r} has no steps")
        self.first = steps[0].name
        self._lay(steps, after=None, joins=None, branches=(), choices=())
        for node in self.on_failure:
            if not isinstance(node, Emit):
                raise InvalidFlow(f"flow {flow!r}: on_failure takes emit() nodes only, not {node.name!r}")
        names = [*self.places, *(node.name for node in self.on_failure)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            # Their events would have the same id, and whoever reacts would take one for the other.
            raise InvalidFlow(f"flow {flow!r}: on_failure has {twice[0]!r} a second time; give it name=")
        self._turn_at_the_pivot()
        self._check_paths()

    def waits(self) -> Iterator[Wait]:
        """Every wait of the flow."""
        return (place.node for place in self.places.values() if isinstance(place.node, Wait))

    def inside(self, fork: str, branch: int | None = None) -> Iterator[str]:
        """The names of the nodes in a fork, or in one branch of it."""
        for name, place in self.places.items():
            if any(f == fork and branch in (None, b) for f, b in place.branches):
                yield name

    def _lay(
        self,
        nodes: Sequence[Node],
        *,
        after: str | None,
        joins: str | None,
        branches: tuple[tuple[str, int], ...],
        choices: tuple[tuple[str, int], ...],
    ) -> str | None:
        for index, node in enumerate(nodes):
            last = index + 1 == len(nodes)
            following = after if last else nodes[index + 1].name
            self._check_name(node)
            if isinstance(node, Step):
                self._check_step(node)
            place = Place(
                node,
                len(self.places),
                following,
                joins if last and following is None else None,
                branches=branches,
                choices=choices,
            )
            self.places[node.name] = place
            if isinstance(node, When):
                heads = tuple(
                    self._lay(
                        chosen,
                        after=following,
                        joins=place.joins,
                        branches=branches,
                        choices=(*choices, (node.name, number)),
                    )
                    or following
                    for number, chosen in enumerate((node.then, node.otherwise))
                )
                self.places[node.name] = replace(place, heads=heads)
            elif isinstance(node, Parallel):
                self.places[node.name] = replace(place, heads=self._lay_branches(node, place))
        return nodes[0].name if nodes else None

    def _lay_branches(self, node: Parallel, outer: Place) -> tuple[str | None, ...]:
        if len(node.branches) < 2 or not all(node.branches):
            raise InvalidFlow(
                f"flow {self.flow!r}: parallel {node.name!r} needs two branches or more, none empty"
            )
        return tuple(
            self._lay(
                branch,
                after=None,
                joins=node.name,
                branches=(*outer.branches, (node.name, number)),
                choices=outer.choices,
            )
            for number, branch in enumerate(node.branches)
        )

    def _check_name(self, node: Node) -> None:
        if node.name in self.places:
            raise InvalidFlow(
                f"flow {self.flow!r} has two nodes called {node.name!r}: give one of them name="
            )
        if node.name in _RESERVED:
            raise InvalidFlow(f"flow {self.flow!r}: {node.name!r} is taken by the run itself; use name=")
        if isinstance(node, Step | Wait | Call) and not _NAME.fullmatch(node.name):
            raise InvalidFlow(
                f"flow {self.flow!r}: {node.name!r} can't be used in a path such as $.{node.name}.field; "
                "use letters, digits, _ and -"
            )

    def _check_step(self, node: Step) -> None:
        here, there = node.run is not None, bool(node.at and node.command)
        if here == there:
            raise InvalidFlow(
                f"flow {self.flow!r}: {node.name!r} needs a function that runs here, or at= and command="
            )
        for what, length in (("timeout", node.timeout), ("deadline", node.deadline)):
            if length is None and what == "deadline":
                continue
            if not isinstance(length, int | float) or isinstance(length, bool) or not 0 < length < inf:
                raise InvalidFlow(
                    f"flow {self.flow!r}: the {what} of {node.name!r} is in seconds, more than 0, "
                    f"and not {length!r}"
                )

    def _turn_at_the_pivot(self) -> None:
        pivots = [p for p in self.places.values() if isinstance(p.node, Step) and p.node.pivot]
        if len(pivots) > 1 or any(place.branches or place.choices for place in pivots):
            names = ", ".join(place.node.name for place in pivots)
            raise InvalidFlow(
                f"flow {self.flow!r}: one pivot at the most, outside of branches and choices; found {names}"
            )
        turn = pivots[0].position if pivots else len(self.places)
        for name, place in self.places.items():
            node, pivoted = place.node, place.position > turn
            if isinstance(node, Step):
                if pivoted and node.compensate is not None:
                    raise InvalidFlow(
                        f"flow {self.flow!r}: {name!r} comes after the pivot, so its compensation never runs"
                    )
                if isinstance(node.compensate, Command) and not node.at:
                    raise InvalidFlow(
                        f"flow {self.flow!r}: {name!r} runs here, so its compensation is a function"
                    )
                policy = node.retry or (Retry.until_done() if pivoted else Retry())
                node = replace(node, retry=policy)
            self.places[name] = replace(place, node=node, pivoted=pivoted)

    def _check_paths(self) -> None:
        for place in self.places.values():
            for path in paths_in(_template(place.node)):
                self._check_path(path, place.node.name, before=place.position, at=place)
            if isinstance(place.node, Step) and isinstance(place.node.compensate, Command):
                for path in paths_in(place.node.compensate.data):
                    self._check_path(path, place.node.name, before=place.position + 1, at=place, failing=True)
        for node in self.on_failure:
            self.check_template({"data": node.data, "subject": node.subject}, node.name, failing=True)

    def check_template(self, template: Any, where: str, *, failing: bool = False) -> None:
        """Whether what is read at the end of a run can be there. Raises InvalidFlow."""
        for path in paths_in(template):
            self._check_path(path, where, before=len(self.places), failing=failing)

    def _check_path(
        self, path: str, where: str, *, before: int, at: Place | None = None, failing: bool = False
    ) -> None:
        root = path[2:].partition(".")[0]
        if root in ("input", "run") or (failing and root == "error"):
            return
        place = self.places.get(root)
        trouble = ""
        if place is None or place.position >= before:
            trouble = f"is read before anything called {root!r} is there"
        elif not isinstance(place.node, Step | Wait | Call):
            trouble = f"leads nowhere: a node of kind {KINDS[type(place.node)]} has no result"
        elif at is not None and _apart(at, place):
            trouble = f"is read in another branch than {root!r} runs in, so that it may not be there"
        if trouble:
            raise InvalidFlow(f"flow {self.flow!r}, {where!r}: {path} {trouble}")


def _apart(one: Place, other: Place) -> bool:
    """Whether two nodes are in different branches of one fork, or of one choice."""
    ways = dict((*other.branches, *other.choices))
    return any(ways.get(name, way) != way for name, way in (*one.branches, *one.choices))


def _template(node: Node) -> Mapping[str, Any]:
    match node:
        case Step(command=Command() as command):
            return command.data
        case Emit():
            return {"data": node.data, "subject": node.subject}
        case Call():
            return node.input
        case _:
            return {}


# What a JSON form or a drawing calls each node.
KINDS: dict[type[Any], str] = {
    Step: "step",
    Emit: "emit",
    Wait: "wait",
    Sleep: "sleep",
    When: "when",
    Parallel: "parallel",
    Call: "call",
}
