"""The nodes of a flow, as data, and the words that make them.

Each node has a name that is unique in its flow; facts are keyed by it. Python functions are held by
reference and written by name in the JSON form. ``declared_at`` is the ``file:line`` where a node was
written, for whoever has to be shown the place; it is no part of what the node is.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.errors import InvalidFlow
from contracts.retry import Retry
from orchestrator.durations import Duration, seconds

__all__ = [
    "Call",
    "Command",
    "Emit",
    "Node",
    "Parallel",
    "Sleep",
    "Step",
    "StepFunction",
    "Wait",
    "When",
    "call",
    "emit",
    "parallel",
    "sleep",
    "step",
    "wait",
    "when",
]

StepFunction = Callable[[Any], Awaitable[Any] | Any]
Condition = Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]

DEFAULT_TIMEOUT = 30.0


def _place() -> Any:
    return field(default="", compare=False, repr=False, kw_only=True)


def _caller() -> str:
    """Where the function that called this one was called."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@dataclass(frozen=True, slots=True)
class Command:
    """A request to a service: its contract, and the data that is read from the run."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work: ``run`` is a function here, or ``at`` names the service that gets ``command``.

    ``timeout`` is start-to-close of one attempt, ``deadline`` schedule-to-close of all of them, both
    in seconds. Without ``retry`` a step before the pivot has five attempts, one after it goes on until
    it is done. ``result`` is the contract of what comes back, or a pydantic model. ``changes_nothing``
    is declared by ``compensate="nothing"``: there is nothing to undo.
    """

    name: str
    run: StepFunction | None = None
    at: str | None = None
    command: Command | None = None
    compensate: StepFunction | Command | None = None
    retry: Retry | None = None
    timeout: float = DEFAULT_TIMEOUT
    deadline: float | None = None
    pivot: bool = False
    result: str | type | None = None
    changes_nothing: bool = False
    declared_at: str = _place()


@dataclass(frozen=True, slots=True)
class Emit:
    """An event into the choreographed half, in the outbox of the commit that gets here."""

    name: str
    type: str
    data: Mapping[str, Any]
    subject: str | None = None
    declared_at: str = _place()


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for an event whose field ``by`` equals the run's key, or for a signal.

    What came before the wait counts: it was kept. ``timeout`` in seconds; None waits for ever.
    """

    name: str
    type: str
    by: str | None = None
    timeout: float | None = None
    declared_at: str = _place()

    @property
    def signal(self) -> str | None:
        """The name of the signal that this waits for, if it waits for one."""
        return self.type.removeprefix("signal:") if self.type.startswith("signal:") else None


@dataclass(frozen=True, slots=True)
class Sleep:
    """A durable pause, in seconds."""

    name: str
    seconds: float
    declared_at: str = _place()


@dataclass(frozen=True, slots=True)
class When:
    """A choice: a JSON Schema over input and results, or a function of them that has no effects."""

    name: str
    condition: Condition
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()
    declared_at: str = _place()


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches at the same time. ``all`` joins them; ``first`` goes on with the first to end."""

    name: str
    branches: tuple[tuple[Node, ...], ...]
    mode: Literal["all", "first"] = "all"
    declared_at: str = _place()


@dataclass(frozen=True, slots=True)
class Call:
    """A child run of another flow; its result is this node's."""

    name: str
    flow: str
    input: Mapping[str, Any]
    version: int | None = None
    declared_at: str = _place()


Node = Step | Emit | Wait | Sleep | When | Parallel | Call


def step(
    work: StepFunction | str,
    *,
    name: str | None = None,
    at: str | None = None,
    command: str | None = None,
    data: Mapping[str, Any] | None = None,
    compensate: StepFunction | Command | Literal["nothing"] | None = None,
    retry: Retry | None = None,
    timeout: Duration = DEFAULT_TIMEOUT,
    deadline: Duration | None = None,
    pivot: bool = False,
    result: str | type | None = None,
) -> Step:
    """A step: ``step(function)`` runs here, ``step("name", at="service", command=…)`` at a service.

    The name is the function's unless given. ``compensate="nothing"`` says that the step changes nothing,
    so that there is nothing to undo. Raises InvalidFlow.
    """
    undo = compensate if not isinstance(compensate, str) else None
    if isinstance(compensate, str) and compensate != "nothing":
        raise InvalidFlow(
            f"step({work!r}): compensate={compensate!r}; give a function, a Command, or the word 'nothing'"
        )
    if isinstance(work, str):
        if not at or not command:
            raise InvalidFlow(f"step({work!r}): a step at a service needs at= and command=")
        named, function = name or work, None
    else:
        if at or command or data:
            raise InvalidFlow(
                f"step({_called(work)}): at=, command= and data= are for steps at a service; give a name"
            )
        named, function = name or _called(work), work
    return Step(
        name=named,
        run=function,
        at=at,
        command=Command(command, dict(data or {})) if command else None,
        compensate=undo,
        retry=retry,
        timeout=seconds(timeout),
        deadline=None if deadline is None else seconds(deadline),
        pivot=pivot,
        result=result,
        changes_nothing=compensate == "nothing",
        declared_at=_caller(),
    )


def emit(type: str, data: Mapping[str, Any], *, name: str | None = None, subject: str | None = None) -> Emit:
    """Publish an event of contract ``type``; strings that begin with ``$.`` are read from the run."""
    return Emit(name or f"emit {type}", type, dict(data), subject, declared_at=_caller())


def wait(
    type: str | None = None,
    *,
    by: str | None = None,
    signal: str | None = None,
    timeout: Duration | None = None,
    name: str | None = None,
) -> Wait:
    """Wait for an event, correlated ``by`` a field that equals the run's key, or for a ``signal``."""
    if (type is None) == (signal is None):
        raise InvalidFlow("wait() needs either an event type or signal=, and not both")
    if type is not None and not by:
        raise InvalidFlow(f"wait({type!r}) needs by=: the field of the event that equals the run's key")
    limit = None if timeout is None else seconds(timeout)
    if signal is not None:
        return Wait(name or signal, f"signal:{signal}", None, limit, declared_at=_caller())
    return Wait(name or _plain(str(type)), str(type), by, limit, declared_at=_caller())


def sleep(duration: Duration, *, name: str | None = None) -> Sleep:
    """Pause durably."""
    return Sleep(name or f"sleep {duration}", seconds(duration), declared_at=_caller())


def when(
    condition: Condition,
    then: Sequence[Node],
    otherwise: Sequence[Node] = (),
    *,
    name: str | None = None,
) -> When:
    """Choose by a JSON Schema over ``{"input": …, "<step>": …}`` or by a function of that document."""
    named = name or (f"when {getattr(condition, '__name__', '')}" if callable(condition) else "when")
    return When(named, condition, tuple(then), tuple(otherwise), declared_at=_caller())


def parallel(
    *branches: Sequence[Node], mode: Literal["all", "first"] = "all", name: str | None = None
) -> Parallel:
    """Run branches at the same time."""
    return Parallel(
        name or "parallel", tuple(tuple(branch) for branch in branches), mode, declared_at=_caller()
    )


def call(flow: str, input: Mapping[str, Any], *, version: int | None = None, name: str | None = None) -> Call:
    """Run another flow and wait for it; ``input`` must hold that flow's key."""
    return Call(name or flow, flow, dict(input), version, declared_at=_caller())


def _called(function: Callable[..., Any]) -> str:
    """What a function is called: it is named so in the JSON form. Raises InvalidFlow when it has no name."""
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise InvalidFlow(f"{function!r} has no name to be known by: use a function defined with def")
    return name


def _plain(type: str) -> str:
    """``trip.ended.v1`` as a name that paths can use: ``trip_ended``."""
    domain_and_name, _, _ = type.rpartition(".v")
    return (domain_and_name or type).replace(".", "_")
