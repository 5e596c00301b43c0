"""``antiphon contracts``: look at contracts, release them, and compare schemas."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import orjson

from antiphon.app import load_app
from antiphon.checking.finding import shown
from antiphon.checking.system import System
from contracts.compatibility import Incompatible, Mode, Report, Unknown
from contracts.compatibility.confluent import compare_as_confluent, refuse_invalid
from contracts.compatibility.modes import check as check_versions
from contracts.errors import ConfigurationError
from contracts.handbook import describe, handbook
from contracts.lock import LOCK_FILE, Lock
from contracts.registry import Registry
from contracts.review import Finding, release, review

__all__ = ["contracts"]

_folder = click.option(
    "--folder",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("contracts"),
    show_default=True,
    help="The folder of contracts; the lock stands in it.",
)
_app = click.option(
    "--app", "app", metavar="MODULE:APP", help="Say who emits and who reads: as this app declares it."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group()
def contracts() -> None:
    """Look at contracts, release them, and compare schemas."""


def _tell(document: Any) -> None:
    # Not by orjson: a counterexample may be a whole number beyond 64 bits.
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _tell_findings(findings: Iterable[Finding], as_json: bool) -> None:
    if as_json:
        _tell([finding.as_json() for finding in findings])
        return
    for finding in findings:
        click.echo(f"{finding.type}: {finding.state}: {finding.message}")


@contracts.command("list")
@_folder
@_as_json
def list_(folder: Path, as_json: bool) -> None:
    """Every contract and its state: released, new, revised, or edited so that it may not be released."""
    _tell_findings(review(Registry.load(folder), Lock.read(folder / LOCK_FILE)), as_json)


@contracts.command()
@click.argument("type")
@_folder
@_app
@_as_json
def show(type: str, folder: Path, app: str | None, as_json: bool) -> None:
    """One contract: what it means, its properties, its examples, who emits and who reads it."""
    registry, lock = Registry.load(folder), Lock.read(folder / LOCK_FILE)
    emitters, readers = _users(app)
    if as_json:
        _tell(describe(registry.contract(type), lock, emitters, readers))
    else:
        click.echo(handbook(registry, lock, emitters, readers, only=type))


@contracts.command()
@_folder
@_as_json
def check(folder: Path, as_json: bool) -> None:
    """Whether every contract is as released, or may be released. Exit code 1 when one may not."""
    findings = review(Registry.load(folder), Lock.read(folder / LOCK_FILE))
    _tell_findings(findings, as_json)
    raise SystemExit(1 if any(finding.wrong for finding in findings) else 0)


@contracts.command()
@click.argument("types", nargs=-1)
@_folder
def lock(types: tuple[str, ...], folder: Path) -> None:
    """Release contracts as they are now (all, or those of TYPES). Refuses what is not compatible."""
    registry, path = Registry.load(folder), folder / LOCK_FILE
    before = Lock.read(path)
    after = release(registry, before, types or None)
    after.write(path)
    for type, revisions in sorted(after.revisions.items()):
        if len(revisions) > len(before.of(type)):
            click.echo(f"{type}: released revision {len(revisions)} ({revisions[-1].digest[:12]})")


@contracts.command()
@click.argument("versions", nargs=-1, required=True, metavar="OLD... NEW")
@click.option(
    "--mode", default=Mode.BACKWARD.value, show_default=True, help=", ".join(mode.value for mode in Mode)
)
@click.option(
    "--rules", type=click.Choice(["inclusion", "confluent", "confluent-lenient"]), default="inclusion"
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="For each comparison."
)
@_as_json
def diff(versions: tuple[str, ...], mode: str, rules: str, seconds: float, as_json: bool) -> None:
    """Compare schema files, oldest first. Exit code 0: compatible, 1: incompatible, 2: unknown.

    An incompatible schema is shown with a counterexample. Modes that end in -transitive compare the last with
    every one before it. The rules of Confluent know no counterexample and name the differences instead.
    """
    schemas = [_schema(Path(version)) for version in versions]
    if len(schemas) < 2:
        raise ConfigurationError("compare two versions at least: antiphon contracts diff OLD NEW")
    try:
        chosen = Mode(mode)
    except ValueError:
        raise ConfigurationError(f"no mode {mode!r}; one of {', '.join(one.value for one in Mode)}") from None
    if rules != "inclusion":
        for schema, version in zip(schemas, versions, strict=True):
            refuse_invalid(schema, version)
        judgement = compare_as_confluent(schemas, chosen, lenient=rules.endswith("lenient"))
        if as_json:
            _tell(judgement.as_json())
        else:
            click.echo(str(judgement))
        raise SystemExit(0 if judgement.compatible else 1)
    report = check_versions(schemas, chosen, seconds=seconds)
    if as_json:
        _tell(report.as_json())
    else:
        _tell_report(report, versions)
    raise SystemExit({"compatible": 0, "incompatible": 1, "unknown": 2}[report.verdict.word])


@contracts.command()
@_folder
@_app
def docs(folder: Path, app: str | None) -> None:
    """All contracts as one Markdown document, with who emits and who reads each."""
    emitters, readers = _users(app)
    click.echo(handbook(Registry.load(folder), Lock.read(folder / LOCK_FILE), emitters, readers))


def _users(app: str | None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Who emits and who reads each type, in words; nobody is known without an app."""
    if app is None:
        return {}, {}
    system = System(load_app(app))
    emitted = {type: [spot.what for spot in spots] for type, spots in system.emitted.items()}
    return emitted, {type: [spot.what for spot in spots] for type, spots in system.read.items()}


def _schema(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read ({error.strerror}); correct the path") from error
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}") from error


def _tell_report(report: Report, versions: tuple[str, ...]) -> None:
    for comparison in report.comparisons:
        old, new = versions[comparison.version], versions[-1]
        reads = f"{new} reads {old}" if comparison.direction == "backward" else f"{old} reads {new}"
        verdict = comparison.verdict
        click.echo(f"{reads}: {verdict.word}")
        match verdict:
            case Incompatible(example, pointer, why):
                click.echo(f"  refused at {pointer or '/'}: {why}")
                click.echo(f"  counterexample: {shown(example)}")
            case Unknown(reason):
                click.echo(f"  {reason}")
    click.echo(report.verdict.word)
