"""Which texts fit some patterns and not others: a search through derivatives.

A pattern's derivative by a character is the pattern that the rest of the text has to fit (Brzozowski 1964;
Owens, Reppy, Turon 2009). All patterns are derived side by side, breadth first, so that the shortest text is
found, and so that having seen every state proves that there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

from contracts.compatibility.budget import Budget
from contracts.compatibility.regex import BEGIN, END, Alt, Cat, Chars, Repeat, Tree

__all__ = ["Found", "literal", "texts"]

_NOTHING = Alt(frozenset())
_EMPTY = Cat(())
_ANYTHING = Repeat(Chars(((0, END),)), 0, None)
# What a witness is made of, the most readable first.
_READABLE = [*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1), *range(ord("A"), ord("Z") + 1)]
_READABLE += [ord(char) for char in "-_. @/:+,"]


_RANK = {char: rank for rank, char in enumerate(_READABLE)}
_SPARE = 40


@dataclass(frozen=True, slots=True)
class Found:
    """Texts that were found, shortest first; ``complete`` when there are no others."""

    texts: tuple[str, ...]
    complete: bool


def literal(text: str) -> Tree:
    """The pattern of exactly this text, anchors included."""
    return Cat((Chars(((BEGIN, BEGIN),)), *(Chars(((ord(c), ord(c)),)) for c in text), Chars(((END, END),))))


@lru_cache(maxsize=4096)
def _nullable(tree: Tree) -> bool:
    match tree:
        case Chars():
            return False
        case Cat(parts):
            return all(map(_nullable, parts))
        case Alt(parts):
            return any(map(_nullable, parts))
        case Repeat(part, least, _):
            return least == 0 or _nullable(part)


def _cat(first: Tree, second: Tree) -> Tree:
    if first == _NOTHING or second == _NOTHING:
        return _NOTHING
    parts = (first.parts if isinstance(first, Cat) else (first,)) + (
        second.parts if isinstance(second, Cat) else (second,)
    )
    if len(parts) > 1 and parts[0] == _ANYTHING and parts[1] == _ANYTHING:
        parts = parts[1:]
    return parts[0] if len(parts) == 1 else Cat(parts)


def _alt(trees: Sequence[Tree]) -> Tree:
    kept: set[Tree] = set()
    for tree in trees:
        kept |= tree.parts if isinstance(tree, Alt) else {tree}
    if _ANYTHING in kept:
        return _ANYTHING
    return next(iter(kept)) if len(kept) == 1 else Alt(frozenset(kept))


def _repeat(part: Tree, least: int, most: int | None) -> Tree:
    if most == 0 or part == _EMPTY:
        return _EMPTY
    if part == _NOTHING:
        return _EMPTY if least == 0 else _NOTHING
    return part if (least, most) == (1, 1) else Repeat(part, least, most)


@lru_cache(maxsize=20_000)
def _derive(tree: Tree, char: int) -> Tree:
    match tree:
        case Chars(ranges):
            return _EMPTY if any(low <= char <= high for low, high in ranges) else _NOTHING
        case Cat(()):
            return _NOTHING
        case Cat(parts):
            rest = Cat(parts[1:]) if len(parts) != 2 else parts[1]
            through = _cat(_derive(parts[0], char), rest)
            return _alt([through, _derive(rest, char)]) if _nullable(parts[0]) else through
        case Alt(parts):
            return _alt([_derive(part, char) for part in parts])
        case Repeat(part, least, most):
            rest = _repeat(part, max(least - 1, 0), None if most is None else most - 1)
            return _cat(_derive(part, char), rest)


def _begun(tree: Tree) -> Tree:
    """What is left of a pattern, looked for anywhere, once the text has begun."""
    return _no_beginning(_derive(_cat(_cat(_ANYTHING, tree), _ANYTHING), BEGIN))


def _no_beginning(tree: Tree) -> Tree:
    """The tree without what a second beginning could match: there is none, and the search ends sooner."""
    match tree:
        case Chars(ranges):
            return _NOTHING if ranges == ((BEGIN, BEGIN),) else tree
        case Cat(parts):
            result: Tree = _EMPTY
            for part in parts:
                result = _cat(result, _no_beginning(part))
            return result
        case Alt(parts):
            return _alt([_no_beginning(part) for part in parts])
        case Repeat(part, least, most):
            return _repeat(_no_beginning(part), least, most)


def _boundaries(tree: Tree) -> Iterator[int]:
    waiting: list[Tree] = [tree]
    while waiting:
        match waiting.pop():
            case Chars(ranges):
                for low, high in ranges:
                    yield from (low, high + 1)
            case Cat(parts) | Alt(parts):
                waiting.extend(parts)
            case Repeat(part, _, _):
                waiting.append(part)


def _alphabet(trees: Sequence[Tree]) -> dict[int, list[int]]:
    """One character out of each block of those that no pattern tells apart, readable ones first.

    With each, a few others of its block.
    """
    cuts = {0, 0xD800, 0xE000, BEGIN}
    for tree in trees:
        cuts.update(_boundaries(tree))
    borders = sorted(cut for cut in cuts if cut <= BEGIN)
    blocks = [(low, high - 1) for low, high in pairwise(borders) if low != 0xD800]
    chosen = {}
    for low, high in blocks:
        some = [c for c in _READABLE if low <= c <= high] or [*range(low, min(high, low + _SPARE) + 1)]
        if len(some) == 1 and high > low:
            some += [c for c in range(low, min(high, low + _SPARE) + 1) if c != some[0]]
        chosen[some[0]] = some[1:]
    return dict(sorted(chosen.items(), key=lambda one: (_RANK.get(one[0], len(_READABLE)), one[0])))


@dataclass(frozen=True, slots=True)
class _State:
    trees: tuple[Tree, ...]
    length: int


def texts(
    fits: Sequence[Tree], avoids: Sequence[Tree], least: int, most: int | None, want: int, budget: Budget
) -> Found:
    """Up to ``want`` texts of ``least`` to ``most`` characters that fit the one and avoid the others.

    Raises OutOfBudget. The number of states is bounded by the budget alone.
    """
    searched = [_begun(tree) for tree in [*fits, *avoids]]
    alphabet = _alphabet(searched)
    # Beyond the last bound that matters, lengths are the same.
    top = least if most is None else most + 1
    found: list[str] = []
    # A state is gone through once for each text that is wanted: different ways to it are different texts.
    seen: Counter[_State] = Counter()
    cut = False
    layer: list[tuple[_State, str]] = [(_State(tuple(searched), 0), "")]
    while layer:
        following: list[tuple[_State, str]] = []
        for state, text in layer:
            budget.spend()
            if seen[state] >= want:
                cut = True
                continue
            seen[state] += 1
            if state.length >= least and _accepted(state.trees, len(fits)):
                found.append(text)
                if len(found) >= want:
                    return Found(tuple(found), False)
            if most is None or state.length < most:
                following += _followers(state, text, alphabet, len(fits), top, budget)
        layer = following
    # Characters of one block may stand for each other.
    others = islice(_varied(found, alphabet), want - len(found))
    found += dict.fromkeys(others)
    spare = any(alphabet[ord(char)] for text in found for char in text if ord(char) in alphabet)
    return Found(tuple(found), not (found and (cut or spare)))


def _varied(found: Sequence[str], alphabet: dict[int, list[int]]) -> Iterator[str]:
    for text in list(found):
        for index, char in enumerate(text):
            for other in alphabet[ord(char)]:
                yield text[:index] + chr(other) + text[index + 1 :]


def _accepted(trees: tuple[Tree, ...], fits: int) -> bool:
    ended = [_nullable(_derive(tree, END)) for tree in trees]
    return all(ended[:fits]) and not any(ended[fits:])


def _followers(
    state: _State, text: str, alphabet: Iterable[int], fits: int, top: int, budget: Budget
) -> Iterator[tuple[_State, str]]:
    for char in alphabet:
        budget.spend()
        trees = tuple(_derive(tree, char) for tree in state.trees)
        if _NOTHING in trees[:fits] or _ANYTHING in trees[fits:]:
            continue
        yield _State(trees, min(state.length + 1, top)), text + chr(char)
