"""What may be done with one run: cancel, retry, signal, pause, resume. Each asks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import RunError
from gateway.audit import audited
from gateway.auth import Principal
from gateway.bodies import parse_json
from gateway.dashboard.asking import REASON, Ask, Field, once, show
from gateway.dashboard.routes.run import find_run
from gateway.dashboard.session import Session
from gateway.dashboard.story_findings import goes_back
from gateway.dashboard.views import Desk, action, back_to, page, redirect
from gateway.platform import Platform
from gateway.problems import Problem
from gateway.queries.runs import Run, RunSummary, related_runs
from gateway.text import checked_text
from orchestrator.operators import undone_before

__all__ = ["ROUTES"]

_VERBS = ("cancel", "retry", "signal", "pause", "resume")


def _question(
    platform: Platform,
    run: Run,
    verb: str,
    values: dict[str, str] | None = None,
    again: Sequence[RunSummary] = (),
) -> Ask:
    who, given = f"{run.flow} {run.key}", values or {}
    state = f"Now it is {run.status}" + (f": {run.waiting}." if run.waiting else ".")
    reason = Field("reason", "Reason", value=given.get("reason", ""), help=REASON.help)
    match verb:
        case "cancel":
            back = goes_back(run.status, run.error)
            text = (
                "It stops, and what it did is compensated first, in reverse order. Past its pivot it goes on."
            )
            if back:
                text = "It is going back already: what it did is undone, and a cancel changes nothing."
            possible = not run.ended and not back
            return Ask(f"Cancel {who}?", (text, state), "Cancel the run", (reason,), True, possible=possible)
        case "retry":
            return _retry_question(platform, run, who, state, reason, again)
        case "pause":
            text = "Nothing new starts in it until it is resumed; what is at work is let to end."
            return Ask(f"Pause {who}?", (text, state), "Pause the run", (reason,), possible=not run.ended)
        case "resume":
            return Ask(
                f"Resume {who}?", ("It goes on where it was paused.", state), "Resume the run", (reason,)
            )
        case _:
            text = "A wait for a signal of this name takes it; one that comes before its wait is kept."
            fields = (
                Field("name", "Signal", value=given.get("name", _awaited(platform, run)), required=True),
                Field("data", "Data (JSON)", kind="json", value=given.get("data", "{}")),
            )
            return Ask(f"Signal {who}", (text, state), "Send the signal", fields, possible=not run.ended)


def _retry_question(
    platform: Platform, run: Run, who: str, state: str, reason: Field, again: Sequence[RunSummary]
) -> Ask:
    if not run.ended:
        fits = run.status == "stuck"
        text = (
            "It goes on where it is stuck; its history stays."
            if fits
            else "Only a stuck or an ended run is retried."
        )
        return Ask(f"Retry {who}?", (text, state), "Retry the run", (reason,), possible=fits)
    options = (("", "the beginning"), *((name, name) for name in _beginnings(platform, run)))
    fields = (Field("from_node", "Begin at", kind="select", options=options), reason)
    text = "A new run with the same input is made and linked to this one. This one's history is not changed."
    made = (f"A new run was made from it already: {one.id}, which is {one.status}." for one in again)
    return Ask(f"Run {who} again?", (*made, text, state), "Make a new run", fields)


def _beginnings(platform: Platform, run: Run) -> list[str]:
    """The nodes of its own version that an ended run can be made again from, as its owner will have it."""
    for flow in platform.flows.get(run.flow, ()):
        if flow.version == run.version:
            places = flow.plan.places
            whole = [name for name in places if not places[name].branches]
            if run.error is None:
                return whole
            return [name for name in whole if undone_before(flow.plan, name) is None]
    return []


def _awaited(platform: Platform, run: Run) -> str:
    waiting = run.waiting or ""
    return waiting.partition("signal:")[2].partition(";")[0].strip()


def _verb(request: Request) -> str:
    verb = str(request.path_params["verb"])
    if verb not in _VERBS:
        raise HTTPException(404, f"There is nothing called {verb[:40]!r} to do with a run.")
    return verb


def _check(session: Session, verb: str) -> None:
    ability = "signal runs" if verb == "signal" else "act on runs"
    if not session.may(ability):
        raise HTTPException(403, f"Your key's role, {session.principal.role}, may not {ability}.")


@page()
async def ask(request: Request, desk: Desk, session: Session) -> Response:
    """The question."""
    verb = _verb(request)
    _check(session, verb)
    run = await find_run(desk, session, request.path_params["run_id"])
    workspace, again = session.principal.workspace, list[RunSummary]()
    if verb == "retry" and run.ended:
        related = await desk.platform.database.read(lambda conn: related_runs(conn, workspace, run.id))
        again = [one for one in related if one.linked_from == run.id]
    question = _question(desk.platform, run, verb, again=again)
    return show(request, desk, session, question, f"/ui/runs/{run.id}")


@action("read operations")
async def do(request: Request, desk: Desk, session: Session) -> Response:
    """The deed, written down first."""
    verb = _verb(request)
    _check(session, verb)
    run = await find_run(desk, session, request.path_params["run_id"])
    form = await request.form()
    values = {name: str(form.get(name) or "").strip() for name in ("reason", "name", "data", "from_node")}
    back = back_to(form.get("back"), f"/ui/runs/{run.id}")

    def again(error: str) -> Response:
        asked = replace(_question(desk.platform, run, verb, values), error=error)
        return show(request, desk, session, asked, back, code=422)

    if not _question(desk.platform, run, verb).possible:
        return again(f"The run is {run.status}: it can't take this.")
    data: Any = None
    if verb == "signal":
        try:
            data = parse_json((values["data"] or "null").encode(), desk.platform.max_depth)
        except Problem as problem:
            return again(f"The data is not JSON that can be sent: {problem}")
        if not values["name"]:
            return again("The signal needs a name.")
        try:
            checked_text("The signal's name", values["name"])
        except Problem as problem:
            return again(str(problem))
    try:
        id = once(form, desk.platform)
        text, to = await _perform(desk.platform, session.principal, run, verb, values, data, id)
    except RunError as error:
        return redirect(back, "bad", f"Not done: {error}")
    return redirect(to or back, "ok", text)


async def _perform(
    platform: Platform, who: Principal, run: Run, verb: str, values: dict[str, str], data: Any, id: str
) -> tuple[str, str | None]:
    """Does it; a sentence, and where to go where that is not back. Raises RunError, BusError, StoreError."""
    reason, node = values["reason"] or None, values["from_node"] or None
    detail: dict[str, Any] | None = {"from_node": node} if node else None
    if verb == "signal":
        detail = {"name": values["name"], "id": id}
    async with audited(platform, who, f"run.{verb}", f"run/{run.id}", reason=reason, detail=detail):
        return await _ask_of(platform, who, run, verb, values, data, id)


async def _ask_of(
    platform: Platform, who: Principal, run: Run, verb: str, values: dict[str, str], data: Any, id: str
) -> tuple[str, str | None]:
    reason, node, client = values["reason"], values["from_node"] or None, platform.client
    name = f"{run.flow} {run.key}"
    match verb:
        case "cancel":
            await client.cancel(who.workspace, run.id, reason=reason, actor=who.actor)
            return f"Asked {name} to cancel.", None
        case "retry":
            goes_on = await client.retry(
                who.workspace, run.id, from_node=node, reason=reason, actor=who.actor, retry_id=id
            )
            if goes_on == run.id:
                return f"{name} goes on.", None
            return f"A new run was made from {name}.", None
        case "pause":
            await client.pause(who.workspace, run.id, reason=reason, actor=who.actor)
            return f"Asked {name} to pause.", None
        case "resume":
            await client.resume(who.workspace, run.id, reason=reason, actor=who.actor)
            return f"{name} goes on.", None
        case _:
            await client.signal(who.workspace, run.id, values["name"], data, signal_id=id, actor=who.actor)
            return f"Sent {values['name']} to {name}.", None


ROUTES = [
    Route("/runs/{run_id}/{verb:str}", ask, methods=["GET"]),
    Route("/runs/{run_id}/{verb:str}", do, methods=["POST"]),
]
