"""Moving a run to another version of its flow: whether it can be moved, and what that changes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from contracts.errors import ContractError
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Command, Emit, Node, Parallel, Step, Wait, When
from orchestrator.paths import paths_in
from orchestrator.plan import KINDS, Place, Plan
from orchestrator.run import Run

__all__ = ["Move", "can_move", "positions_after"]

_MAY_BE_RENAMED_UNDER_WAY = ("wait", "sleep")


@dataclass(frozen=True, slots=True)
class Move:
    """Where a run is to go.

    ``renames``: what nodes of the old version are called in the new one. ``without``: nodes that the new
    version has before the place where the run stands, and that the run may do without.
    """

    to: int
    renames: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def name(self, node: str) -> str:
        """What a node is called in the new version."""
        return self.renames.get(node, node)


def can_move(run: Run, old: Flow, new: Flow, move: Move, check: Callable[[str, Any], None]) -> list[str]:
    """Why a run can't be moved from its version to another one; empty when it can.

    ``check(type, data)`` raises ContractError. What no plan shows is not seen: what a function reads of
    the results of other steps, and what a step does.
    """
    if run.ended:
        return [f"it has ended as {run.status}"]
    if run.backward:
        return [f"it is going back: what it did is undone as version {old.version} says"]
    if old.version == new.version:
        return [f"it is of version {new.version} already"]
    if old.key != new.key:
        return [f"version {new.version} has another key, {new.key!r}"]
    asking = _Asking(run, old, new, move)
    names = list(asking.wrong_names())
    if names:
        return names
    if not asking.starts:
        return ["nothing of it is at work or held, so that it can't be told where it would go on"]
    found = [*asking.wrong_places(), *asking.wrong_forks(), *asking.wrong_undo()]
    return [*found, *asking.wrong_order(), *asking.missing_data(), *asking.off_contract(check)]


def positions_after(run: Run, new: Flow, move: Move) -> dict[str, int]:
    """Where in the new version each node stands that is at work."""
    return {move.name(node): new.plan.places[move.name(node)].position for node in run.active}


@dataclass(frozen=True)
class _Asking:
    """One run, two plans. Each method yields reasons."""

    run: Run
    old: Flow
    new: Flow
    move: Move

    @property
    def then(self) -> str:
        return f"version {self.new.version}"

    @property
    def places(self) -> dict[str, Place]:
        return self.new.plan.places

    @cached_property
    def starts(self) -> list[str]:
        """Where the run stands, by the new names."""
        return [self.move.name(node) for node in (*self.run.active, *self.run.held)]

    @cached_property
    def known(self) -> set[str]:
        """Whose results the run has, by the new names."""
        return {self.move.name(node) for node in self.run.results}

    @cached_property
    def ahead(self) -> set[str]:
        """What the new version does after where the run stands."""
        return _ahead(self.new.plan, self.starts)

    @cached_property
    def behind(self) -> set[str]:
        """What the old version has before or beside where the run stands, by the new names."""
        ahead = _ahead(self.old.plan, [*self.run.active, *self.run.held])
        passed = [node for node in self.old.plan.places if node not in ahead]
        found = {self.move.name(node): _kind(self.old.plan.places[node]) for node in passed}
        return {node for node, kind in found.items() if kind == _kind(self.places.get(node))}

    def wrong_names(self) -> Iterator[str]:
        for before, after in self.move.renames.items():
            if before not in self.old.plan.places:
                yield f"version {self.old.version} has no node {before!r} that could be renamed"
            elif after not in self.places:
                yield f"{self.then} has no node {after!r} that {before!r} could be now"
            elif _kind(self.old.plan.places[before]) != _kind(self.places[after]):
                yield f"{before!r} is a {_kind(self.old.plan.places[before])}, and {after!r} is not"
        for node in self.move.without:
            if node not in self.places:
                yield f"{self.then} has no node {node!r} to do without"
        run = self.run
        names = list(dict.fromkeys((*run.results, *run.active, *run.undo, *run.arrived, *run.held)))
        now = [self.move.name(node) for node in names]
        for name in sorted({name for name in now if now.count(name) > 1}):
            yield f"two nodes of the run would be {name!r}"

    def wrong_places(self) -> Iterator[str]:
        for node in (*self.run.active, *self.run.held):
            before = self.old.plan.places.get(node)
            after = self.places.get(self.move.name(node))
            if before is None or after is None:
                version = self.old.version if before is None else self.new.version
                yield f"it stands at {node!r}, which version {version} does not have under that name"
                continue
            if _kind(before) != _kind(after):
                yield f"it stands at {node!r}, which is a {_kind(after)} in {self.then}"
                continue
            branches = tuple((self.move.name(fork), number) for fork, number in before.branches)
            if branches != after.branches:
                yield f"it stands at {node!r}, which is in another branch in {self.then}"
            if after.pivoted != self.run.pivoted:
                side = "behind" if after.pivoted else "before"
                yield f"it stands at {node!r}, which is {side} the pivot in {self.then}"
            yield from self._under_way(node, before.node, after.node)

    def _under_way(self, node: str, before: Node, after: Node) -> Iterator[str]:
        """What is asked for already, and must be the same when the answer comes."""
        entry = self.run.active.get(node)
        if entry is None:
            return
        if self.move.name(node) != node and entry["kind"] not in _MAY_BE_RENAMED_UNDER_WAY:
            yield f"{node!r} is under way and can't be renamed: its idempotency key is made of its name"
        if "stuck" in entry:
            return  # it begins anew when it is retried
        if _asks(before) != _asks(after):
            yield f"{node!r} is under way as {_asks(before)}, and {self.then} has {_asks(after)}"

    def wrong_forks(self) -> Iterator[str]:
        for fork in self.run.arrived:
            before, after = self.old.plan.places[fork], self.places.get(self.move.name(fork))
            same = after is not None and _shape(before) == _shape(after)
            if not same:
                yield f"the branches of {fork!r} are open, and {self.then} has others"

    def wrong_undo(self) -> Iterator[str]:
        if self.run.pivoted:
            return  # it only goes forward
        for node in self.run.undo:
            before, after = self.old.plan.places.get(node), self.places.get(self.move.name(node))
            if after is None or before is None or _undone_by(before) != _undone_by(after):
                yield f"{node!r} may have to be undone, and {self.then} does not undo it like that"
        at_work = {node for node, entry in self.run.active.items() if "stuck" not in entry}
        for node in (*self.run.results, *at_work):
            after = self.places.get(self.move.name(node))
            if after is not None and _undone_by(after) and not after.pivoted and node not in self.run.undo:
                yield f"{node!r} was begun with nothing to undo it, and {self.then} would undo it"

    def wrong_order(self) -> Iterator[str]:
        for node in sorted(self.known & self.ahead):
            yield f"{node!r} is done, and {self.then} would do it once more from where the run stands"
        for node, place in self.places.items():
            passed = node not in self.ahead and node not in self.starts and node not in self.known
            optional = place.choices or isinstance(place.node, When | Parallel) or self._may_lose(place)
            if passed and not optional and node not in self.behind and node not in self.move.without:
                yield (
                    f"{node!r} comes before where the run stands in {self.then}, and was not done; "
                    "say if it may do without"
                )

    def _may_lose(self, place: Place) -> bool:
        """Whether it is in a branch that another may have overtaken."""
        forks = (self.places[fork].node for fork, _ in place.branches)
        return any(isinstance(fork, Parallel) and fork.mode == "first" for fork in forks)

    def missing_data(self) -> Iterator[str]:
        there = self.known | self.ahead | set(self.starts) | {"input", "run", "error"}
        said = set()
        for reader, path in self._reads():
            root = path[2:].partition(".")[0]
            place = self.places.get(root)
            if root in there or root in self.behind or (place is not None and place.choices):
                continue
            if (reader, root) not in said:
                said.add((reader, root))
                yield f"{reader} reads {path}, and the run has no result of {root!r}"

    def _reads(self) -> Iterator[tuple[str, str]]:
        for name in (*self.starts, *sorted(self.ahead)):
            place = self.places.get(name)
            for path in paths_in(_templates(place.node) if place is not None else ()):
                yield repr(name), path
        for path in paths_in(self.new.result):
            yield "the result of the flow", path

    def off_contract(self, check: Callable[[str, Any], None]) -> Iterator[str]:
        kept: list[tuple[str, str | None, Any]] = [("its input", self.new.input_type, self.run.input)]
        for node, result in self.run.results.items():
            if self.move.name(node) in self.places:
                kept.append((f"the result of {node!r}", self.new.result_type(self.move.name(node)), result))
        for what, contract, data in kept:
            try:
                if contract is not None:
                    check(contract, data)
            except ContractError as error:
                yield f"{what} is off the contract of {self.then}: {str(error)[:300]}"


def _kind(place: Place | None) -> str:
    return KINDS[type(place.node)] if place is not None else ""


def _asks(node: Node) -> str:
    match node:
        case Step(at=at, command=Command() as command):
            return f"{command.type} at {at!r}"
        case Wait():
            return f"a wait for {node.type}"
        case Call():
            return f"a call of {node.flow!r}"
        case _:
            return f"a {KINDS[type(node)]} here"


def _undone_by(place: Place) -> str:
    """What undoes a step: a function here, or a command to a service; empty when nothing does."""
    node = place.node
    if not isinstance(node, Step) or node.compensate is None:
        return ""
    return f"{node.compensate.type} at {node.at}" if isinstance(node.compensate, Command) else "here"


def _shape(place: Place) -> tuple[str, int]:
    return (place.node.mode if isinstance(place.node, Parallel) else "", len(place.heads))


def _templates(node: Node) -> list[Any]:
    match node:
        case Step(command=command, compensate=compensate):
            return [each.data for each in (command, compensate) if isinstance(each, Command)]
        case Emit():
            return [node.data, node.subject]
        case Call():
            return [node.input]
        case _:
            return []


def _ahead(plan: Plan, starts: Iterable[str]) -> set[str]:
    """Everything that can still be done from these nodes on; they themselves are not in it."""
    found: set[str] = set()
    waiting = [following for start in starts for following in _behind(plan, start)]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        place = plan.places[node]
        waiting += [head for head in place.heads if head is not None]
        waiting += _behind(plan, node)
    return found


def _behind(plan: Plan, node: str) -> list[str]:
    """What comes after a node: in its sequence, or after the fork that its branch ends in."""
    place = plan.places.get(node)
    while place is not None and place.next is None:
        place = plan.places[place.joins] if place.joins is not None else None
    return [place.next] if place is not None and place.next is not None else []
