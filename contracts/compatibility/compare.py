"""May the reader read all that the writer may write? By set inclusion, with a proof or a counterexample.

What the writer's schema accepts and the reader's refuses is searched for (``search``). If the search proves
that there is nothing, they are compatible; if it finds something and the real validator agrees, they are
incompatible, with that as the counterexample; anything else is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from contracts.compatibility.arrays import arrays
from contracts.compatibility.budget import Budget, OutOfBudget
from contracts.compatibility.cycles import refuse_cycles
from contracts.compatibility.effort import affordable
from contracts.compatibility.formula import Schema
from contracts.compatibility.guess import guesses, hints
from contracts.compatibility.node import Document, NotUnderstood, canonical, draft_of
from contracts.compatibility.objects import glance, objects
from contracts.compatibility.old_drafts import modernised
from contracts.compatibility.plain import booleans, fractions, integers, nulls, strings
from contracts.compatibility.search import Goal, Search, Theory
from contracts.compatibility.validator import Validator
from contracts.compatibility.verdict import Compatible, Incompatible, Unknown, Verdict

__all__ = ["compare"]

_THEORIES: dict[str, Theory] = {
    "array": arrays,
    "boolean": booleans,
    "fraction": fractions,
    "integer": integers,
    "null": nulls,
    "object": objects,
    "string": strings,
}
_LARGEST = 300_000
_WANTED = 6
_MOST_DEAR = 3


def compare(
    writer: Any,
    reader: Any,
    *,
    writer_resources: Mapping[str, Any] | None = None,
    reader_resources: Mapping[str, Any] | None = None,
    steps: int = 400_000,
    seconds: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Whether the reader accepts all that the writer may write. Never raises; takes ``seconds`` at most.

    Schemas are JSON Schema of drafts 4, 6, 7, 2019-09 or 2020-12, as ``$schema`` says (2020-12 where neither
    says, or 7 for a list of ``items``). ``…_resources`` are what their references may lead to, by URI;
    nothing is fetched.
    """
    budget = Budget(steps, seconds, clock)
    try:
        sides = _Sides(writer, reader, dict(writer_resources or {}), dict(reader_resources or {}), budget)
    except (NotUnderstood, OutOfBudget) as error:
        return Unknown(str(error))
    except RecursionError:
        return Unknown("a schema is nested too deeply")
    return sides.verdict()


class _Sides:
    """A writer and a reader, understood."""

    def __init__(
        self,
        writer: Any,
        reader: Any,
        writer_resources: dict[str, Any],
        reader_resources: dict[str, Any],
        budget: Budget,
    ) -> None:
        self._budget = budget
        texts = (_copied(writer, "writer"), _copied(reader, "reader"))
        self._same = texts[0] == texts[1] and writer_resources == reader_resources
        self._schemas = (_clone(writer), _clone(reader))
        drafts = _drafts(*self._schemas)
        self._writer = _side("writer", Validator, self._schemas[0], drafts[0], writer_resources)
        self._reader = _side("reader", Validator, self._schemas[1], drafts[1], reader_resources)
        self._roots = tuple(
            _document(*one, budget).root
            for one in zip(self._schemas, drafts, (writer_resources, reader_resources), strict=True)
        )
        if not self._same:
            for root in self._roots:
                refuse_cycles(root)

    def verdict(self) -> Verdict:
        """Proof, counterexample, or the reason for neither."""
        if self._same:
            return Compatible()
        known = list(hints(*self._schemas))
        try:
            return self._searched(known)
        except NotUnderstood as error:
            return Unknown(str(error))
        except OutOfBudget as error:
            reason = str(error)
        except RecursionError:
            reason = "the schemas are nested too deeply"
        return self._guessed(known) or Unknown(reason)

    def _searched(self, known: list[Any]) -> Verdict:
        texts = tuple(dict.fromkeys(value for value in known if isinstance(value, str)))[:50]
        search = Search(self._budget, _THEORIES, glance, texts)
        goal: Goal = frozenset({Schema(self._roots[0]), Schema(self._roots[1], False)})
        found = search.solve(goal, 1)
        if found.none:
            return Compatible()
        verdict = self._verified(found.values)
        if verdict is None and found.values:
            verdict = self._verified(search.solve(goal, _WANTED).values)
        reason = (
            found.open
            or search.noted
            or "what should have been a counterexample was not confirmed by the validator"
        )
        return verdict or self._guessed(known) or Unknown(reason)

    def _verified(self, values: Iterable[Any]) -> Incompatible | None:
        dear = 0
        for value in values:
            if not all(affordable(root, value) for root in self._roots):
                dear += 1
                if dear > _MOST_DEAR:
                    return None
                continue
            refusal = self._reader.refusal(value) if self._writer.accepts(value) else None
            if refusal is not None:
                return Incompatible(value, *refusal)
        return None

    def _guessed(self, known: list[Any]) -> Incompatible | None:
        """A counterexample by luck, where the search did not end."""
        self._budget.renew(20_000, 0.5)
        try:
            search = Search(self._budget, _THEORIES, glance)
            written = search.solve(frozenset({Schema(self._roots[0])}), _WANTED).values
        except (NotUnderstood, OutOfBudget, RecursionError):
            # Then what the schemas show themselves has to do.
            written = ()
        self._budget.renew(20_000, 0.5)
        try:
            return self._verified(self._in_time(guesses([*written, *known[:50]])))
        except OutOfBudget:
            return None

    def _in_time(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._budget.check()
            yield value


def _document(schema: Any, draft: str, resources: dict[str, Any], budget: Budget) -> Document:
    if draft in ("4", "6"):
        known = {uri: modernised(_clone(one), draft) for uri, one in resources.items()}
        return Document(modernised(_clone(schema), draft), "7", known, budget)
    return Document(schema, draft, resources, budget)


def _side(name: str, made: Callable[..., Validator], *arguments: Any) -> Validator:
    try:
        return made(*arguments)
    except NotUnderstood as error:
        raise NotUnderstood(f"the {name}'s schema is {error}") from error


def _copied(schema: Any, side: str) -> str:
    if not isinstance(schema, dict | bool):
        raise NotUnderstood(
            f"the {side}'s schema is a {type(schema).__name__}; it has to be an object or a boolean"
        )
    _refuse_large(schema, side)
    return canonical(schema)


def _refuse_large(schema: Any, side: str) -> None:
    # Counted by hand: in Python one part may stand in many places, and be endless when written out.
    waiting, size = [schema], 0
    while waiting:
        found = waiting.pop()
        size += 1 + (len(found) if isinstance(found, str) else 0)
        if size > _LARGEST:
            raise NotUnderstood(f"the {side}'s schema is larger than {_LARGEST} values and characters")
        if isinstance(found, dict):
            waiting += found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _clone(schema: Any) -> Any:
    # Each part is an object of its own then, so that its identity says where it is.
    return jsonschema_rs.canonical.schema.clone(schema)


def _drafts(writer: Any, reader: Any) -> tuple[str, str]:
    named = [isinstance(one, dict) and "$schema" in one for one in (writer, reader)]
    if named[0] == named[1]:
        return draft_of(writer), draft_of(reader)
    # One says which: the other is taken for the same.
    other = draft_of(writer if named[0] else reader)
    return draft_of(writer, other), draft_of(reader, other)
