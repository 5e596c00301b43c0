"""One thing that was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.checking.codes import CODES, Level

__all__ = ["Finding", "Spot", "example", "found", "shown"]

_MOST_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Spot:
    """What a finding is about: in words, and the ``file:line`` (or the file) where it was written."""

    what: str
    at: str

    def inside(self, what: str, at: str = "") -> Spot:
        """Something in it, which may have a place of its own."""
        return Spot(f"{self.what}, {what}", at or self.at)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong (``error``), looks so (``warning``) or is worth knowing (``info``), and what to do.

    ``code`` names its kind; ``where`` says in words what it is about, ``file`` and ``line`` where that was
    written. ``counterexample`` holds the instance that proves it, under ``instance``, when there is one.
    """

    code: str
    level: Level
    where: str
    file: str
    line: int | None
    message: str
    advice: str
    counterexample: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        names = ("code", "level", "where", "file", "line", "message", "advice", "counterexample")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        lines = [f"{place}: {self.level}: {self.where}: {self.message} [{self.code}]"]
        if self.counterexample is not None:
            lines.append(f"    for example: {shown(self.counterexample['instance'])}")
        lines.append(f"    to do: {self.advice}")
        return "\n".join(lines)


def found(
    code: str,
    spot: Spot,
    message: str,
    *,
    advice: str | None = None,
    counterexample: Mapping[str, Any] | None = None,
) -> Finding:
    """A finding of that kind; its level, and what to do unless given, are the kind's."""
    kind = CODES[code]
    file, line = _split(spot.at)
    return Finding(code, kind.level, spot.what, file, line, message, advice or kind.advice, counterexample)


def example(instance: Any, pointer: str = "", why: str = "") -> dict[str, Any]:
    """A counterexample as a finding keeps it."""
    return {"instance": instance, "pointer": pointer, "why": why}


def shown(instance: Any) -> str:
    """An instance as text, cut when it is long."""
    # Not by orjson: a counterexample may be a whole number beyond 64 bits.
    text = json.dumps(instance, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _split(at: str) -> tuple[str, int | None]:
    """``file:line`` as the file, relative to here where it is below, and the line."""
    file, _, line = at.rpartition(":")
    if not line.isdigit():
        file, line = at, ""
    path, here = Path(file), Path.cwd()
    if path.is_absolute() and path.is_relative_to(here):
        file = str(path.relative_to(here))
    return file, int(line) if line else None
