"""``antiphon broker``: what RabbitMQ must have for an app, planned and brought there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import orjson

from antiphon.app import App, load_app
from antiphon.broker import Login, Logins, Management, Plan, difference, plan_of
from antiphon.broker.script import script
from antiphon.cli.chosen import chosen_app
from antiphon.rooms import PARTITIONS
from antiphon.settings import Settings, without_password
from antiphon.tls import tls_context
from bus.addresses import addresses, parts_of
from contracts.errors import ConfigurationError

__all__ = ["broker"]

_vhost = click.option("--vhost", help="The virtual host; that of ANTIPHON_AMQP_URL, or '/'.")
_may = click.option(
    "--may",
    multiple=True,
    metavar="NAME=TYPE",
    help="An event type that a role, a service or a producer outside the house may publish, too.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
_app = click.argument("app", required=False, metavar="[MODULE:APP]")


@click.group()
def broker() -> None:
    """Give each role a user of its own on RabbitMQ, who may do what the role does and nothing else."""


@broker.command()
@_app
@_vhost
@_may
@_as_json
def plan(app: str | None, vhost: str | None, may: Sequence[str], as_json: bool) -> None:
    """Show what provision would make, from the app alone; nothing is asked or changed."""
    settings = Settings.load(app=app)
    planned = _plan(settings, vhost, may)
    if as_json:
        _tell(planned.definitions())
        return
    for user in planned.users:
        allowed = user.permission
        click.echo(f"user {user.name}")
        click.echo(
            f"  configure {allowed.configure}\n  write     {allowed.write}\n  read      {allowed.read}"
        )
        click.echo(f"  publishes {allowed.topics_written}\n  binds     {allowed.topics_read}")
    for policy in planned.policies:
        told = ", ".join(f"{name}={value}" for name, value in policy.definition.items())
        click.echo(f"policy {policy.name} {policy.pattern}: {told}")
    click.echo(f"{len(planned.exchanges)} exchanges, {len(planned.queues)} queues, each with a dead queue")


@broker.command()
@_app
@click.option("--url", help="The management API, http://admin:password@host:15672; ANTIPHON_MANAGEMENT_URL.")
@click.option("--print", "printed", is_flag=True, help="Print a rabbitmqctl command instead; needs --to.")
@_vhost
@_may
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the logins, <role>.env each; without it new ones are printed.",
)
@click.option(
    "--amqp", help="What the logins connect to, amqps://host:5671; from ANTIPHON_AMQP_URL or --url."
)
@click.option("--rotate", multiple=True, metavar="ROLE", help="Give a role a new password; 'all' for all.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change and write nothing.")
@_as_json
def provision(
    app: str | None,
    url: str | None,
    printed: bool,
    vhost: str | None,
    may: Sequence[str],
    folder: Path | None,
    amqp: str | None,
    rotate: Sequence[str],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make users, permissions, policies, exchanges and queues for an app; again changes nothing.

    A user that is there keeps its password unless --rotate names its role.
    """
    settings = Settings.load(app=app, management_url=url)
    planned = _plan(settings, vhost, may)
    logins = Logins(folder)
    if printed:
        if folder is None:
            raise ConfigurationError("--print needs a folder for the logins: --to DIR")
        if dry_run or as_json:
            # With --dry-run it would set passwords that are written nowhere.
            raise ConfigurationError("--print prints a shell command: not together with --dry-run or --json")
        found: dict[str, list[dict[str, Any]]] = {}
        management = None
    else:
        management = _management(settings)
        found = management.definitions()
    kept = logins.known(planned.users, planned.vhost)
    address = _address(settings, amqp)
    new = _new_logins(planned, logins, kept, found, rotate, address)
    passwords = kept | {login.user.name: login.password for login in new}
    differs = difference(planned.definitions(), found, passwords, f"{_loaded(settings).name}.")
    moved = _moved_logins(planned, logins, kept, new, address) if amqp else []
    changes = (*differs.changes, *(f"change the address in {logins.path(login.user)}" for login in moved))
    without = [] if folder is None else [u.role for u in planned.users if u.name not in passwords]
    if not dry_run:
        logins.keep([*new, *moved])
    if management is None:
        click.echo(script(differs.definitions), nl=False)
        return
    told = [] if dry_run or folder is not None else new
    if as_json:
        _tell(
            {
                "changes": changes,
                "left_over": differs.left_over,
                "without_login": without,
                "logins": {login.user.role: login.environment() for login in told},
            }
        )
    else:
        _say(changes, differs.left_over, told, dry_run)
    if without:
        click.echo(
            f"no login of {', '.join(without)} in {folder}: made before, with passwords that are not here; "
            f"{' '.join(f'--rotate {role}' for role in without)} gives new ones",
            err=True,
        )
    if differs.changes and not dry_run:
        management.bring(differs.definitions)


def _new_logins(
    planned: Plan,
    logins: Logins,
    kept: dict[str, str],
    found: dict[str, list[dict[str, Any]]],
    rotate: Sequence[str],
    address: str,
) -> list[Login]:
    unknown = set(rotate) - {user.role for user in planned.users} - {"all"}
    if unknown:
        roles = ", ".join(user.role for user in planned.users)
        raise ConfigurationError(f"no role {', '.join(sorted(unknown))} to rotate; there are: {roles}")
    there = {user["name"] for user in found.get("users", [])}
    return [
        Login(user, logins.make(), address, planned.vhost)
        for user in planned.users
        if user.role in rotate or "all" in rotate or (user.name not in there and user.name not in kept)
    ]


def _moved_logins(
    planned: Plan, logins: Logins, kept: dict[str, str], new: Iterable[Login], address: str
) -> list[Login]:
    """Logins that keep their passwords and get another address, since it was named."""
    made = {login.user.name for login in new}
    return logins.outdated(
        Login(user, kept[user.name], address, planned.vhost)
        for user in planned.users
        if user.name in kept and user.name not in made
    )


def _say(changes: Iterable[str], left_over: Iterable[str], told: Iterable[Login], dry_run: bool) -> None:
    changes = list(changes)
    for change in changes:
        click.echo(f"would {change}" if dry_run else change, err=True)
    for left in left_over:
        click.echo(f"left over, nobody needs it: {left}", err=True)
    if not changes:
        click.echo("nothing to change", err=True)
    for login in told:
        click.echo(f"# {login.user.role}\n{login.lines()}", nl=False)


def _loaded(settings: Settings) -> App:
    return load_app(chosen_app(settings, "broker plan"))


def _plan(settings: Settings, vhost: str | None, may: Sequence[str]) -> Plan:
    allowed: dict[str, list[str]] = {}
    for each in may:
        name, found, type = each.partition("=")
        if not (name and found and type):
            raise ConfigurationError(f"--may {each!r} is not like --may billing=bill.paid.v1")
        allowed.setdefault(name, []).append(type)
    if not vhost:  # there is no URL of one without a name
        path = urlsplit((addresses(settings.amqp_url or "") or ("",))[0]).path
        vhost = unquote(path[1:]) or "/"
    return plan_of(_loaded(settings), vhost=vhost, partitions=settings.partitions or PARTITIONS, may=allowed)


def _management(settings: Settings) -> Management:
    if settings.management_url is None:
        raise ConfigurationError(
            "where is RabbitMQ's management API? Give --url http://admin:password@host:15672, set "
            "ANTIPHON_MANAGEMENT_URL, or take --print"
        )
    url = settings.management_url.get_secret_value()
    return Management(url, tls_context(settings))


def _address(settings: Settings, amqp: str | None) -> str:
    if amqp or settings.amqp_url:
        return _usable(amqp or settings.amqp_url or "")
    if settings.management_url is not None:
        host = urlsplit(settings.management_url.get_secret_value()).hostname or "localhost"
        return f"amqp://{f'[{host}]' if ':' in host else host}:5672"
    raise ConfigurationError("what do the roles connect to? Give --amqp amqp://host:5672")


def _usable(url: str) -> str:
    """The same. Raises ConfigurationError: a login with it would be of no use, and nothing would tell."""
    nodes = [parts_of(node) for node in addresses(url)]
    usable = [
        node is not None
        and node.scheme in ("amqp", "amqps")
        and node.hostname is not None
        and "," not in node.netloc
        for node in nodes
    ]
    if not (usable and all(usable)):
        raise ConfigurationError(
            "what the roles connect to is like amqp://host:5672 or amqps://host:5671, each node of a cluster "
            f"whole, with commas between; {without_password(url)!r} is not"
        )
    return url


def _tell(document: Any) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
