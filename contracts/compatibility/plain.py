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

__all__ = ["booleans", "doubt", "fractions", "integers", "listed", "nulls", "strings", "truth"]

_LONGEST = 20_000


def doubtful(atom: Atom) -> str | None:
    """Why it can't be told of a value whether the atom is true of it; None when it can."""
    match atom:
        case Opaque(what):
            return what
        case Text("format?", name):
            return f"the format {name!r} is not one of draft 7: validators differ"
        case Text("format", name) if not known(name):
            return f"the format {name!r} is not known"
        case _:
            return None


def doubt(search: Search, atoms: Iterable[Atom]) -> str | None:
    """Why values that seem to fit may not: something that must not be true of them can't be told.

    What should be true, and can't be told, is taken for true: in the end the validator has its say.
    """
    for atom in atoms:
        why = doubtful(atom)
        if why and isinstance(atom, Opaque | Text):
            search.noted = search.noted or why
            if not atom.holds:
                return why
    return None


def listed(search: Search, atoms: list[Atom], want: int) -> Result | None:
    """The result where the values are listed by ``enum`` or ``const``; None where they are not."""
    lists = [atom.values for atom in atoms if isinstance(atom, OneOfValues) and atom.holds]
    if not lists:
        return None
    settled = [atom for atom in atoms if not doubtful(atom)]
    values = [json.loads(text) for text in sorted(frozenset.intersection(*lists))]
    truths = [(value, truth(search, settled, value)) for value in values]
    fitting = [value for value, found in truths if found is not False]
    if not fitting:
        return EMPTY
    why = doubt(search, atoms)
    if why is None and any(found is None for _, found in truths):
        why = search.noted or "it can't be told of a listed value whether it fits"
    sure = why is None and len(settled) == len(atoms)
    return Result(tuple(fitting[:want]), why, sure and len(fitting) <= want)


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
    lengths = [atom for atom in atoms if isinstance(atom, Length)]
    least = max((one.least for one in lengths), default=0)
    most = min((one.most for one in lengths if one.most is not None), default=None)
    if (most is not None and most < least) or _formats_exclude(atoms):
        return EMPTY
    if least > _LONGEST:
        return Result((), f"texts of more than {_LONGEST} characters are not looked at")
    judged = bool(unread) or any(isinstance(atom, Text) and atom.keyword != "pattern" for atom in atoms)
    some = texts(fits, avoids, least, most, want + 6 * judged, search.budget)
    if not some.texts and some.complete:
        return EMPTY
    why = doubt(search, atoms)
    if judged:
        return _judged(search, atoms, want, some.texts, why or unread)
    certain = some.complete and len(some.texts) <= want and not any(map(doubtful, atoms))
    return Result(some.texts[:want], why, certain)


def _formats(atoms: list[Atom], holds: bool, *keywords: str) -> list[str]:
    some = [atom for atom in atoms if isinstance(atom, Text) and atom.keyword in keywords]
    return [atom.value for atom in some if atom.holds == holds]


def _formats_exclude(atoms: list[Atom]) -> bool:
    """Whether a format is wanted and another, that its texts are all of, is not."""
    unwanted = {*_formats(atoms, False, "format", "format?")}
    wanted = _formats(atoms, True, "format")
    return any(unwanted & ({name} | WITHIN.get(name, frozenset())) for name in wanted)


def _judged(search: Search, atoms: list[Atom], want: int, found: Iterable[str], why: str | None) -> Result:
    """Texts that are tried out, because not all that is asked of them can be reasoned about."""
    wanted, unwanted = _formats(atoms, True, "format", "format?"), _formats(atoms, False, "format")
    tried = [*found, *examples(wanted, unwanted), *search.hints]
    settled = [atom for atom in atoms if not doubtful(atom)]
    # What only some validators assert is kept to, so that the text serves with all of them.
    settled += [Text("format", name) for name in _formats(atoms, True, "format?")]
    fitting = [text for text in dict.fromkeys(tried) if truth(search, settled, text)]
    if fitting:
        return Result(tuple(fitting[:want]), why if doubt(search, atoms) else None)
    names = ", ".join(sorted({*wanted, *unwanted}))
    return Result((), why or f"no text was found that decides between the formats {names}")


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
