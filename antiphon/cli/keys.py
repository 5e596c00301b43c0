"""``antiphon keys``: make, show, rotate and revoke the keys that sign messages."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import orjson

from antiphon.app import load_app
from antiphon.cli.chosen import chosen_app
from antiphon.keys import OPERATOR, ROLES, KeyMaker, role_of
from antiphon.settings import Settings
from contracts.errors import ConfigurationError, InvalidFlow
from contracts.keyring import Key, Rights
from orchestrator.durations import seconds

__all__ = ["keys"]

_DAY = 86_400.0

_dir = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of keys; ANTIPHON_KEYS_DIR, or 'keys' in ANTIPHON_HOME.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, without secrets.")


_LONGEST = 36_525 * 86_400.0  # seconds


class _Length(click.ParamType[float]):
    """A length of time, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            length = 0.0 if value == "0" else seconds(value)
        except InvalidFlow as error:
            self.fail(str(error), param, ctx)
        if length > _LONGEST:  # no calendar has its end
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        return length


@click.group()
def keys() -> None:
    """Make, show, rotate and revoke the keys that sign messages."""


@keys.command()
@click.argument("app", required=False, metavar="[MODULE:APP]")
@_dir
@_as_json
def init(app: str | None, folder: Path | None, as_json: bool) -> None:
    """Make every key that an app needs and that is not there: for gateway, orchestrator, reactors, each
    service, and an operator at a terminal."""
    settings = Settings.load(app=app)
    where = chosen_app(settings, "keys init")
    maker = KeyMaker(folder or settings.keys_folder)
    names = ["gateway", "orchestrator", "reactors", OPERATOR]
    names += [service.name for service in load_app(where).services]
    _tell([maker.ensure(name, ROLES[role_of(name)](name)) for name in names], as_json)


@keys.command()
@click.argument("service")
@click.option("--role", type=click.Choice(sorted(ROLES)), help="What its key may do; by its name unless set.")
@click.option("--source", "sources", multiple=True, help="A source that it may speak as; '*' and '**' match.")
@click.option("--type", "types", multiple=True, help="A type that it may publish; '*' and '**' match.")
@click.option(
    "--workspace", "workspaces", multiple=True, help="A workspace that it may speak in; all unless set."
)
@click.option(
    "--hmac", is_flag=True, help="A shared secret: whoever verifies can also forge. Ed25519 unless set."
)
@_dir
@_as_json
def new(
    service: str,
    role: str | None,
    sources: tuple[str, ...],
    types: tuple[str, ...],
    workspaces: tuple[str, ...],
    hmac: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Make the first key of a SERVICE. A producer outside the house needs --source and --type."""
    role = role or ("producer" if sources else role_of(service))
    if role == "producer" and not (sources and types):
        raise ConfigurationError(
            "a producer's key needs what it may say: --source /default/billing --type 'bill.**'"
        )
    plain = ROLES[role](service).as_json()
    for name, given in (("sources", sources), ("types", types), ("workspaces", workspaces)):
        if given:
            plain[name] = list(given)
    _tell([_maker(folder).new(service, Rights.of(**plain), hmac=hmac)], as_json)


@keys.command("list")
@_dir
@_as_json
def list_(folder: Path | None, as_json: bool) -> None:
    """Every key, its standing and what it may say."""
    where = folder or Settings.load().keys_folder
    found = KeyMaker(where).list()
    if not (found or as_json):
        click.echo(f"no keys in {where}: make them with 'antiphon keys init MODULE:APP'")
    _tell(found, as_json)


@keys.command()
@click.argument("service")
@click.option(
    "--overlap", type=_Length(), default="7d", show_default=True, help="How long the old key verifies on."
)
@click.option(
    "--activate-in", type=_Length(), default="10s", show_default=True, help="When the new one begins to sign."
)
@_dir
@_as_json
def rotate(service: str, overlap: float, activate_in: float, folder: Path | None, as_json: bool) -> None:
    """Make the next key of a SERVICE; running processes take it up by themselves, and nothing is lost."""
    maker = _maker(folder)
    maker.rotate(service, overlap=overlap, activate_in=activate_in)
    _tell([key for key in maker.list() if key.service == service], as_json)


@keys.command()
@click.argument("kid")
@_dir
@_as_json
def revoke(kid: str, folder: Path | None, as_json: bool) -> None:
    """Nothing that key KID (service/epoch) has signed counts any more, from the next second on."""
    _tell([_maker(folder).revoke(kid)], as_json)


def _maker(folder: Path | None) -> KeyMaker:
    return KeyMaker(folder or Settings.load().keys_folder)


def _tell(found: Iterable[Key], as_json: bool) -> None:
    now = time.time()
    if as_json:
        documents = [{**key.as_json(), "standing": key.standing(now)} for key in found]
        click.echo(orjson.dumps(documents, option=orjson.OPT_INDENT_2).decode())
        return
    for key in found:
        rights = key.rights
        click.echo(
            f"{key.kid}: {key.algorithm}, {key.standing(now)}; speaks as {rights.sources}; "
            f"says {rights.types}; hops to {rights.hops}"
        )
