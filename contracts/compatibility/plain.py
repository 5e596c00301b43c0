"""The theories of values without parts: null, booleans, numbers and texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from contracts.compatibility.automaton import literal, texts
from contracts.compatibility.formats import LIKE, WITHIN, examples, known
from contracts.compatibility.formula import And, Atom, Length, Multiple, OneOfValues, Opaque, Range, Text
from contracts.compatibility.node import canonical
from contracts.compatibility.numbers import numbers
from contracts.compatibility.regex import NotRegular, Tree, parse
from contracts.compatibility.search import EMPTY, Result, Search
from contracts.compatibility.truth import holds

__all__ = ["booleans", "fractions", "integers", "listed", "nulls", "opaque", "strings", "truth"]

_LONGEST = 20_000


def opaque(atoms: Iterable[Atom]) -> str | None:
    """What can't be judged among the atoms; None when all can."""
    for atom in atoms:
        match atom:
            case Opaque(what):
                return what
            case Text("format", name, False) if not known(name):
                return f"the format {name!r} is not known"
    return None


def listed(search: Search, atoms: list[Atom], want: int) -> Result | None:
    """The result where the values are listed by ``enum`` or ``const``; None where they are not."""
    lists = [atom.values for atom in atoms if isinstance(atom, OneOfValues) and atom.holds]
    if not lists:
        return None
    values = [json.loads(text) for text in sorted(frozenset.intersection(*lists))]
    truths = [(value, truth(search, atoms, value)) for value in values]
    fitting = [value for value, found in truths if found]
    unsure = any(found is None for _, found in truths)
    why = (opaque(atoms) or "a listed value can't be judged") if unsure else None
    return Result(tuple(fitting[:want]), why, not unsure and len(fitting) <= want)


def truth(search: Search, atoms: Iterable[Atom], value: Any) -> bool | None:
    """Whether all atoms are true of the value; None where that can't be told."""
    return holds(And(tuple(atoms)), value, search.opened)


def nulls(search: Search, atoms: list[Atom], want: int) -> Result:
    """The theory of null."""
    return _these([None], search, atoms)


def booleans(search: Search, atoms: list[Atom], want: int) -> Result:
    """The theory of true and false."""
    return _these([False, True], search, atoms)


def _these(values: list[Any], search: Search, atoms: list[Atom]) -> Result:
    return Result(tuple(value for value in values if truth(search, atoms, value)), None, True)


def integers(search: Search, atoms: list[Atom], want: int) -> Result:
    """The theory of whole numbers."""
    return _numbers(search, atoms, want, whole=True)


def fractions(search: Search, atoms: list[Atom], want: int) -> Result:
    """The theory of numbers that are not whole."""
    return _numbers(search, atoms, want, whole=False)


def _numbers(search: Search, atoms: list[Atom], want: int, *, whole: bool) -> Result:
    found = listed(search, atoms, want)
    if found is not None:
        return found
    excluded = {text for atom in atoms if isinstance(atom, OneOfValues) for text in atom.values}
    asked = [atom for atom in atoms if isinstance(atom, Range | Multiple)]
    some = numbers(asked, whole, want + len(excluded), search.budget)
    fitting = tuple(value for value in some.values if canonical(value) not in excluded)
    if fitting or some.complete:
        return Result(fitting[:want], None, some.complete and len(fitting) <= want)
    return Result((), "no number was found between its bounds that can be written exactly")


def strings(search: Search, atoms: list[Atom], want: int) -> Result:
    """The theory of texts."""
    found = listed(search, atoms, want)
    if found is not None:
        return found
    fits, avoids, unread = _trees(atoms)
    least, most = 0, None
    for atom in atoms:
        if isinstance(atom, Length):
            least = max(least, atom.least)
            most = atom.most if most is None else most if atom.most is None else min(most, atom.most)
    wanted = [
        atom.value for atom in atoms if isinstance(atom, Text) and atom.keyword == "format" and atom.holds
    ]
    unwanted = [
        atom.value for atom in atoms if isinstance(atom, Text) and atom.keyword == "format" and not atom.holds
    ]
    if any(WITHIN.get(name, frozenset()).intersection(unwanted) for name in wanted):
        return EMPTY
    if most is not None and most < least:
        return EMPTY
    if least > _LONGEST:
        return Result((), f"texts of more than {_LONGEST} characters are not looked at")
    judged = bool(wanted or unwanted or unread)
    some = texts(fits, avoids, least, most, want + 6 * judged, search.budget)
    if not some.texts and some.complete:
        return EMPTY
    why = opaque(atoms)
    if why:
        return Result((), why)
    if not judged:
        return Result(some.texts[:want], None, some.complete and len(some.texts) <= want)
    return _judged(search, atoms, want, [*some.texts, *examples(wanted, unwanted), *search.hints], unread)


def _judged(search: Search, atoms: list[Atom], want: int, tried: list[str], unread: str | None) -> Result:
    fitting = [text for text in dict.fromkeys(tried) if truth(search, atoms, text)]
    if fitting:
        return Result(tuple(fitting[:want]))
    names = ", ".join(
        sorted(atom.value for atom in atoms if isinstance(atom, Text) and atom.keyword == "format")
    )
    return Result((), unread or f"no text was found that decides between the formats {names}")


def _trees(atoms: list[Atom]) -> tuple[list[Tree], list[Tree], str | None]:
    """The patterns to fit, those to avoid, and why one of them could not be read."""
    fits: list[Tree] = []
    avoids: list[Tree] = []
    unread = None
    for atom in atoms:
        try:
            match atom:
                case Text("pattern", pattern, wanted):
                    (fits if wanted else avoids).append(parse(pattern))
                case Text("format", name, True) if name in LIKE:
                    fits.append(parse(LIKE[name]))
                case OneOfValues(values, False):
                    avoids.extend(literal(json.loads(text)) for text in sorted(values))
        except NotRegular as error:
            unread = str(error)
    return fits, avoids, unread
