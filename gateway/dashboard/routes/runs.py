"""Runs: find them by flow, status, key and time; cancel or retry many, with a count first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import RunError
from gateway.audit import audited, record
from gateway.dashboard.asking import REASON, Ask, Field, once, show
from gateway.dashboard.session import Session
from gateway.dashboard.story_findings import goes_back
from gateway.dashboard.views import Desk, action, back_to, page, redirect
from gateway.queries.page import BadCursor
from gateway.queries.runs import (
    STATUSES,
    RunFilter,
    RunSummary,
    count_runs,
    get_run,
    list_runs,
    made_again,
)

__all__ = ["ROUTES"]

PERIODS = {"15m": 900, "1h": 3600, "24h": 86400, "7d": 604800}
MOST_AT_ONCE = 500  # runs that one bulk action touches
_SIDE_BY_SIDE = 20
# What a bulk action makes sense for; others of a selection are left alone, and counted.
_FITS = {
    "cancel": ("running", "stuck", "paused"),
    "retry": ("stuck", "failed", "compensated", "cancelled"),
}


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for, as the form and the addresses have it."""

    flow: str
    statuses: tuple[str, ...]
    key: str
    period: str

    @classmethod
    def of(cls, query: QueryParams) -> Search:
        """From a query string; what is no value of ours is left out."""
        period = query.get("period", "")
        return cls(
            query.get("flow", "")[:200].replace("\0", ""),
            tuple(status for status in query.getlist("status") if status in STATUSES),
            query.get("key", "").strip()[:500].replace("\0", ""),
            period if period in PERIODS else "",
        )

    def filter(self, now: float) -> RunFilter:
        """As the query wants it."""
        since = now - PERIODS[self.period] if self.period else None
        return RunFilter(self.flow or None, self.statuses, self.key or None, None, since)

    def query(self, **more: str) -> str:
        """As the rest of an address, with ``more`` parameters."""
        pairs = [("flow", self.flow), ("key", self.key), ("period", self.period), *more.items()]
        return urlencode(
            [(name, value) for name, value in pairs if value] + [("status", s) for s in self.statuses]
        )


@page()
async def runs(request: Request, desk: Desk, session: Session) -> Response:
    """The list."""
    search, workspace = Search.of(request.query_params), session.principal.workspace
    wanted, cursor = search.filter(desk.now()), request.query_params.get("cursor")
    try:
        found, total = await desk.platform.database.read(
            lambda conn: (
                list_runs(conn, workspace, wanted, cursor=cursor, most=50),
                count_runs(conn, workspace, wanted),
            )
        )
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
    return desk.render(
        request,
        "runs.html",
        session,
        search=search,
        found=found,
        total=total,
        # With the one that is searched for: it may be gone from this app, and its runs still be there.
        flows=sorted({*desk.platform.flows, *([search.flow] if search.flow else ())}),
        statuses=STATUSES,
        periods=tuple(PERIODS),
        first=cursor is None,
    )


async def _chosen(
    request: Request, desk: Desk, workspace: str, verb: str, values: QueryParams
) -> tuple[list[RunSummary], int]:
    """The runs that fit the verb, and how many were chosen. Raises HTTPException for an unknown verb."""
    if verb not in _FITS:
        raise HTTPException(404, f"There is no bulk action {verb[:40]!r}.")
    ids = [id for id in values.getlist("id") if "\0" not in id][:MOST_AT_ONCE]
    if values.get("all") == "1":
        until = float(values.get("until") or desk.now()) if _is_number(values.get("until")) else desk.now()
        wanted = replace(Search.of(values).filter(desk.now()), until=until)
        found = await desk.platform.database.read(
            lambda conn: list_runs(conn, workspace, wanted, most=MOST_AT_ONCE).items
        )
        chosen = list(found)
    else:
        each = await desk.platform.database.read(lambda conn: [get_run(conn, workspace, id) for id in ids])
        chosen = [run for run in each if run is not None]
    fitting = [run for run in chosen if run.status in _FITS[verb]]
    if verb == "cancel":
        return [run for run in fitting if not goes_back(run.status, run.error)], len(chosen)
    ended = [run.id for run in fitting if run.ended]
    again = await desk.platform.database.read(lambda conn: made_again(conn, workspace, ended))
    return [run for run in fitting if run.id not in again], len(chosen)


def _is_number(text: str | None) -> bool:
    return bool(text) and str(text).replace(".", "", 1).isascii() and str(text).replace(".", "", 1).isdigit()


@page("act on runs")
async def ask_bulk(request: Request, desk: Desk, session: Session) -> Response:
    """Says how many runs, and which, before anything is done."""
    verb, values = request.path_params["verb"], request.query_params
    fitting, chosen = await _chosen(request, desk, session.principal.workspace, verb, values)
    return show(request, desk, session, _question(verb, fitting, chosen), "/ui/runs")


def _question(verb: str, fitting: Sequence[RunSummary], chosen: int) -> Ask:
    count = len(fitting)
    effect = {
        "cancel": "Each stops, and is compensated first, in reverse order. One past its pivot goes on.",
        "retry": "A stuck run goes on where it stands. From an ended one a new, linked run is made.",
    }[verb]
    touches = [effect]
    if chosen > count:
        are = "does not fit and is" if chosen - count == 1 else "do not fit and are"
        why = "because of the status"
        if verb == "retry":
            why += ", or since a new run was made already: that one can be retried"
        touches.append(f"{chosen - count} of the {chosen} chosen {are} left alone, {why}.")
    touches += [f"{run.flow} {run.key} ({run.status})" for run in fitting[:6]]
    if count > 6:
        touches.append(f"and {count - 6} more")
    if chosen >= MOST_AT_ONCE:
        touches.append(f"Only the newest {MOST_AT_ONCE} that match are looked at; ask again for the rest.")
    runs_word = "1 run" if count == 1 else f"{count} runs"
    return Ask(
        title=f"{verb.capitalize()} {runs_word}?",
        touches=tuple(touches),
        submit=f"{verb.capitalize()} {runs_word}",
        fields=(REASON, *(Field("id", kind="hidden", value=run.id) for run in fitting)),
        danger=verb == "cancel",
        possible=count > 0,
    )


@action("act on runs")
async def do_bulk(request: Request, desk: Desk, session: Session) -> Response:
    """Does it for exactly the runs that were shown, as far as they still fit."""
    verb, who = request.path_params["verb"], session.principal
    form = await request.form()
    values = QueryParams([(name, str(value)) for name, value in form.multi_items() if name == "id"])
    fitting, chosen = await _chosen(request, desk, who.workspace, verb, values)
    reason, client = str(form.get("reason") or ""), desk.platform.client
    retry_id = once(form, desk.platform)
    detail = {"count": len(fitting), "runs": [run.id for run in fitting]}
    await record(desk.platform, who, f"runs.{verb}", "runs", reason=reason or None, detail=detail)
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def each(run: RunSummary) -> bool:
        async with gate:
            try:
                async with audited(desk.platform, who, f"run.{verb}", f"run/{run.id}", reason=reason or None):
                    if verb == "cancel":
                        await client.cancel(who.workspace, run.id, reason=reason, actor=who.actor)
                    else:
                        await client.retry(
                            who.workspace, run.id, reason=reason, actor=who.actor, retry_id=retry_id
                        )
            except RunError:
                return False  # it has ended, or moved on, since it was shown
            return True

    done = sum(await asyncio.gather(*map(each, fitting)))
    left = chosen - done
    text = f"{verb.capitalize()} was asked of {done} run{'s' * (done != 1)}."
    if left:
        text += f" {left} had moved on and {'was' if left == 1 else 'were'} left alone."
    return redirect(back_to(form.get("back"), "/ui/runs"), "ok" if done else "warn", text)


ROUTES = [
    Route("/runs", runs),
    Route("/runs/bulk/{verb}", ask_bulk, methods=["GET"]),
    Route("/runs/bulk/{verb}", do_bulk, methods=["POST"]),
]
