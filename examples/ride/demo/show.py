"""The whole evening: open the house, send the trips, break what is to be broken, audit, serve on."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from antiphon.devservices import DevServices
from examples.ride.demo.breaks import Breaks
from examples.ride.demo.client import Gateway
from examples.ride.demo.house import House, free_port
from examples.ride.demo.report import Summary, show, show_inconsistencies, show_problems
from examples.ride.demo.roles import Places, environment, start_all_in_one, start_roles
from examples.ride.demo.settle import Settlement
from examples.ride.demo.sink import Sink
from examples.ride.demo.tour import Outcome, Tour
from examples.ride.ledger import Ledger
from examples.ride.trips import Trip, read_trips

__all__ = ["Show", "Wishes"]

MAILBOX = "mailbox.sqlite"


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line. ``rate`` is in rides per second."""

    data: Path
    trips: int | None
    serve_on: bool
    keep: bool
    port: int
    concurrency: int
    rate: float | None
    services: bool
    faults: tuple[str, ...]


class Show:
    """One demo, in one folder of its own. ``perform`` gives the summary, and closes everything."""

    def __init__(self, wishes: Wishes, folder: Path, out: Console, news: Console) -> None:
        self._wishes = wishes
        self._folder = folder
        self._out = out
        self._news = news
        self.summary: Summary | None = None  # once there is one

    async def perform(self) -> Summary:
        """Do it all. Raises HouseFailed, GatewayGone, ServiceUnavailable, ValueError (not our CSV)."""
        trips = list(read_trips(self._wishes.data, self._wishes.trips))
        async with AsyncExitStack() as stack:
            ledger = Ledger(self._folder / "ledger.sqlite")
            stack.callback(ledger.close)
            sink = Sink(self._folder / MAILBOX)
            await sink.start()
            stack.push_async_callback(sink.stop)
            services = await self._services(stack)
            key, port = f"demo-{secrets.token_hex(16)}", self._wishes.port or free_port()
            places = Places(self._folder, ledger.path, sink.address, port, key)
            settings = await asyncio.to_thread(environment, places, services)
            house = House(self._folder, settings)
            stack.push_async_callback(asyncio.to_thread, house.stop)
            await asyncio.to_thread(start_roles if services else start_all_in_one, house)
            gateway = await stack.enter_async_context(Gateway(f"http://127.0.0.1:{port}", key))
            await house.ready(gateway)
            self._out.print(f"Dashboard: {gateway.url}/  (key: {key})", soft_wrap=True)
            breaks = Breaks(house, services, self._wishes.faults, self._say)
            self.summary = summary = await self._send(trips, gateway, ledger, breaks, house)
            if self._wishes.keep or summary.inconsistencies:
                self.say_where()
            if self._wishes.serve_on:
                self._news.print(f"Serving on at {gateway.url}/ until Ctrl-C.")
            # The last line, and the only one for machines: nothing may wrap, colour or follow it.
            print(summary.line(), flush=True)
            if self._wishes.serve_on:
                await asyncio.Event().wait()
            return summary

    def say_where(self) -> None:
        """Where everything is that this demo has written."""
        self._news.print(f"Ledger, logs and database are in {self._folder}", highlight=False, soft_wrap=True)

    async def _services(self, stack: AsyncExitStack) -> DevServices | None:
        if not self._wishes.services:
            return None
        self._news.print("Starting RabbitMQ, PostgreSQL and Redis …")
        services = DevServices()
        stack.push_async_callback(asyncio.to_thread, services.close)
        await asyncio.to_thread(services.prepare)
        return services

    async def _send(
        self, trips: list[Trip], gateway: Gateway, ledger: Ledger, breaks: Breaks, house: House
    ) -> Summary:
        half, done = asyncio.Event(), itertools.count(1)
        with _bar(self._news) as bar:
            task = bar.add_task("rides", total=len(trips))

            def told(what: str) -> None:
                if what != "accepted":
                    bar.advance(task)
                    if next(done) * 2 >= len(trips):
                        half.set()

            tour = Tour(gateway, concurrency=self._wishes.concurrency, rate=self._wishes.rate, told=told)
            began = time.monotonic()
            outcome = await self._watched(tour, trips, gateway, house, breaks, half)
            seconds = time.monotonic() - began
        settlement = Settlement(gateway, ledger, self._folder / MAILBOX, outcome, tell=self._say)
        runs, books, found = await settlement.settle()
        statuses = [run.status for run in runs if run.ride in outcome.accepted]
        summary = Summary(
            trips=len(trips),
            accepted=len(outcome.accepted),
            rejected=len(outcome.rejected),
            completed=statuses.count("completed"),
            compensated=statuses.count("compensated"),
            failed=len(outcome.accepted) - statuses.count("completed") - statuses.count("compensated"),
            notified=len(books.mails),
            dead_letters=len(await gateway.dead_letters()),
            inconsistencies=len(found),
            seconds=round(seconds, 2),
            redriven=len(settlement.redriven),
            early_ends=outcome.early,
            repeated_ends=outcome.repeated,
            copies=sum(mail.copies - 1 for mail in books.mails),
            retried=gateway.retried,
            broken=tuple(breaks.broken),
        )
        show_problems(self._out, outcome.problems)
        show_inconsistencies(self._out, found)
        show(self._out, summary)
        return summary

    async def _watched(
        self,
        tour: Tour,
        trips: list[Trip],
        gateway: Gateway,
        house: House,
        breaks: Breaks,
        half: asyncio.Event,
    ) -> Outcome:
        """The tour, with the breaks half way; a process that ends by itself ends the demo."""
        watching = asyncio.create_task(_watch(house))
        breaking = asyncio.create_task(breaks.at(half, gateway))
        touring = asyncio.create_task(tour.go(trips))
        try:
            pending: set[asyncio.Task[object]] = {watching, breaking, touring}
            while not (touring.done() and breaking.done()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            return touring.result()
        finally:
            for task in (watching, breaking, touring):
                task.cancel()
            await asyncio.gather(watching, breaking, touring, return_exceptions=True)

    def _say(self, line: str) -> None:
        self._news.print(f"  {line}", highlight=False, soft_wrap=True)


async def _watch(house: House) -> None:
    while True:
        house.check()
        await asyncio.sleep(1.0)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
