"""The declaration of a reactor: a function that answers events, with a queue of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from bus.port import EVENTS, Binding, Queue
from contracts.errors import ConfigurationError
from contracts.retry import Retry
from reactors.handler import Handler, declared_at
from reactors.inbox import HOLD

__all__ = ["NAME", "Reactor", "check_limits", "reactor_of", "reacts_to"]

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

NAME = re.compile(r"[a-z][a-z0-9_-]{0,79}")
_TYPE = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


@dataclass(frozen=True, slots=True)
class Reactor:
    """One reactor. ``timeout`` is in seconds per attempt; ``concurrency`` counts handlers per process.

    ``name`` is its identity: queue, inbox and dead letters go by it, so that it outlives a rename of
    the function only when it is given. ``emits`` are the types that it may emit; None when it does not
    say. ``ends`` says why a circle of events that goes through it comes to an end.
    """

    name: str
    types: tuple[str, ...]
    handler: Handler
    retry: Retry
    timeout: float
    concurrency: int
    transactional: bool
    idempotent: bool
    declared_at: str
    emits: tuple[str, ...] | None = None
    ends: str | None = None
    older: tuple[str, ...] = ()  # types that upcasters of the app carry over to one of ``types``

    def queue(self) -> Queue:
        """Its durable queue, bound to each of its types and to the older ones that are carried over."""
        bound = (*self.types, *self.older)
        bindings = tuple(Binding(EVENTS, type) for type in bound)
        return Queue(f"reactor.{self.name}", bindings, delays=(*self.retry.spans(), (HOLD, HOLD)))


def reacts_to(
    *types: str,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float = 30.0,
    concurrency: int = 50,
    transactional: bool = False,
    idempotent: bool = False,
    emits: Iterable[str] | None = None,
    ends: str | None = None,
) -> Callable[[F], F]:
    """Declare the function below a reactor to events of these types; it stays callable as before.

    The function gets a ``reactor`` attribute. Raises ConfigurationError when something does not fit.
    ``transactional`` lets the handler's ``ctx.execute`` join the commit that settles the reaction.
    ``idempotent`` says that running the handler twice for one event does no harm, also at the same moment:
    then it begins without waiting for a claim in the inbox, and what it asks of ``ctx`` still counts once.
    (It is claimed once it has taken a second.)
    ``emits`` are the types that it may emit: ``ctx.emit`` holds it to them, and ``antiphon check`` sees
    where they lead. ``ends`` says why a circle of events through this reactor does not go on for ever.
    """
    frame = sys._getframe(1)  # the model may be a local name where the handler is declared
    names = {**frame.f_locals}

    def declare(function: F) -> F:
        where = declared_at(function)
        chosen = name or str(getattr(function, "__name__", ""))
        if not NAME.fullmatch(chosen):
            raise ConfigurationError(
                f"reactor {chosen!r} at {where}: a name is 1 to 80 of a-z, 0-9, '_' and '-', a letter first"
            )
        _check_types(types, f"reactor {chosen!r} at {where}")
        check_limits(timeout, concurrency, f"reactor {chosen!r} at {where}")
        if isinstance(emits, str):
            raise ConfigurationError(f"reactor {chosen!r} at {where}: emits={emits!r}; write [{emits!r}]")
        emitted = None if emits is None else tuple(emits)
        if emitted:
            _check_types(emitted, f"what reactor {chosen!r} at {where} emits")
        reactor = Reactor(
            name=chosen,
            types=types,
            handler=Handler.of(function, names),
            retry=retry or Retry(),
            timeout=timeout,
            concurrency=concurrency,
            transactional=transactional,
            idempotent=idempotent,
            declared_at=where,
            emits=emitted,
            ends=ends,
        )
        function.reactor = reactor  # type: ignore[attr-defined]
        return function

    return declare


def reactor_of(declared: Reactor | Callable[..., Any]) -> Reactor:
    """The reactor itself, or the one that a decorated function carries. Raises ConfigurationError."""
    found = declared if isinstance(declared, Reactor) else getattr(declared, "reactor", None)
    if not isinstance(found, Reactor):
        raise ConfigurationError(f"{declared!r} is no reactor: decorate it with @reacts_to('some.type.v1')")
    return found


def check_limits(timeout: float, concurrency: int, where: str) -> None:
    """Raises ConfigurationError for limits under which nothing would ever run."""
    if timeout <= 0:
        raise ConfigurationError(f"{where}: timeout={timeout!r}; seconds, more than 0")
    if concurrency < 1:
        raise ConfigurationError(f"{where}: concurrency={concurrency!r}; at least 1")


def _check_types(types: Iterable[object], where: str) -> None:
    seen: set[object] = set()
    for type in types:
        if not isinstance(type, str) or not _TYPE.fullmatch(type):
            raise ConfigurationError(
                f"{where}: {type!r} is no event type; write @reacts_to('ride.booked.v1')"
            )
        if type in seen:
            raise ConfigurationError(f"{where}: {type!r} is named twice")
        seen.add(type)
    if not seen:
        raise ConfigurationError(f"{where}: it reacts to nothing; name at least one event type")
