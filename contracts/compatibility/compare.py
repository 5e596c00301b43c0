"""May the reader read all that the writer may write? By set inclusion, with a proof or a counterexample.

What the writer's schema accepts and the reader's refuses is searched for (``search``). If the search proves
that there is nothing, they are compatible; if it finds something and the real validator agrees, they are
incompatible, with that as the counterexample; anything else is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from contracts.compatibility.arrays import arrays
from contracts.compatibility.budget import Budget, OutOfBudget
from contracts.compatibility.cycles import refuse_cycles
from contracts.compatibility.formula import Schema
from contracts.compatibility.guess import guesses, hints
from contracts.compatibility.node import Document, NotUnderstood, canonical, draft_of
from contracts.compatibility.objects import glance, objects
from contracts.compatibility.plain import booleans, fractions, integers, nulls, strings
from contracts.compatibility.search import Goal, Result, Search, Theory
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

    Schemas are JSON Schema of drafts 7, 2019-09 or 2020-12, as ``$schema`` says (2020-12 where neither
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
        self.budget = budget
        self.same = (
            _copied(writer, "writer") == _copied(reader, "reader") and writer_resources == reader_resources
        )
        self.schemas = (_clone(writer), _clone(reader))
        drafts = _drafts(*self.schemas)
        self.writer = _side("writer", Validator, self.schemas[0], drafts[0], writer_resources)
        self.reader = _side("reader", Validator, self.schemas[1], drafts[1], reader_resources)
        self._documents = [
            (self.schemas[0], drafts[0], writer_resources),
            (self.schemas[1], drafts[1], reader_resources),
        ]

    def verdict(self) -> Verdict:
        """Proof, counterexample, or the reason for neither."""
        if self.same:
            return Compatible()
        known = list(hints(*self.schemas))
        texts = tuple(dict.fromkeys(value for value in known if isinstance(value, str)))[:50]
        try:
            documents = [Document(*one, self.budget) for one in self._documents]
            for document in documents:
                refuse_cycles(document.root)
            search = Search(self.budget, _THEORIES, glance, texts)
            goal: Goal = frozenset({Schema(documents[0].root), Schema(documents[1].root, False)})
            found = search.solve(goal, 1)
            if found.none:
                return Compatible()
            verdict = self._verified(found.values)
            if verdict is None and found.values:
                found = search.solve(goal, _WANTED)
                verdict = self._verified(found.values)
            reason = found.open or "what should have been a counterexample was not confirmed by the validator"
        except NotUnderstood as error:
            return Unknown(str(error))
        except OutOfBudget as error:
            verdict, reason = None, str(error)
        except RecursionError:
            verdict, reason = None, "the schemas are nested too deeply"
        return verdict or self._guessed(known) or Unknown(reason)

    def _verified(self, values: Any) -> Incompatible | None:
        for value in values:
            refusal = self.reader.refusal(value) if self.writer.accepts(value) else None
            if refusal is not None:
                return Incompatible(value, *refusal)
        return None

    def _guessed(self, known: list[Any]) -> Incompatible | None:
        """A counterexample by luck, where the search did not end."""
        budget = Budget(20_000, 0.5)
        written: Result = Result(())
        try:
            document = Document(*self._documents[0], budget)
            refuse_cycles(document.root)
            written = Search(budget, _THEORIES, glance).solve(frozenset({Schema(document.root)}), _WANTED)
        except (NotUnderstood, OutOfBudget, RecursionError):
            # Then what the schemas show themselves has to do.
            written = Result(())
        return self._verified(guesses([*written.values, *known[:50]]))


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
    text = canonical(schema)
    if len(text) > _LARGEST:
        raise NotUnderstood(f"the {side}'s schema is larger than {_LARGEST} characters")
    return text


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
