"""``antiphon map``: the whole system drawn, before anything runs."""

from __future__ import annotations

import click
import orjson

from antiphon.app import load_app
from antiphon.cli.chosen import chosen_app
from antiphon.mapping import asyncapi, mermaid, system_map, text
from antiphon.settings import Settings

__all__ = ["map_"]


@click.command("map")
@click.argument("app", required=False, metavar="[MODULE:APP]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "mermaid", "asyncapi"]),
    default="text",
    show_default=True,
)
@click.option(
    "--app-version", default="1.0.0", show_default=True, help="What AsyncAPI calls the app's version."
)
def map_(app: str | None, form: str, app_version: str) -> None:
    """Draw flows, events, reactors, services and contracts; nothing is started."""
    settings = Settings.load(app=app)
    loaded = load_app(chosen_app(settings, "map"))
    match form:
        case "json" | "asyncapi":
            document = system_map(loaded) if form == "json" else asyncapi(loaded, version=app_version)
            click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        case "mermaid":
            click.echo(mermaid(system_map(loaded)), nl=False)
        case _:
            click.echo(text(system_map(loaded)))
