"""What a handler knows about the message it handles, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from contracts.envelope import Event, derive_id
from contracts.errors import ConfigurationError, MalformedMessage
from contracts.registry import Registry

__all__ = ["ReactionContext", "Work"]

Work = Callable[[Connection], Any]


class ReactionContext:
    """One attempt at one reaction.

    ``attempt`` counts from 1 and starts anew after a redrive. ``key`` is the idempotency key: the
    same for every attempt at this event by this reactor, different for any other. ``workspace`` and
    ``correlation`` are carried on into what is emitted.
    """

    def __init__(
        self,
        event: Event,
        *,
        reactor: str,
        attempt: int,
        registry: Registry,
        source: str,
        clock: Callable[[], float],
        transactional: bool,
        emits: tuple[str, ...] | None = None,
    ) -> None:
        self.event = event
        self.reactor = reactor
        self.attempt = attempt
        self.workspace = event.workspace
        self.correlation = event.correlation
        self._registry = registry
        self._source = source
        self._clock = clock
        self._transactional = transactional
        self._emits = emits
        self._emitted: list[Event] = []
        self._works: list[Work] = []
        self._closed = False

    @cached_property
    def key(self) -> str:
        """The idempotency key."""
        return derive_id(self.reactor, self.event.source, self.event.id)

    async def emit(self, type: str, data: Any, *, subject: str | None = None) -> str:
        """Emit an event once the handler has returned; returns its id.

        The id follows from the reactor, the event handled and the number of the emit, so that
        another attempt emits the same ids in the same order and consumers stop the repeats.
        ``data`` is JSON or a pydantic model. Raises UnknownContract and ContractViolation, MalformedMessage
        for a ``subject`` that is no text, and ConfigurationError when the reactor declares ``emits`` and this
        type is not among them.
        """
        self._check_open("emit")
        if self._emits is not None and type not in self._emits:
            raise ConfigurationError(
                f"reactor {self.reactor!r} emits {type!r} and does not declare it: "
                f"add it to @reacts_to(…, emits=[…]), which has {list(self._emits)}"
            )
        if subject is not None:
            _check_subject(subject)
        payload = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        self._registry.validate(type, payload)
        id = derive_id(self.reactor, self.event.source, self.event.id, len(self._emitted), type)
        event = Event.create(
            type,
            payload,
            id=id,
            source=self._source,
            at=self._clock(),
            workspace=self.workspace,
            correlation=self.correlation,
            causation=self.event.id,
            subject=subject,
            extensions=_trace(self.event),
        )
        self._emitted.append(event)
        return id

    def execute(self, work: Work) -> None:
        """Have ``work(connection)`` run in the commit that settles this reaction, or not at all.

        It may be run more than once on a clean transaction, so it must do nothing but SQL. Raises
        ConfigurationError when the reactor is not declared with ``transactional=True``.
        """
        self._check_open("execute")
        if not self._transactional:
            raise ConfigurationError(
                f"reactor {self.reactor!r} is not transactional: declare it with "
                "@reacts_to(…, transactional=True) to let execute() join its settling commit"
            )
        self._works.append(work)

    def close(self) -> tuple[list[Event], list[Work]]:
        """End the attempt: nothing more can be asked for. Returns what was emitted and executed."""
        self._closed = True
        return self._emitted, self._works

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise ConfigurationError(
                f"reactor {self.reactor!r}: {what}() after the attempt had ended; await it in the handler"
            )


def _check_subject(subject: object) -> None:
    """Raises MalformedMessage for what no broker could carry: what is no text, or has a lone surrogate."""
    if not isinstance(subject, str):
        raise MalformedMessage(f"a subject is text, not {type(subject).__name__}: {subject!r}")
    try:
        subject.encode()
    except UnicodeEncodeError as error:
        raise MalformedMessage(f"the subject {subject!r} can't be UTF-8: {error}") from error


def _trace(event: Event) -> dict[str, str]:
    """The trace context travels in the envelope (W3C Trace Context as a CloudEvents extension)."""
    return {
        name: event.extensions[name] for name in ("traceparent", "tracestate") if name in event.extensions
    }
