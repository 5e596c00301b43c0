"""The theory of arrays: how long, and what at each position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from contracts.compatibility.formula import Atom, Count, Each, Formula, Length, OneOfValues, Unique, negate
from contracts.compatibility.node import canonical
from contracts.compatibility.plain import doubt, listed
from contracts.compatibility.search import EMPTY, Goal, Result, Search, gathered

__all__ = ["arrays"]

_LONGEST = 400
_MOST_WAYS = 2000


@dataclass(frozen=True, slots=True)
class _Wants:
    """The atoms of an array, sorted out."""

    each: tuple[Each, ...]
    some: tuple[Each, ...]
    counts: tuple[Count, ...]
    unique: bool
    repeated: bool
    least: int
    most: int | None
    excluded: frozenset[str]

    @property
    def border(self) -> int:
        """From this position on, all positions are alike."""
        ends = [end for one in (*self.each, *self.some) for end in (one.where.start, one.where.end or 0)]
        return max(ends, default=0)

    @property
    def demands(self) -> int:
        """How many items may be needed for what some item has to be."""
        return len(self.some) + sum(one.least for one in self.counts) + 2 * self.repeated

    def at(self, index: int) -> list[Formula]:
        """What each item at this position has to fit."""
        return [one.what for one in self.each if _covers(one, index)]


def _covers(each: Each, index: int) -> bool:
    return each.where.start <= index and (each.where.end is None or index < each.where.end)


def _sorted_out(atoms: list[Atom]) -> _Wants:
    lengths = [atom for atom in atoms if isinstance(atom, Length)]
    uniques = [atom.holds for atom in atoms if isinstance(atom, Unique)]
    mosts = [one.most for one in lengths if one.most is not None]
    return _Wants(
        each=tuple(atom for atom in atoms if isinstance(atom, Each) and atom.every),
        some=tuple(atom for atom in atoms if isinstance(atom, Each) and not atom.every),
        counts=tuple(atom for atom in atoms if isinstance(atom, Count)),
        unique=True in uniques,
        repeated=False in uniques,
        least=max((one.least for one in lengths), default=0),
        most=min(mosts, default=None),
        excluded=frozenset(text for atom in atoms if isinstance(atom, OneOfValues) for text in atom.values),
    )


def arrays(search: Search, atoms: list[Atom], want: int) -> Result:
    """Arrays that fit the atoms."""
    found = listed(search, atoms, want)
    if found is not None:
        return found
    wants = _sorted_out(atoms)
    if wants.most is not None and wants.most < wants.least:
        return EMPTY
    # A longer array has an item that nothing asks for, and without it still fits.
    longest = max(wants.least, wants.border) + wants.demands + (want > 1 or bool(wants.excluded))
    longest = longest if wants.most is None else min(longest, wants.most)
    if wants.least > _LONGEST:
        return Result((), f"arrays of more than {_LONGEST} items are not looked at")
    cut = longest > _LONGEST
    result = gathered(
        (
            _of_length(search, wants, length, want)
            for length in range(wants.least, min(longest, _LONGEST) + 1)
        ),
        want,
    )
    why = doubt(search, atoms)
    if not result.values and (cut or wants.excluded) and result.open is None and not _never(search, wants):
        return Result((), "longer arrays would have to be looked at")
    # Lengths beyond were not counted, so that there may always be others.
    return Result(result.values, result.open or (why if result.values else None), False)


def _never(search: Search, wants: _Wants) -> bool:
    """Whether there is nothing even when no array is excluded."""
    freed = _Wants(
        wants.each,
        wants.some,
        wants.counts,
        wants.unique,
        wants.repeated,
        wants.least,
        wants.most,
        frozenset(),
    )
    longest = max(wants.least, wants.border) + wants.demands
    longest = longest if wants.most is None else min(longest, wants.most)
    if longest > _LONGEST:
        return False
    return gathered((_of_length(search, freed, n, 1) for n in range(wants.least, longest + 1)), 1).none


def _of_length(search: Search, wants: _Wants, length: int, want: int) -> Result:
    if any(one.least > length for one in wants.counts) or (wants.repeated and length < 2):
        return EMPTY
    goals = [frozenset(wants.at(index)) for index in range(length)]
    for goal in dict.fromkeys(goals):
        if search.solve(goal).none:
            return EMPTY
    results: list[Result] = []
    values = 0
    for number, assigned in enumerate(_assignments(search, wants, goals)):
        search.budget.spend()
        if number >= _MOST_WAYS:
            results.append(Result((), "an array's items can be chosen in too many ways"))
            break
        result = _filled(search, wants, assigned, want)
        results.append(result)
        values += len(result.values)
        if values >= want:
            break
    return gathered(results, want)


@dataclass(frozen=True, slots=True)
class _Assigned:
    goals: tuple[Goal, ...]
    pair: tuple[int, int] | None


def _assignments(search: Search, wants: _Wants, goals: list[Goal]) -> Iterator[_Assigned]:
    """Every way to say which items are those that are asked for."""
    for counted in _counted(search, list(goals), wants.counts, not wants.some):
        for placed in _placed(search, counted, wants.some):
            if not wants.repeated:
                yield _Assigned(tuple(placed), None)
                continue
            for first, second in _pairs(placed):
                goal = placed[first] | placed[second]
                if not search.solve(goal).none:
                    same = [goal if index in (first, second) else one for index, one in enumerate(placed)]
                    yield _Assigned(tuple(same), (first, second))


def _pairs(goals: list[Goal]) -> Iterator[tuple[int, int]]:
    """Which two items may be equal: of those that have to fit the same, any two are as good."""
    seen: Counter[Goal] = Counter()
    some = []
    for index, goal in enumerate(goals):
        seen[goal] += 1
        some += [index] if seen[goal] <= 2 else []
    return combinations(some, 2)


def _placed(search: Search, goals: list[Goal], some: tuple[Each, ...]) -> Iterator[list[Goal]]:
    if not some:
        yield goals
        return
    tried: set[Goal] = set()
    for index in range(len(goals)):
        goal = goals[index] | {some[0].what}
        if not _covers(some[0], index) or (goal in tried and _alike(some, goals, index)):
            continue
        tried.add(goal)
        if not search.solve(goal).none:
            yield from _placed(search, [*goals[:index], goal, *goals[index + 1 :]], some[1:])


def _alike(some: tuple[Each, ...], goals: list[Goal], index: int) -> bool:
    """Whether this position is as good as the one before for all that is still to be placed."""
    before = index - 1
    return (
        before >= 0
        and goals[before] == goals[index]
        and all(_covers(one, before) == _covers(one, index) for one in some)
    )


def _counted(
    search: Search, goals: list[Goal], counts: tuple[Count, ...], alike: bool
) -> Iterator[list[Goal]]:
    if not counts:
        yield goals
        return
    count, rest = counts[0], counts[1:]
    most = count.least if count.most is None else min(count.most, len(goals))
    for number in range(count.least, most + 1):
        for chosen in _chosen(search, goals, count, number, alike):
            yield from _counted(search, chosen, rest, alike)


def _chosen(
    search: Search, goals: list[Goal], count: Count, number: int, alike: bool
) -> Iterator[list[Goal]]:
    """Which items are those that are counted; the others are not when there is an upper bound.

    ``alike`` says that positions of the same goal may be exchanged.
    """
    other = frozenset() if count.most is None else frozenset({negate(count.what)})
    for indexes in combinations(range(len(goals)), number):
        search.budget.spend()
        chosen = [goal | ({count.what} if i in indexes else other) for i, goal in enumerate(goals)]
        if not any(search.solve(goal).none for goal in dict.fromkeys(chosen)):
            yield chosen
        if alike and len(set(goals)) <= 1:
            return


def _filled(search: Search, wants: _Wants, assigned: _Assigned, want: int) -> Result:
    """Arrays with an item for each goal."""
    if wants.unique:
        return _distinct(search, wants, assigned.goals)
    options = {goal: search.solve(goal, 1 + (want > 1 or bool(wants.excluded))) for goal in assigned.goals}
    if any(result.none for result in options.values()):
        return EMPTY
    why = next((result.open for result in options.values() if not result.values), None)
    if why:
        return Result((), why)
    first = [options[goal].values[0] for goal in assigned.goals]
    made = [first]
    for index, goal in enumerate(assigned.goals[:8]):
        made += [[*first[:index], value, *first[index + 1 :]] for value in options[goal].values[1:]]
    if assigned.pair:
        one, two = assigned.pair
        made = [items for items in made if canonical(items[one]) == canonical(items[two])]
    kept = {text: items for items in made if (text := canonical(items)) not in wants.excluded}
    if not kept:
        return Result((), "every array that was found is one of those to be left out")
    return Result(tuple(kept.values())[:want])


def _distinct(search: Search, wants: _Wants, goals: tuple[Goal, ...]) -> Result:
    """One array whose items all differ."""
    options = {goal: search.solve(goal, len(goals)) for goal in dict.fromkeys(goals)}
    if any(result.none for result in options.values()):
        return EMPTY
    # Those with the fewest values choose first.
    order = sorted(range(len(goals)), key=lambda index: len(options[goals[index]].values))
    chosen = _matched(search, [[*options[goals[index]].values] for index in order])
    if chosen is None:
        if all(result.all for result in options.values()):
            return EMPTY
        return Result((), "not enough different items were found")
    items: list[Any] = [None] * len(goals)
    for index, value in zip(order, chosen, strict=True):
        items[index] = value
    if canonical(items) in wants.excluded:
        return Result((), "every array that was found is one of those to be left out")
    return Result((items,))


def _matched(search: Search, options: list[list[Any]]) -> list[Any] | None:
    """One value of each list, all different; None when there is no such choice."""
    taken: dict[str, int] = {}
    chosen: dict[int, Any] = {}

    def place(index: int, visited: set[str]) -> bool:
        search.budget.spend()
        for value in options[index]:
            text = canonical(value)
            if text in visited:
                continue
            visited.add(text)
            if text not in taken or place(taken[text], visited):
                taken[text] = index
                chosen[index] = value
                return True
        return False

    if not all(place(index, set()) for index in range(len(options))):
        return None
    return [chosen[index] for index in range(len(options))]
