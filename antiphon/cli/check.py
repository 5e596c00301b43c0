"""``antiphon check``: the whole system, before anything runs."""

from __future__ import annotations

import click
import orjson

from antiphon.app import load_app
from antiphon.checking import check_app, map_of
from antiphon.settings import Settings
from contracts.errors import ConfigurationError

__all__ = ["check"]


@click.command()
@click.argument("app", required=False, metavar="[MODULE:APP]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: findings and the map of the system.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check(app: str | None, as_json: bool, strict: bool) -> None:
    """Check flows, reactors, services and contracts against each other; nothing is started.

    Exit code 0: nothing is wrong. 1: something is.
    """
    settings = Settings.load(app=app)
    if settings.app is None:
        raise ConfigurationError("no app: write 'antiphon check module:attribute', or set ANTIPHON_APP")
    loaded = load_app(settings.app)
    findings = check_app(loaded)
    failed = any(finding.level == "error" or strict for finding in findings)
    if as_json:
        document = {"ok": not failed, "findings": [f.as_json() for f in findings], "map": map_of(loaded)}
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in findings:
            click.echo(f"{finding.level}: {finding.where}: {finding.message} [{finding.code}]")
        counts = (
            f"{len(loaded.flows)} flows, {len(loaded.reactors)} reactors, {len(loaded.services)} services"
        )
        word = "something is wrong" if failed else "nothing is wrong"
        click.echo(f"{loaded.name}: {counts}, {len(loaded.registry.types())} contracts: {word}")
    raise SystemExit(1 if failed else 0)
