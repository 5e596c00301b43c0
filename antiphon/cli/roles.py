"""The commands that run a role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from antiphon import logs
from antiphon.app import load_app
from antiphon.cli.chosen import chosen_app
from antiphon.loop import run
from antiphon.process import Role, run_process
from antiphon.roles import Address
from antiphon.settings import Settings

__all__ = ["gateway", "orchestrator", "reactors", "service", "up"]

app_argument = click.argument("app", required=False, metavar="[MODULE:APP]")
_Function = Callable[..., Any]


def listening(command: _Function) -> _Function:
    """The options of what listens."""
    command = click.option("--port", type=int, help="Port to listen on; ANTIPHON_PORT.")(command)
    return click.option("--host", help="Address to listen on; ANTIPHON_HOST.")(command)


@click.command()
@app_argument
@listening
def up(app: str | None, host: str | None, port: int | None) -> None:
    """Everything in one process: gateway, orchestrator, reactors, services, dashboard.

    Without ANTIPHON_AMQP_URL and ANTIPHON_DATABASE_URL the embedded bus and store are used: one SQLite
    file, which is migrated first; kill -9 loses nothing.
    """
    _run("up", app, host=host, port=port)


@click.command()
@app_argument
@listening
def gateway(app: str | None, host: str | None, port: int | None) -> None:
    """The HTTP API and the dashboard."""
    _run("gateway", app, host=host, port=port)


@click.command()
@app_argument
def orchestrator(app: str | None) -> None:
    """An orchestrator: owns a share of the partitions and drives their runs. Start at least two."""
    _run("orchestrator", app)


@click.command()
@app_argument
def reactors(app: str | None) -> None:
    """Every reactor of the app. Start as many processes as the load needs."""
    _run("reactors", app)


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("name", required=False)
def service(app: str, name: str | None) -> None:
    """One service of the app, by NAME; all of them without one."""
    _run("service", app, service=name)


def _run(role: Role, app: str | None, *, service: str | None = None, **overrides: Any) -> None:
    settings = Settings.load(app=app, **overrides)
    where = chosen_app(settings, "up")
    form = settings.log_format
    logs.configure(settings.log_level, form, role=role)
    loaded = load_app(where)

    def on_ready(address: Address | None) -> None:
        if address is None:
            click.echo(f"antiphon {role} is ready", err=True)
            return
        click.echo(f"antiphon {role} is ready: {address.url}", err=True)
        if address.key_file is not None:
            click.echo(f"the development key is in {address.key_file}", err=True)

    run(run_process(loaded, settings, role, service=service, on_ready=on_ready))
