"""What the demo breaks, half way through its trips."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from antiphon.devservices import DevServices
from examples.ride.demo.client import Gateway
from examples.ride.demo.house import House
from examples.ride.demo.roles import ONE_PROCESS

__all__ = ["FAULTS", "Breaks"]

FAULTS = ("house", "rabbitmq", "postgres", "redis")
VICTIMS = ("orchestrator-1", "reactors-1")


class Breaks:
    """Breaks things once, at the right moment, and says what it broke."""

    def __init__(
        self, house: House, services: DevServices | None, faults: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        self.broken: list[str] = []
        self._house = house
        self._services = services
        self._faults = faults
        self._tell = tell

    async def at(self, moment: asyncio.Event, gateway: Gateway) -> None:
        """Wait for the moment; then kill, restart, and wait until the gateway is ready again."""
        await moment.wait()
        if self._services is not None:
            for name in VICTIMS:
                self._report(f"kill -9 {name}", f"process {self._house.kill(name)}; another takes over")
        for fault in self._faults:
            await self._break(fault)
        await self._house.ready(gateway)

    async def _break(self, fault: str) -> None:
        if fault == "house":
            pid = self._house.kill(ONE_PROCESS)
            self._report("kill -9 house", f"process {pid}; it is started again on the same file")
            self._house.again(ONE_PROCESS)
            return
        if self._services is None:
            raise ValueError(f"{fault} does not run here: add --services")
        service = {
            "rabbitmq": lambda services: services.rabbit,
            "postgres": lambda services: services.postgres,
            "redis": lambda services: services.redis,
        }[fault](self._services)
        await asyncio.to_thread(service.restart)
        self._report(f"restart {fault}", "while everything is under way")

    def _report(self, what: str, detail: str) -> None:
        self.broken.append(what)
        self._tell(f"{what} ({detail})")
