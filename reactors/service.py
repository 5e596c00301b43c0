"""The declaration of a service: commands in, replies out."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bus.port import COMMANDS, Binding, Queue
from contracts.envelope import Event
from contracts.errors import ConfigurationError
from reactors.handler import Handler, declared_at
from reactors.inbox import HOLD
from reactors.reactor import NAME, check_limits

__all__ = ["CommandContext", "CommandHandler", "Service"]

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_COMMAND = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


@dataclass(frozen=True, slots=True)
class CommandContext:
    """One attempt at one command.

    ``attempt`` is the orchestrator's count, from 1. ``key`` is the idempotency key: the same each time
    the command is sent, so that what is done elsewhere under it is done once.
    """

    event: Event
    attempt: int
    key: str
    workspace: str
    correlation: str
    run_id: str
    node: str
    service: str


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """The function that does one command. ``reply`` is the contract of its result, if it has one."""

    type: str
    reply: str | None
    handler: Handler
    timeout: float
    declared_at: str


class Service:
    """Does commands: ``payments = Service("payments")``, then ``@payments.handles("payments.authorize.v1")``.

    A handler returns the result (JSON, or a pydantic model), or raises: Terminal is a definite no, with
    its code; anything else may be tried again by whoever sent the command. Done and refused are kept in
    the inbox, and a repeat of the command is answered from there.
    """

    def __init__(self, name: str, *, concurrency: int = 50) -> None:
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"service {name!r}: a name is 1 to 80 of a-z, 0-9, '_' and '-', a letter first"
            )
        check_limits(1.0, concurrency, f"service {name!r}")
        self.name = name
        self.concurrency = concurrency
        self._handlers: dict[str, CommandHandler] = {}

    @property
    def handlers(self) -> dict[str, CommandHandler]:
        """By command type; a copy."""
        return dict(self._handlers)

    def changed(self, change: Callable[[CommandHandler], CommandHandler]) -> Service:
        """Another service of this name, with ``change`` of each handler: tests put doubles in between."""
        other = Service(self.name, concurrency=self.concurrency)
        other._handlers = {type: change(handler) for type, handler in self._handlers.items()}
        return other

    def queue(self) -> Queue:
        """Its durable queue: whatever is addressed to the service."""
        return Queue(f"service.{self.name}", (Binding(COMMANDS, self.name),), delays=((HOLD, HOLD),))

    def handles(self, type: str, *, reply: str | None = None, timeout: float = 30.0) -> Callable[[F], F]:
        """Declare the function below the handler of a command type; it stays callable as before.

        ``timeout`` is in seconds per attempt. Raises ConfigurationError when something does not fit.
        """
        names = {**sys._getframe(1).f_locals}

        def declare(function: F) -> F:
            where = f"command {type!r} of service {self.name!r} at {declared_at(function)}"
            if not _COMMAND.fullmatch(type):
                raise ConfigurationError(f"{where}: no command type; write it like 'payments.authorize.v1'")
            if type in self._handlers:
                raise ConfigurationError(f"{where}: handled already at {self._handlers[type].declared_at}")
            check_limits(timeout, 1, where)
            self._handlers[type] = CommandHandler(
                type, reply, Handler.of(function, names), timeout, declared_at(function)
            )
            return function

        return declare
