"""The two forms of the house: all in one process on embedded adapters, or each role on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.devservices import DevServices
from examples.ride.demo.house import APP, House
from examples.ride.ledger import LEDGER_VARIABLE
from examples.ride.mail import SMTP_VARIABLE

__all__ = ["ONE_PROCESS", "ROLES", "Places", "environment", "start_all_in_one", "start_roles"]

ONE_PROCESS = "house"
# Two of each where another must be able to take over; the name's first word is the role.
ROLES: Mapping[str, tuple[str, ...]] = {
    "gateway": ("gateway", APP),
    "orchestrator-1": ("orchestrator", APP),
    "orchestrator-2": ("orchestrator", APP),
    "reactors-1": ("reactors", APP),
    "reactors-2": ("reactors", APP),
    "payments": ("service", APP, "payments"),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's own things are, for the processes of the house."""

    folder: Path
    ledger: Path
    smtp: str
    port: int
    key: str


def environment(places: Places, services: DevServices | None) -> dict[str, str]:
    """The settings of every process of the house; without services, the embedded adapters."""
    settings = {
        "ANTIPHON_HOST": "127.0.0.1",
        "ANTIPHON_PORT": str(places.port),
        "ANTIPHON_ADMIN_KEY": places.key,
        "ANTIPHON_HOME": str(places.folder.resolve()),
        LEDGER_VARIABLE: str(places.ledger.resolve()),
        SMTP_VARIABLE: places.smtp,
    }
    return settings if services is None else {**settings, **services.settings()}


def start_all_in_one(house: House) -> None:
    """Gateway, orchestrator, reactors, services and dashboard in one process."""
    house.start(ONE_PROCESS, "up", APP)


def start_roles(house: House) -> None:
    """Each role in a process of its own, with a key of its own, on a database that is migrated. Blocks."""
    house.run("migrate", "migrate")
    house.run("keys", "keys", "init", APP)
    for name, arguments in ROLES.items():
        house.start(name, *arguments)
