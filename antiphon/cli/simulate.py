"""``antiphon simulate``: a whole house in virtual time, by seeds, with all that goes wrong."""

from __future__ import annotations

import os
import shlex
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
import orjson

from antiphon.cli.chosen import chosen_app
from antiphon.settings import Settings
from antiphon.testing import FAULTS, Fault, Outcome, find_simulation, narrow, play_in_parallel
from antiphon.testing.chance import MEANING, faults_named
from antiphon.testing.ranges import seeds_named
from contracts.errors import AntiphonError

__all__ = ["simulate"]

_EVERY = 5.0  # seconds between two lines of progress where no line can be written over
_FAULTS_HELP = "\n".join(f"  {fault:<12} {meaning}" for fault, meaning in MEANING.items())


@dataclass
class _Tally:
    """What came of the seeds so far."""

    played: int = 0
    virtual: float = 0.0
    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.played += 1
        self.virtual += outcome.seconds
        self.runs.update(outcome.runs)
        self.faults.update(outcome.faults)
        if not outcome.ok:
            self.failed.append(outcome)


@click.command(
    epilog=f"\b\nFaults:\n{_FAULTS_HELP}\n\n"
    "\b\nExamples:\n"
    "  antiphon simulate shop.app:app --seeds 1..1000\n"
    "  antiphon simulate shop.app:app --seeds 42 --story\n"
    "  antiphon simulate shop.app:app --faults crash,duplicate --json"
)
@click.argument("app", required=False, metavar="[MODULE:APP]")
@click.option(
    "--seeds", "wanted", default="1..100", show_default=True, help="42, 1..1000, or several with commas."
)
@click.option("--faults", default="all", show_default=True, help="Some of those below, all, or none.")
@click.option(
    "--runs",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Runs of each flow in each seed.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: min(os.cpu_count() or 1, 64),
    help="How many seeds are played at once.  [default: one for each processor]",
)
@click.option("--keep-going", is_flag=True, help="Play all seeds, also after one that failed.")
@click.option("--story", is_flag=True, help="Tell the story of the last seed also when nothing failed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def simulate(
    app: str | None,
    wanted: str,
    faults: str,
    runs: int,
    processes: int,
    keep_going: bool,
    story: bool,
    as_json: bool,
) -> None:
    """Play an app in virtual time: orchestrators, reactors, services, store and bus, and faults.

    A seed decides what is asked of the app and what goes wrong; the same seed tells the same story. After
    each commit every promise is checked, and the invariants of your own. MODULE:APP is an App or a
    Simulation. What your steps reach outside of the app has to be in memory: docs/testing.md shows how.

    Exit code 0: every promise held. 1: one was broken; the seed, its story and how to play it again are
    printed. 2: it could not be played. 130: it was interrupted.
    """
    where = chosen_app(Settings.load(app=app), "simulate")
    seeds, chosen = seeds_named(wanted), faults_named(faults)
    began = time.monotonic()
    tally, last = _Tally(), None
    with _without_a_verdict():
        simulation = find_simulation(where)  # what is wrong with it is said here, and not by each process
        playing = play_in_parallel(where, seeds, faults=chosen, runs=runs, processes=processes)
        with closing(playing) as outcomes:
            for last in _telling(outcomes, len(seeds), tally, quiet=as_json):
                if not last.ok and not keep_going:
                    break
        fewer = narrow(simulation, tally.failed[0].seed, faults=chosen, runs=runs) if tally.failed else chosen
    replay = [_replay(where, outcome.seed, chosen, runs) for outcome in tally.failed]
    narrowed = _replay(where, tally.failed[0].seed, fewer, runs) if fewer != chosen else None
    if as_json:
        document = _document(where, tally, replay, time.monotonic() - began)
        if narrowed:
            document["failed"][0]["narrowed"] = narrowed
        if story and last is not None:
            document["story"] = last.story.splitlines()
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        if tally.failed:
            _tell_failure(tally.failed[0], replay[0], narrowed)
        elif story and last is not None:
            click.echo(last.story)
        click.echo(_summary(tally, time.monotonic() - began))
        for outcome, again in zip(tally.failed[1:], replay[1:], strict=True):
            click.echo(f"also seed {outcome.seed}: {outcome.broken[0]}\n  {again}")
    raise SystemExit(1 if tally.failed else 0)


@contextmanager
def _without_a_verdict() -> Iterator[None]:
    """What a user's module raises when it is loaded, or prepares a seed, is no promise that was broken."""
    try:
        yield
    except AntiphonError:
        raise  # told in a line
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(2) from None


def _telling(outcomes: Iterable[Outcome], total: int, tally: _Tally, *, quiet: bool) -> Iterator[Outcome]:
    """Each outcome, counted, and progress on stderr: a line that is written over, or one now and then."""
    over = sys.stderr.isatty()
    told = time.monotonic()
    for outcome in outcomes:
        tally.add(outcome)
        if not quiet and (over or time.monotonic() - told >= _EVERY):
            told = time.monotonic()
            line = f"{tally.played} of {total} seeds, {len(tally.failed)} failed"
            click.echo(f"\r{line}" if over else line, err=True, nl=not over)
        yield outcome
    if over and not quiet:
        click.echo(err=True)


def _replay(where: str, seed: int, faults: Sequence[Fault], runs: int) -> str:
    named = "all" if tuple(faults) == FAULTS else ",".join(faults) or "none"
    return shlex.join(
        ["antiphon", "simulate", where, "--seeds", str(seed), "--faults", named, "--runs", str(runs)]
    )


def _tell_failure(outcome: Outcome, replay: str, narrowed: str | None) -> None:
    click.echo(outcome.story)
    click.echo()
    click.echo(f"seed {outcome.seed} failed after {outcome.seconds:g} s of virtual time:")
    for sentence in outcome.broken:
        click.echo(f"  {sentence}")
    click.echo(f"to play it again:\n  {replay}")
    if narrowed:
        click.echo(f"it fails with fewer faults too, perhaps in another way:\n  {narrowed}")


def _summary(tally: _Tally, took: float) -> str:
    runs = ", ".join(f"{count} {status}" for status, count in sorted(tally.runs.items())) or "no runs"
    faults = ", ".join(f"{tally.faults[fault]} {fault}" for fault in FAULTS if tally.faults[fault]) or "none"
    ended = f"{len(tally.failed)} failed" if tally.failed else "every promise held"
    return (
        f"{tally.played} seeds in {took:.1f} s ({tally.virtual / 3600:.1f} h of virtual time): {ended}\n"
        f"runs: {runs}\nfaults: {faults}"
    )


def _document(where: str, tally: _Tally, replay: Sequence[str], took: float) -> dict[str, Any]:
    return {
        "ok": not tally.failed,
        "app": where,
        "seeds": tally.played,
        "seconds": round(took, 3),
        "virtual_seconds": round(tally.virtual, 3),
        "runs": dict(sorted(tally.runs.items())),
        "faults": {fault: tally.faults[fault] for fault in FAULTS},
        "failed": [
            {
                "seed": outcome.seed,
                "broken": list(outcome.broken),
                "story": outcome.story.splitlines(),
                "replay": again,
            }
            for outcome, again in zip(tally.failed, replay, strict=True)
        ],
    }
