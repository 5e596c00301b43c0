"""What is wrong with a declaration is said where it is declared, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from bus.port import EVENTS, Binding
from contracts.envelope import Event
from contracts.errors import ConfigurationError
from contracts.retry import Retry
from reactors.reactor import reactor_of, reacts_to
from reactors.service import Service
from tests.reactors.world import AUTHORIZE, BOOKED, TOLD, World

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypes


def test_a_reactor_is_a_value() -> None:
    """The function stays a function; what was declared is beside it."""

    @reacts_to(BOOKED, TOLD, name="tell", retry=Retry.once(), timeout=2.0, concurrency=7)
    async def notify(event: Event) -> str:
        return event.id

    reactor = reactor_of(notify)
    assert (reactor.name, reactor.types, reactor.concurrency) == ("tell", (BOOKED, TOLD), 7)
    assert reactor.queue().name == "reactor.tell"
    assert reactor.queue().bindings == (Binding(EVENTS, BOOKED), Binding(EVENTS, TOLD))
    assert reactor.declared_at.startswith(__file__)
    assert reactor_of(reactor) is reactor


def test_a_model_declared_next_to_its_handler() -> None:
    """Annotations are text under ``from __future__ import annotations``; local names count, too."""

    class Local(BaseModel):
        ride_id: str

    @reacts_to(BOOKED)
    async def notify(ride: Local) -> None:
        return None

    event = Event(id="1", source="/s", type=BOOKED, body=b'{"ride_id": "r1"}')
    assert reactor_of(notify).handler.read(event) == Local(ride_id="r1")


def sync_handler(event: dict[str, Any]) -> None: ...


async def no_parameter() -> None: ...


async def three_parameters(event: dict[str, Any], ctx: Any, more: int) -> None: ...


async def a_number(event: int) -> None: ...


async def unresolved(event: OnlyForTypes) -> None: ...


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (sync_handler, "async def"),
        (no_parameter, "(event, ctx)"),
        (three_parameters, "(event, ctx)"),
        (a_number, "pydantic model, dict or Event"),
        (unresolved, "import it at run time"),
    ],
)
def test_handlers_that_can_not_work(handler: Any, says: str) -> None:
    """The error names the function, its place and what to write instead."""
    with pytest.raises(ConfigurationError) as error:
        reacts_to(BOOKED, name="x")(handler)
    assert says in str(error.value)
    assert f"{__file__}:" in str(error.value)
    with pytest.raises(ConfigurationError):
        Service("payments").handles(AUTHORIZE)(handler)


@pytest.mark.parametrize(
    ("types", "options", "says"),
    [
        ((), {}, "nothing"),
        (("Booked!",), {}, "no event type"),
        (("ride.*",), {}, "no event type"),
        ((BOOKED, BOOKED), {}, "twice"),
        ((BOOKED,), {"name": "Not A Name"}, "a name is"),
        ((BOOKED,), {"timeout": 0}, "timeout=0"),
        ((BOOKED,), {"concurrency": 0}, "concurrency=0"),
    ],
)
def test_declarations_that_can_not_work(types: Any, options: dict[str, Any], says: str) -> None:
    """So does one about its own arguments."""

    async def notify(event: Event) -> None: ...

    with pytest.raises(ConfigurationError, match=says):
        reacts_to(*types, **options)(notify)


def test_a_forgotten_decorator() -> None:
    """A plain function among the reactors is told how to become one."""
    with pytest.raises(ConfigurationError, match="@reacts_to"):
        reactor_of(a_number)


async def test_a_runtime_that_could_never_work(world: World) -> None:
    """Names that clash and contracts that are missing are found before anything starts."""

    @reacts_to(BOOKED, name="same")
    async def one(event: Event) -> None: ...

    @reacts_to(BOOKED, name="same")
    async def two(event: Event) -> None: ...

    @reacts_to("ride.unheard_of.v1")
    async def three(event: Event) -> None: ...

    service = Service("payments")

    @service.handles(AUTHORIZE, reply="payments.unheard_of.v1")
    async def authorize(command: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigurationError, match="taken by"):
        world.runtime(one, two)
    with pytest.raises(ConfigurationError, match=r"no contract 'ride.unheard_of.v1'"):
        world.runtime(three)
    with pytest.raises(ConfigurationError, match=r"no contract 'payments.unheard_of.v1'"):
        world.runtime(services=[service])
    with pytest.raises(ConfigurationError, match="given twice"):
        world.runtime(services=[Service("a"), Service("a")])
    with pytest.raises(ConfigurationError, match="handled already"):
        service.handles(AUTHORIZE)(authorize)
