"""The command line: roles to run, and questions to ask before anything runs."""

from __future__ import annotations

import click

from antiphon import logs
from antiphon.cli.broker import broker
from antiphon.cli.check import check
from antiphon.cli.contracts import contracts
from antiphon.cli.flows import flows
from antiphon.cli.keys import keys
from antiphon.cli.map import map_
from antiphon.cli.migrate import migrate
from antiphon.cli.partitions import partitions
from antiphon.cli.quarantine import quarantine
from antiphon.cli.retention import retention
from antiphon.cli.roles import gateway, orchestrator, reactors, service, up
from antiphon.cli.simulate import simulate
from antiphon.cli.told import Told

__all__ = ["main", "run"]


@click.group(cls=Told, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="antiphon")
def main() -> None:
    """Antiphon: durable flows and choreographed reactors as one system.

    \b
    On a laptop, everything in one process:
      antiphon up shop.app:app

    \b
    In production, each role as often as you need it:
      antiphon migrate
      antiphon keys init shop.app:app
      antiphon orchestrator shop.app:app
      antiphon reactors shop.app:app
      antiphon service shop.app:app payments
      antiphon gateway shop.app:app

    Settings are environment variables ANTIPHON_*; see docs/settings.md.
    """


for command in (up, gateway, orchestrator, reactors, service):
    main.add_command(command)
for command in (
    check,
    simulate,
    map_,
    contracts,
    migrate,
    partitions,
    broker,
    keys,
    quarantine,
    flows,
    retention,
):
    main.add_command(command)


def run() -> None:
    """The command of a terminal. Standard output is its answer's alone: what it logs goes to standard error.

    (A role configures its log anew.)
    """
    logs.configure("warning", "console")
    main()
