"""``antiphon check``: the whole system, before anything runs."""

from __future__ import annotations

import json

import click

from antiphon.app import load_app
from antiphon.checking import CODES, check_app, passes
from antiphon.cli.chosen import chosen_app
from antiphon.mapping import system_map
from antiphon.settings import Settings
from contracts.errors import ConfigurationError

__all__ = ["check"]


@click.command()
@click.argument("app", required=False, metavar="[MODULE:APP]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: findings and the map of the system.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--explain", metavar="CODE", help="Say what a finding means, and what to do; nothing is checked."
)
def check(app: str | None, as_json: bool, strict: bool, explain: str | None) -> None:
    """Check flows, reactors, services and contracts against each other; nothing is started.

    Exit code 0: nothing is wrong. 1: something is. docs/checking.md explains every finding.
    """
    if explain is not None:
        click.echo(_explained(explain))
        return
    settings = Settings.load(app=app)
    loaded = load_app(chosen_app(settings, "check"))
    findings = check_app(loaded)
    ok = passes(findings, strict=strict)
    if as_json:
        document = {"ok": ok, "findings": [one.as_json() for one in findings], "map": system_map(loaded)}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            click.echo(str(finding))
        counts = (
            f"{len(loaded.flows)} flows, {len(loaded.reactors)} reactors, {len(loaded.services)} services"
        )
        word = "nothing is wrong" if ok else "something is wrong"
        click.echo(f"{loaded.name}: {counts}, {len(loaded.registry.types())} contracts: {word}")
    raise SystemExit(0 if ok else 1)


def _explained(name: str) -> str:
    kind = CODES.get(name)
    if kind is None:
        raise ConfigurationError(f"there is no finding {name!r}; there are: {', '.join(CODES)}")
    return f"{name} ({kind.level}): {kind.meaning}.\nTo do: {kind.advice}."
