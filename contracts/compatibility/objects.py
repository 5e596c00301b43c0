"""The theory of objects: which properties there are, and what their values are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from contracts.compatibility.formula import (
    Atom,
    EachName,
    EachProperty,
    Formula,
    Has,
    Length,
    OneOfValues,
    Text,
)
from contracts.compatibility.node import canonical
from contracts.compatibility.plain import doubt, listed
from contracts.compatibility.search import EMPTY, Goal, Result, Search, gathered
from contracts.compatibility.truth import among, holds

__all__ = ["glance", "objects"]

_MOST_PATTERNS = 6
_MOST_PROPERTIES = 300
_MOST_WAYS = 2000


@dataclass(frozen=True, slots=True)
class _Wants:
    """The atoms of an object, sorted out."""

    each: tuple[EachProperty, ...]
    some: tuple[EachProperty, ...]
    names: tuple[Formula, ...]
    some_names: tuple[Formula, ...]
    has: frozenset[str]
    lacks: frozenset[str]
    least: int
    most: int | None
    excluded: frozenset[str]

    @property
    def known(self) -> list[str]:
        """Every name that is spoken of, sorted."""
        spoken = {*self.has, *self.lacks}
        for one in (*self.each, *self.some):
            spoken |= {one.where.name} if one.where.name is not None else set()
            spoken |= one.where.beside[0] if one.where.beside else set()
        return sorted(spoken)

    @property
    def patterns(self) -> list[str]:
        """Every pattern of names that is spoken of, sorted."""
        spoken: set[str] = set()
        for one in (*self.each, *self.some):
            spoken |= {one.where.pattern} if one.where.pattern is not None else set()
            spoken |= one.where.beside[1] if one.where.beside else set()
        return sorted(spoken)


@dataclass(frozen=True, slots=True)
class _Made:
    """An object in the making: the goal of each property, beside what all of its name have to fit."""

    goals: tuple[tuple[str, Goal], ...]

    def with_goal(self, name: str, goal: Goal) -> _Made:
        return replace(self, goals=tuple(sorted({**dict(self.goals), name: goal}.items())))


def _sorted_out(atoms: list[Atom]) -> _Wants:
    lengths = [atom for atom in atoms if isinstance(atom, Length)]
    has = [atom for atom in atoms if isinstance(atom, Has)]
    return _Wants(
        each=tuple(atom for atom in atoms if isinstance(atom, EachProperty) and atom.every),
        some=tuple(atom for atom in atoms if isinstance(atom, EachProperty) and not atom.every),
        names=tuple(atom.what for atom in atoms if isinstance(atom, EachName) and atom.every),
        some_names=tuple(atom.what for atom in atoms if isinstance(atom, EachName) and not atom.every),
        has=frozenset(atom.name for atom in has if atom.holds),
        lacks=frozenset(atom.name for atom in has if not atom.holds),
        least=max((one.least for one in lengths), default=0),
        most=min((one.most for one in lengths if one.most is not None), default=None),
        excluded=frozenset(text for atom in atoms if isinstance(atom, OneOfValues) for text in atom.values),
    )


def objects(search: Search, atoms: list[Atom], want: int) -> Result:
    """Objects that fit the atoms."""
    found = listed(search, atoms, want)
    if found is not None:
        return found
    wants = _sorted_out(atoms)
    if wants.most is not None and wants.most < max(wants.least, len(wants.has)):
        return EMPTY
    if wants.least > _MOST_PROPERTIES:
        return Result((), f"objects of more than {_MOST_PROPERTIES} properties are not looked at")
    result = _Builder(search, wants, want).result()
    why = doubt(search, atoms)
    return Result(result.values, result.open or why) if why and result.values else result


def glance(search: Search, atoms: list[Atom]) -> Callable[[Formula], bool]:
    """Tells which "some property of that name fits" can't be true of objects that fit the atoms."""
    each = _sorted_out(atoms).each
    by_name: dict[str, list[Formula]] = {}
    for one in each:
        if one.where.name is not None:
            by_name.setdefault(one.where.name, []).append(one.what)
    wide = [one for one in each if one.where.name is None]

    def hopeless(part: Formula) -> bool:
        if not isinstance(part, EachProperty) or part.every or part.where.name is None:
            return False
        name = part.where.name
        others = [one.what for one in wide if among(one.where, name)]
        return search.solve(frozenset([part.what, *by_name.get(name, ()), *others])).none

    return hopeless


class _Builder:
    """Builds objects for one set of wants."""

    def __init__(self, search: Search, wants: _Wants, want: int) -> None:
        self.search = search
        self.wants = wants
        self.want = want
        self.known = wants.known
        self.patterns = wants.patterns
        self.open: str | None = None

    def result(self) -> Result:
        start = _Made(())
        for name in sorted(self.wants.has):
            goal = self._goal(name)
            if goal is None or self.search.solve(goal).none:
                return EMPTY if self.open is None else Result((), self.open)
            start = start.with_goal(name, goal)
        results: list[Result] = []
        for number, made in enumerate(self._demanded(start, self._demands())):
            self.search.budget.spend()
            if number >= _MOST_WAYS:
                self.open = self.open or "an object's properties can be chosen in too many ways"
                break
            results.append(self._finished(made))
            if sum(len(one.values) for one in results) >= self.want:
                break
        found = gathered(results, self.want)
        return Result(found.values, found.open or self.open)

    # What one property has to fit

    def _goal(self, name: str) -> Goal | None:
        """What the value of a property has to fit; None when there may be none of that name."""
        if name in self.wants.lacks:
            return None
        truths = [holds(formula, name, self.search.opened) for formula in self.wants.names]
        if False in truths:
            return None
        if None in truths:
            self.open = self.open or f"it can't be told whether a property may be called {name!r}"
            return None
        return frozenset(one.what for one in self.wants.each if among(one.where, name))

    def _demands(self) -> list[tuple[EachProperty | None, Formula | None]]:
        # Names first: the patterns that a name was chosen for settle which properties it is among.
        named: list[tuple[EachProperty | None, Formula | None]] = [
            (None, one) for one in self.wants.some_names
        ]
        return named + [(one, None) for one in self.wants.some]

    def _demanded(
        self, made: _Made, demands: list[tuple[EachProperty | None, Formula | None]]
    ) -> Iterator[_Made]:
        """Every way to have the properties that are asked for."""
        if not demands:
            yield made
            return
        property, name = demands[0]
        for way in self._by_known(made, property, name):
            yield from self._demanded(way, demands[1:])
        for way in self._by_fresh(made, property, name):
            yield from self._demanded(way, demands[1:])

    def _by_known(self, made: _Made, property: EachProperty | None, name: Formula | None) -> Iterator[_Made]:
        goals = dict(made.goals)
        for known in dict.fromkeys([*goals, *self.known]):
            if property is not None and not among(property.where, known):
                continue
            if name is not None:
                fits = holds(name, known, self.search.opened)
                if fits is None:
                    self.open = self.open or f"it can't be told whether {known!r} is a name that is asked for"
                if not fits:
                    continue
            goal = goals.get(known) if known in goals else self._goal(known)
            if goal is None:
                continue
            goal = goal | {property.what} if property is not None else goal
            if not self.search.solve(goal).none:
                yield made.with_goal(known, goal)

    def _by_fresh(self, made: _Made, property: EachProperty | None, name: Formula | None) -> Iterator[_Made]:
        if property is not None and property.where.name is not None:
            return
        extra = [] if name is None else [name]
        for matched, goal in self._kinds_of_names():
            if property is not None and not self._among(property, matched):
                continue
            goal = goal | {property.what} if property is not None else goal
            if self.search.solve(goal).none:
                continue
            for fresh in self._names(matched, extra, dict(made.goals), 1):
                yield made.with_goal(fresh, goal)

    # Names that nobody spoke of

    def _among(self, property: EachProperty, matched: frozenset[str]) -> bool:
        where = property.where
        if where.pattern is not None:
            return where.pattern in matched
        return where.beside is not None and not where.beside[1] & matched

    def _kinds_of_names(self) -> Iterator[tuple[frozenset[str], Goal]]:
        """The patterns that a name may fit, and what the values of such names have to fit."""
        if len(self.patterns) > _MOST_PATTERNS:
            self.open = self.open or f"more than {_MOST_PATTERNS} patterns of names are spoken of"
            return
        for truths in product((False, True), repeat=len(self.patterns)):
            matched = frozenset(one for one, fits in zip(self.patterns, truths, strict=True) if fits)
            yield matched, frozenset(one.what for one in self.wants.each if self._among(one, matched))

    def _names(
        self, matched: frozenset[str], extra: Iterable[Formula], taken: Iterable[str], want: int
    ) -> list[str]:
        """Up to ``want`` names that nobody spoke of, that fit these patterns and no others."""
        taken = {*taken, *self.known}
        goal: set[Formula] = {*self.wants.names, *extra}
        goal |= {Text("pattern", pattern, pattern in matched) for pattern in self.patterns}
        goal.add(OneOfValues(frozenset(map(canonical, taken)), False))
        found = self.search.texts(frozenset(goal), want)
        if len(found.values) < want and not found.all:
            self.open = self.open or found.open or "not enough names of properties were found"
        return [str(name) for name in found.values]

    # The rest

    def _finished(self, made: _Made) -> Result:
        wants = self.wants
        if wants.most is not None and len(made.goals) > wants.most:
            if len(self.wants.some_names) > 1:
                # One name may be all that is asked for; that was tried for known names only.
                self.open = self.open or "fewer properties might do"
            return EMPTY
        full = self._filled_up(made)
        if full is None:
            return EMPTY
        values: dict[str, Any] = {}
        for name, goal in full.goals:
            found = self.search.solve(goal)
            if not found.values:
                return EMPTY if found.none else Result((), found.open)
            values[name] = found.values[0]
        kept = [one for one in self._varied(full, values) if canonical(one) not in wants.excluded]
        if not kept:
            return Result((), "every object that was found is one of those to be left out")
        return Result(tuple(kept[: self.want]))

    def _varied(self, made: _Made, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The object, and others like it where more are wanted."""
        yield values
        if self.want == 1 and not self.wants.excluded:
            return
        for name, goal in made.goals[:8]:
            for other in self.search.solve(goal, 2).values[1:]:
                yield {**values, name: other}
        if self.wants.most is None or len(values) < self.wants.most:
            for name, goal in self._more(made):
                found = self.search.solve(goal)
                if found.values:
                    yield {**values, name: found.values[0]}
                    return

    def _filled_up(self, made: _Made) -> _Made | None:
        """With as many properties as there have to be; None when there can't be so many."""
        for name, goal in self._more(made):
            if len(made.goals) >= self.wants.least:
                return made
            made = made.with_goal(name, goal)
        return made if len(made.goals) >= self.wants.least else None

    def _more(self, made: _Made) -> Iterator[tuple[str, Goal]]:
        """Further properties that there may be."""
        taken = dict(made.goals)
        for name in self.known:
            goal = self._goal(name) if name not in taken else None
            if goal is not None and not self.search.solve(goal).none:
                yield name, goal
        missing = max(self.wants.least - len(taken), 1)
        for matched, goal in self._kinds_of_names():
            if not self.search.solve(goal).none:
                for name in self._names(matched, (), taken, missing):
                    yield name, goal
