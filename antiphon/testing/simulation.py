"""What is simulated: an app, what is asked of it, and what must always hold."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from antiphon.app import App
from contracts.errors import ConfigurationError
from orchestrator.flow import Flow

if TYPE_CHECKING:
    from antiphon.testing.stage import Stage

__all__ = ["Invariant", "Prepare", "Script", "Simulation", "ask", "follow_the_contracts", "last_words"]

Script = Callable[["Stage", int], Awaitable[None]]
Prepare = Callable[["Stage"], None]
Invariant = Callable[["Stage"], Iterable[str]]


async def follow_the_contracts(stage: Stage, runs: int) -> None:
    """Start ``runs`` runs of each flow from the examples in the contracts, and send what they wait for.

    Raises ConfigurationError where a contract that it needs has no example, or where there are no flows.
    """
    flows = stage.app.catalog.newest()
    if not flows:
        raise ConfigurationError(
            f"app {stage.app.name!r} has no flows, so that nothing would be asked of it: give Simulation a "
            "script of your own that publishes what its reactors react to (docs/testing.md)"
        )
    for flow in flows:
        example = _example(stage.app, flow.input_type)
        for key in _keys(example[flow.key], runs):
            stage.go(_one(stage, flow, {**copy.deepcopy(example), flow.key: key}, key))


async def _one(stage: Stage, flow: Flow, input: dict[str, Any], key: Any) -> None:
    await stage.sleep(stage.chance.uniform(0.0, 3.0))
    run_id = await stage.start(flow.name, input)
    for wait in flow.plan.waits():
        await stage.sleep(stage.chance.uniform(0.0, 5.0))
        if wait.signal is not None:
            await stage.signal(run_id, wait.signal, None)
        elif wait.by is not None:
            await stage.publish(wait.type, {**copy.deepcopy(_example(stage.app, wait.type)), wait.by: key})


def _example(app: App, type: str) -> dict[str, Any]:
    examples = app.registry.contract(type).examples
    if not examples or not isinstance(examples[0], dict):
        raise ConfigurationError(
            f"the simulation needs something to send as {type}: put an object into the contract's "
            '"examples", or give Simulation a script of your own'
        )
    found: dict[str, Any] = examples[0]
    return found


def _keys(example: Any, many: int) -> list[Any]:
    """The example's key, and others like it: text stays within most patterns with other digits at its end."""
    if isinstance(example, int):
        return list(range(example, example + many))
    text = str(example)
    found = {text: None}
    for number in count(1):
        if len(found) >= many:
            break
        # With these digits at its end it may be one that is there: "order-1" may be the example itself.
        found[f"{text[: -len(str(number))]}{number}"] = None
    return list(found)[:many]


def ask(invariants: Iterable[Invariant], stage: Stage) -> Iterator[str]:
    """What is wrong, by these. One that raises is wrong itself, and no trouble of whoever just committed."""
    for invariant in invariants:
        try:
            yield from invariant(stage)
        except Exception as error:
            yield f"an invariant raised {last_words(error)}"


def last_words(error: BaseException) -> str:
    """What was raised, and where."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({where[0].filename}:{where[0].lineno})" if where else ""
    return f"{type(error).__name__}: {error}{place}"


@dataclass(frozen=True)
class Simulation:
    """An app in its simulated world.

    ``script(stage, runs)`` asks things of it; without one, runs are started from the examples in the
    contracts. ``prepare(stage)`` puts the world outside of the app into memory, anew for each seed.
    ``stand_ins`` are called instead of functions of the app, by the name of the step, reactor or command;
    a command to a service that runs elsewhere needs one.
    ``invariants`` are asked after each commit that changed something and give a sentence for each thing
    that is wrong; ``at_the_end`` are asked once, when all has come to rest. ``may_stick``: runs may end in an
    incident that waits for a person. ``patience``: seconds (virtual) in which all must come to rest
    once the faults have stopped.
    """

    app: App
    script: Script = follow_the_contracts
    prepare: Prepare | None = None
    stand_ins: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    invariants: Sequence[Invariant] = ()
    at_the_end: Sequence[Invariant] = ()
    may_stick: bool = False
    workspace: str = "simulated"
    patience: float = 900.0
