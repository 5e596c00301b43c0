"""Regular expressions as JSON Schema means them (ECMA-262, search semantics), read into a small tree.

What is read: literals, classes, ``.``, groups, alternation, repetition and the anchors ``^`` and ``$``.
What is not (look-around, back references, word boundaries, flags, Unicode properties) raises NotRegular:
patterns with it are not reasoned about.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEGIN", "END", "Alt", "Cat", "Chars", "NotRegular", "Repeat", "Tree", "parse"]

_LAST = 0x10FFFF
# The text is thought of as BEGIN text END; the anchors are these two "characters", outside of Unicode.
BEGIN, END = _LAST + 1, _LAST + 2
_MOST_REPEATS = 5000


class NotRegular(Exception):
    """Raised for a pattern that uses what is not reasoned about."""


Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of inclusive ranges of code points, sorted and disjoint."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Cat:
    """One after the other; the empty sequence is the empty text."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of them; with none, nothing matches."""

    parts: frozenset[Tree]


@dataclass(frozen=True, slots=True)
class Repeat:
    """At least ``least`` times, at most ``most`` (None is without end)."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Cat | Alt | Repeat

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}


def merged(ranges: list[tuple[int, int]]) -> Ranges:
    """The same characters in sorted, disjoint ranges."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def inverted(ranges: Ranges) -> Ranges:
    """Every other character of Unicode."""
    out, at = [], 0
    for low, high in ranges:
        if low > at:
            out.append((at, low - 1))
        at = high + 1
    return (*out, (at, _LAST)) if at <= _LAST else tuple(out)


_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}


def parse(pattern: str) -> Tree:
    """The tree of a pattern. Raises NotRegular."""
    reader = _Reader(pattern)
    tree = reader.alternatives(0)
    if reader.at < len(pattern):
        raise NotRegular(f"the pattern {pattern!r} is not understood at {reader.at}")
    for anchor in (BEGIN, END):
        if _anchors(tree, anchor) > 1:
            raise NotRegular(f"the pattern {pattern!r} has several anchors in a row")
    if _ends_first(tree):
        raise NotRegular(f"the pattern {pattern!r} has an end before a beginning")
    return tree


def _ends_first(tree: Tree) -> bool:
    """Whether ``$`` comes before ``^`` on a way through: both may hold of the empty text."""
    match tree:
        case Cat(parts):
            ends = [index for index, part in enumerate(parts) if _anchors(part, END)]
            begins = [index for index, part in enumerate(parts) if _anchors(part, BEGIN)]
            return any(end < begin for end in ends for begin in begins) or any(map(_ends_first, parts))
        case Alt(parts):
            return any(map(_ends_first, parts))
        case Repeat(part, _, _):
            return _ends_first(part)
        case _:
            return False


def _anchors(tree: Tree, anchor: int) -> int:
    """The most times that an anchor can come on one way through the tree."""
    match tree:
        case Chars(ranges):
            return int(ranges == ((anchor, anchor),))
        case Cat(parts):
            return sum(_anchors(part, anchor) for part in parts)
        case Alt(parts):
            return max((_anchors(part, anchor) for part in parts), default=0)
        case Repeat(part, _, most):
            return _anchors(part, anchor) * (2 if most is None else most)


class _Reader:
    """A cursor over a pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _next(self) -> str:
        found = self._peek()
        if not found:
            raise NotRegular(f"the pattern {self.pattern!r} ends too early")
        self.at += 1
        return found

    def _refuse(self, what: str) -> NotRegular:
        return NotRegular(f"the pattern {self.pattern!r} uses {what}")

    def alternatives(self, depth: int) -> Tree:
        if depth > 50:
            raise self._refuse("groups nested deeper than 50")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else Alt(frozenset(branches))

    def _sequence(self, depth: int) -> Tree:
        parts: list[Tree] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._one(depth)))
        return parts[0] if len(parts) == 1 else Cat(tuple(parts))

    def _one(self, depth: int) -> Tree:
        char = self._next()
        match char:
            case "^":
                return Chars(((BEGIN, BEGIN),))
            case "$":
                return Chars(((END, END),))
            case ".":
                return Chars(inverted(((10, 10),)))
            case "(":
                return self._group(depth)
            case "[":
                return Chars(self._class())
            case "\\":
                return Chars(self._escape())
            case "*" | "+" | "?":
                raise self._refuse("a repetition of nothing")
            case _:
                return Chars(((ord(char), ord(char)),))

    def _group(self, depth: int) -> Tree:
        if self.pattern.startswith("?:", self.at):
            self.at += 2
        elif self.pattern.startswith("?<", self.at) and self.pattern[self.at + 2 : self.at + 3] not in (
            "=",
            "!",
        ):
            end = self.pattern.find(">", self.at)
            if end < 0:
                raise self._refuse("a group without an end to its name")
            self.at = end + 1
        elif self._peek() == "?":
            raise self._refuse("look-around or flags")
        tree = self.alternatives(depth + 1)
        if self._next() != ")":
            raise self._refuse("a group without an end")
        return tree

    def _repeated(self, tree: Tree) -> Tree:
        times = self._times()
        if times is None:
            return tree
        if self._peek() == "?":
            self.at += 1  # lazy or greedy: the same texts match
        if self._times() is not None:
            raise self._refuse("a repetition of a repetition")
        return Repeat(tree, *times)

    def _times(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self._peek() in simple:
            return simple[self._next()]
        if self._peek() != "{":
            return None
        end = self.pattern.find("}", self.at)
        inner = self.pattern[self.at + 1 : end].split(",") if end > 0 else []
        if (
            not 1 <= len(inner) <= 2
            or not inner[0].isdecimal()
            or not all(s.isdecimal() or not s for s in inner)
        ):
            raise self._refuse("a brace that is no repetition")
        least = int(inner[0])
        most = least if len(inner) == 1 else int(inner[1]) if inner[1] else None
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            raise self._refuse("a repetition out of bounds")
        self.at = end + 1
        return least, most

    def _class(self) -> Ranges:
        inverse = self._peek() == "^"
        self.at += inverse
        if self._peek() == "]":
            raise self._refuse("a class that begins with ], which engines read differently")
        ranges: list[tuple[int, int]] = []
        while (char := self._next()) != "]":
            if char == "[" or self.pattern.startswith(("&&", "--", "~~"), self.at - 1):
                raise self._refuse("a set operation or a class inside a class")
            found = self._escape(in_class=True) if char == "\\" else ((ord(char), ord(char)),)
            if self._peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                found = (self._range(found),)
            ranges += found
        result = merged(ranges)
        return inverted(result) if inverse else result

    def _range(self, low: Ranges) -> tuple[int, int]:
        self.at += 1
        char = self._next()
        high = self._escape(in_class=True) if char == "\\" else ((ord(char), ord(char)),)
        if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
            raise self._refuse("a range with a class at its end")
        if low[0][0] > high[0][0]:
            raise self._refuse("a range that is the wrong way round")
        return low[0][0], high[0][0]

    def _escape(self, in_class: bool = False) -> Ranges:
        char = self._next()
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return ranges if char.islower() else inverted(ranges)
        if char in _CONTROL:
            code = _CONTROL[char]
        elif char == "b" and in_class:
            code = 8
        elif char in "xu":
            code = self._hex(2 if char == "x" else 4)
        elif char in "<>" or (char.isascii() and char.isalnum()):
            # An angle is itself in ECMA-262; to the engine it is the border of a word.
            raise self._refuse(f"\\{char}")
        else:
            code = ord(char)
        return ((code, code),)

    def _hex(self, digits: int) -> int:
        text = self.pattern[self.at : self.at + digits]
        if len(text) != digits or not all(one in "0123456789abcdefABCDEF" for one in text):
            raise self._refuse("an escape that is no code point")
        code = int(text, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise self._refuse("half of a surrogate pair")
        self.at += digits
        return code
