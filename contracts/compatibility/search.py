"""Looks for a value that fits one set of schemas and not others, or proves that there is none.

A goal is a set of formulas that one value must fit. For each kind of value, the schemas are opened into
formulas; the alternatives are decided one by one, the most constrained first, as a SAT solver modulo
theories does it (DPLL(T)); what is left are atoms, and the theory of that kind of value (numbers, texts,
arrays, objects) finds values for them or proves that there are none. Arrays and objects ask for their parts
as goals of their own.

A goal that comes up again inside itself is given up there: the smallest value that fits a goal has none
inside it that fits the same goal, so nothing is missed, and recursive schemas come to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from contracts.compatibility.budget import Budget
from contracts.compatibility.evaluated import opened
from contracts.compatibility.formula import KINDS, And, Atom, Formula, Or, Schema, negate
from contracts.compatibility.node import Node, canonical
from contracts.compatibility.truth import holds

__all__ = ["EMPTY", "Goal", "Result", "Search", "Theory", "gathered"]

_DEEPEST = 24
_UNTOUCHED = _DEEPEST + 1
Goal = frozenset[Formula]


@dataclass(frozen=True, slots=True)
class Result:
    """Values that fit. ``open`` says why there may be others; None means that these are all or enough.

    No values and nothing open is the proof that there are none. ``all`` says that there are no others.
    """

    values: tuple[Any, ...]
    open: str | None = None
    all: bool = False

    @property
    def none(self) -> bool:
        """Whether it is proved that nothing fits."""
        return not self.values and self.open is None


EMPTY = Result((), None, True)
Theory = Callable[["Search", list[Atom], int], Result]
# Tells at a glance, from the atoms of an object, that a further formula can't be true of it.
Glance = Callable[["Search", list[Atom]], Callable[[Formula], bool]]


def gathered(results: Iterable[Result], want: int) -> Result:
    """The results of alternatives as one; stops when there is enough."""
    values: dict[str, Any] = {}
    why: str | None = None
    complete = True
    for result in results:
        values.update((canonical(value), value) for value in result.values)
        why = why or result.open
        complete = complete and result.all
        if len(values) >= want:
            return Result(tuple(values.values())[:want], why)
    return Result(tuple(values.values()), why, complete and why is None)


@dataclass(slots=True)
class _State:
    """What has been decided about one value."""

    schemas: dict[Node, bool] = field(default_factory=dict)
    atoms: dict[Atom, None] = field(default_factory=dict)
    choices: list[Or] = field(default_factory=list)

    def copy(self, without: Or) -> _State:
        return _State(
            dict(self.schemas), dict(self.atoms), [one for one in self.choices if one is not without]
        )


class Search:
    """One search; its results are remembered, so that a goal is solved once."""

    def __init__(
        self, budget: Budget, theories: dict[str, Theory], glance: Glance, hints: tuple[str, ...] = ()
    ) -> None:
        self.budget = budget
        self._glance = glance
        self.hints = hints
        self._theories = theories
        self._opened: dict[tuple[Node, str], Formula] = {}
        self._known: dict[Any, tuple[int, Result]] = {}
        self._within: dict[Goal, int] = {}
        self._touched = _UNTOUCHED
        # The first thing that could not be told, for the reason of a verdict.
        self.noted: str | None = None

    def opened(self, node: Node, kind: str) -> Formula:
        """What a schema says of a value of that kind, one level deep."""
        self.budget.spend()
        found = self._opened.get((node, kind))
        if found is None:
            found = self._opened[node, kind] = opened(node, kind)
        return found

    def solve(self, goal: Goal, want: int = 1) -> Result:
        """Up to ``want`` values that fit every formula of the goal. Raises NotUnderstood, OutOfBudget."""
        self.budget.spend()
        if goal in self._within:
            self._touched = min(self._touched, self._within[goal])
            return Result(())
        if len(self._within) >= _DEEPEST:
            return Result((), f"values nested deeper than {_DEEPEST} would have to be looked at")
        return self._remembered(goal, want, lambda: self._enter(goal, want))

    def texts(self, goal: Goal, want: int) -> Result:
        """Up to ``want`` texts that fit every formula of the goal: names of properties."""
        self.budget.spend()
        return self._remembered(("text", goal), want, lambda: self._of_kind(goal, "string", want))

    def _enter(self, goal: Goal, want: int) -> Result:
        self._within[goal] = len(self._within)
        try:
            return gathered((self._of_kind(goal, kind, want) for kind in KINDS), want)
        finally:
            del self._within[goal]

    def _remembered(self, key: Any, want: int, compute: Callable[[], Result]) -> Result:
        known = self._known.get(key)
        if known is not None and (known[0] >= want or known[1].none or known[1].all):
            return known[1]
        depth = len(self._within)
        before, self._touched = self._touched, _UNTOUCHED
        result = compute()
        touched = self._touched
        # A goal that only came up again in itself was found whole: what is around it leaned on nothing.
        self._touched = min(before, touched if touched < depth else _UNTOUCHED)
        if touched <= depth:
            # Values that hold such a goal's own were passed over: there may always be others.
            result = Result(result.values, result.open)
        if touched < depth:
            # True only inside the goal that it leaned on.
            return result
        self._known[key] = (want, result)
        return result

    def _of_kind(self, goal: Goal, kind: str, want: int) -> Result:
        state = _State()
        if not all(self._assert(state, formula, kind) for formula in sorted(goal, key=_order)):
            return EMPTY
        return self._decide(state, kind, want)

    def _theory(self, state: _State, kind: str, want: int) -> Result:
        key = (kind, frozenset(state.atoms))
        return self._remembered(key, want, lambda: self._theories[kind](self, list(state.atoms), want))

    def _assert(self, state: _State, formula: Formula, kind: str) -> bool:
        """Adds a formula to what is decided; False when it contradicts."""
        waiting = [formula]
        while waiting:
            self.budget.spend()
            match waiting.pop():
                case And(parts):
                    waiting.extend(reversed(parts))
                case Or(parts) as choice:
                    if not parts:
                        return False
                    state.choices.append(choice)
                case Schema(node, wanted):
                    if state.schemas.setdefault(node, wanted) != wanted:
                        return False
                    said = self.opened(node, kind)
                    waiting.append(said if wanted else negate(said))
                case atom:
                    if negate(atom) in state.atoms:
                        return False
                    state.atoms[atom] = None
        return True

    def _status(self, state: _State, formula: Formula) -> bool | None:
        """Whether a formula is decided already: it holds, it can't, or neither."""
        match formula:
            case And() | Or():
                return None
            case Schema(node, wanted):
                return None if node not in state.schemas else state.schemas[node] == wanted
            case atom:
                if atom in state.atoms:
                    return True
                return False if negate(atom) in state.atoms else None

    def _propagate(self, state: _State, kind: str) -> bool:
        """Decides what has only one way left; False when something has none."""
        changed = True
        while changed:
            changed = False
            for choice in list(state.choices):
                statuses = [(part, self._status(state, part)) for part in choice.parts]
                left = [part for part, status in statuses if status is None]
                done = any(status for _, status in statuses)
                if not done and not left:
                    return False
                if done or len(left) == 1:
                    state.choices.remove(choice)
                    if not done and not self._assert(state, left[0], kind):
                        return False
                    changed = True
        return True

    def _decide(self, state: _State, kind: str, want: int) -> Result:
        self.budget.check()
        if not self._propagate(state, kind):
            return EMPTY
        found = self._theory(state, kind, want if not state.choices else 1)
        if found.none or not state.choices:
            return found
        if want == 1:
            for value in found.values:
                if all(holds(choice, value, self.opened) for choice in state.choices):
                    return Result((value,))
        ways = self._fewest_ways(state, kind)
        return gathered((self._decide(way, kind, want) for way in ways), want)

    def _hopeless(self, kind: str, atoms: list[Atom]) -> Callable[[Formula], bool]:
        return self._glance(self, atoms) if kind == "object" else lambda part: False

    def _fewest_ways(self, state: _State, kind: str) -> list[_State]:
        """The ways to decide the choice that has the fewest left."""
        fewest: list[_State] | None = None
        hopeless = self._hopeless(kind, list(state.atoms))
        for choice in state.choices:
            ways = []
            for part in choice.parts:
                if hopeless(part):
                    continue
                way = state.copy(choice)
                possible = self._assert(way, part, kind) and self._propagate(way, kind)
                if possible and not self._theory(way, kind, 1).none:
                    ways.append(way)
                if fewest is not None and len(ways) >= len(fewest):
                    break
            else:
                fewest = ways
            if fewest is not None and len(fewest) <= 1:
                break
        return fewest or []


def _order(formula: Formula) -> tuple[bool, str]:
    """What is wanted before what is not, and the same in every run."""
    if isinstance(formula, Schema):
        return not formula.holds, formula.node.fingerprint
    return False, repr(formula)
