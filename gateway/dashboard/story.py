"""The story of one correlation id: rows of the store in, lanes on one time axis out. Pure.

The run's lane is on top, a lane for each service and reactor under it. An event is a vertical line
at the moment it was published, from what emitted it down to everything that it set off: a reaction's
time in the queue begins exactly there. What was expected to react and has not is drawn too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.dashboard.axis import Axis
from gateway.dashboard.progress import Progress
from gateway.dashboard.story_clocks import Clocks
from gateway.dashboard.story_drafts import Draft, Edge, LaneDraft, Moment, Stretch, error_line
from gateway.dashboard.story_findings import counts, entries, findings
from gateway.dashboard.story_model import Action, Dot, Lane, Line, Row, Segment, Story
from gateway.dashboard.story_reaction import reaction_draft, reaction_row_id
from gateway.dashboard.story_run import answered_at, command_ids, family, node_row_id, run_lane
from gateway.dashboard.words import duration, status
from orchestrator.wire import correlated_id

__all__ = ["OVERDUE", "build", "owed"]

RowData = Mapping[str, Any]

OVERDUE = 10.0  # seconds after which a reaction that was expected counts as missing
MOST_ROWS = 100  # of one lane
MOST_PARTS = 5_000  # of all edges; beyond, only their ends are drawn
_WELL = {"done", "published"}
_SERVICE = "service."  # how the inbox names a service
_OPEN = {"running", "compensating", "claimed", "retrying", "waiting", "queued", "accepted"}


def build(
    correlation: str,
    *,
    runs: Sequence[RowData],
    histories: Mapping[str, Sequence[RowData]],
    events: Sequence[RowData],
    reactions: Sequence[RowData],
    dead_letters: Sequence[RowData] = (),
    audit: Sequence[RowData] = (),
    held: Sequence[RowData] = (),
    expected: Mapping[str, Iterable[str]],
    now: float,
    true_axis: bool = False,
) -> Story:
    """Lays a story out.

    Rows have the columns of ``store.tables`` with JSON decoded; ``histories`` maps run ids to facts,
    oldest first; ``expected`` maps event types to the reactors that subscribe to them; ``held`` are its
    events that are in quarantine; ``now`` is in seconds since the epoch.
    """
    lanes: list[LaneDraft] = []
    edges: list[Edge] = []
    emitters: dict[str, str] = {}
    waits: list[tuple[str, str, float]] = []
    commands: dict[str, tuple[str, float, float | None]] = {}
    for run in sorted(runs, key=lambda row: row["created_at"]):
        lane, progress = run_lane(run, histories.get(str(run["id"]), ()))
        lanes.append(lane)
        _learn(str(run["id"]), progress, emitters, waits, commands)
        edges.extend(family(run, progress))
    clocks = Clocks(events, reactions, {id: (sent, answered) for id, (_, sent, answered) in commands.items()})
    outside = _outside(events, emitters, clocks)
    if outside.drafts:
        lanes.append(outside)
    taken = {
        correlated_id(str(event["source"]), str(event["id"]), str(run["id"])): str(event["id"])
        for event in events
        for run in runs
    }
    for message_id, row_id, at in waits:
        event_id = taken.get(message_id, message_id)
        if event_id in emitters:
            edges.append(Edge(clocks.published(event_id) or at, emitters[event_id], row_id))
    letters = {(row["reactor"], row["source"], row["event_id"]): row for row in dead_letters}
    by_reactor: dict[str, list[Draft]] = {}
    for reaction in sorted(reactions, key=lambda row: row["received_at"]):
        reactor, event_id = str(reaction["reactor"]), str(reaction["event_id"])
        letter = letters.get((reactor, reaction["source"], event_id))
        published = clocks.published(event_id)
        draft = reaction_draft(reaction, published, letter, clocks.skew(reaction))
        by_reactor.setdefault(reactor, []).append(draft)
        source = emitters.get(event_id) or (commands[event_id][0] if event_id in commands else None)
        if source is not None and published is not None:
            edges.append(Edge(published, source, draft.row.id))
    refused = {(str(row["queue"]), str(row["message_id"])): row for row in held}
    for event, reactor in owed(events, reactions, expected):
        refusal = refused.get((f"reactor.{reactor}", str(event["id"])))
        at = clocks.published(str(event["id"])) or float(event["at"])
        draft = _missing(event, reactor, at, now) if refusal is None else _held(event, reactor, at, refusal)
        by_reactor.setdefault(reactor, []).append(draft)
        if str(event["id"]) in emitters:
            edges.append(Edge(at, emitters[str(event["id"])], draft.row.id))
    lanes.extend(_reactor_lanes(by_reactor))
    if audit:
        lanes.append(_operators(audit))
    return _layout(correlation, lanes, edges, runs, histories, now, true_axis)


def _learn(
    run_id: str,
    progress: Progress,
    emitters: dict[str, str],
    waits: list[tuple[str, str, float]],
    commands: dict[str, tuple[str, float, float | None]],
) -> None:
    for node in progress.nodes.values():
        row_id = node_row_id(run_id, node.node)
        for event_id, _, _ in node.emitted:
            emitters[event_id] = row_id
        for event_id, _, at in node.received:
            waits.append((event_id, row_id, at))
    for command, node in command_ids(run_id, progress).items():
        commands[command] = (node_row_id(run_id, node.node), node.started, answered_at(node))


def _outside(events: Sequence[RowData], emitters: dict[str, str], clocks: Clocks) -> LaneDraft:
    """The lane of events that no run of this story emitted; a reactor's own go to its row."""
    lane = LaneDraft(Lane("outside", "outside", "From outside", "published", None, ""))
    for event in sorted(events, key=lambda row: row["at"]):
        event_id, source = str(event["id"]), str(event["source"])
        if event_id in emitters:
            continue
        cause = clocks.emitter(event)
        if cause is not None:
            emitters[event_id] = reaction_row_id(
                str(cause["reactor"]), str(cause["source"]), str(cause["event_id"])
            )
            continue
        known = status("published" if event.get("routed", 1) else "unheard")
        at = float(event["at"])
        row = Row(f"event-{event_id}", str(event["type"]), "", known, f"Published by {source}.", at, at)
        row.details = [("event", event_id, "id"), ("source", source, "id")]
        if event.get("subject"):
            row.details.append(("subject", str(event["subject"]), "text"))
        lane.drafts.append(Draft(row, moments=[Moment("event", at, known.tone, str(event["type"]))]))
        emitters[event_id] = row.id
    lane.lane.summary = f"{len(lane.drafts)} events"
    return lane


def owed(
    events: Sequence[RowData], reactions: Sequence[RowData], expected: Mapping[str, Iterable[str]]
) -> list[tuple[RowData, str]]:
    """Each event with each of its subscribers that has not begun to react to it."""
    seen = {(str(row["reactor"]), str(row["event_id"])) for row in reactions}
    return [
        (event, reactor)
        for event in events
        for reactor in expected.get(str(event["type"]), ())
        if (reactor, str(event["id"])) not in seen
    ]


def _missing(event: RowData, reactor: str, at: float, now: float) -> Draft:
    """The row of a reaction that is owed and has not begun."""
    event_id, type_, late = str(event["id"]), str(event["type"]), now - at > OVERDUE
    known = status("missing" if late else "queued")
    waited = duration(max(now - at, 0.0))
    row = Row(
        f"missing-{reactor}-{event_id}",
        type_,
        "",
        known,
        f"{reactor} subscribes to {type_} and has not recorded this one, {waited} after it was "
        f"published.{' Is the reactor running?' if late else ''}",
        at,
    )
    row.note = f"expected, {waited} ago" if late else f"{waited} in the queue"
    row.details = [("event", event_id, "id"), ("source", str(event["source"]), "id")]
    return Draft(row, [Stretch("missing" if late else "queue", at, None, known.tone, row.note)])


def _held(event: RowData, reactor: str, at: float, refusal: RowData) -> Draft:
    """The row of a reaction that will not begin: its message was refused."""
    refused, known = max(float(refusal["received_at"]), at), status("held")
    why = f"Refused as {refusal['reason']}, and in quarantine: {refusal['detail']}"
    row = Row(f"held-{refusal['id']}", str(event["type"]), "", known, why, at, refused)
    row.note = str(refusal["reason"])
    row.details = [("event", str(event["id"]), "id"), ("in quarantine", str(refusal["id"]), "id")]
    base = f"/ui/quarantine/{refusal['id']}"
    row.actions = [Action("Release", f"{base}/release"), Action("Discard", f"{base}/discard", danger=True)]
    return Draft(row, [Stretch("queue", at, refused, "quiet", f"in the queue for {duration(refused - at)}")])


def _reactor_lanes(by_reactor: Mapping[str, list[Draft]]) -> list[LaneDraft]:
    lanes = []
    worst = ("dead", "held", "missing", "retrying", "claimed", "queued", "refused", "redriven", "discarded")
    began = {name: min(draft.row.started or 0.0 for draft in drafts) for name, drafts in by_reactor.items()}
    for name in sorted(by_reactor, key=lambda name: (not name.startswith(_SERVICE), began[name], name)):
        drafts = sorted(by_reactor[name], key=lambda draft: draft.row.started or 0.0)
        found = {draft.row.status.name for draft in drafts}
        shown = next((each for each in worst if each in found), "done")
        kind = "service" if name.startswith(_SERVICE) else "reactor"
        title = name.removeprefix(_SERVICE)
        count = f"{len(drafts)} {'command' if kind == 'service' else 'reaction'}{'s' * (len(drafts) != 1)}"
        lane = Lane(f"{kind}-{title}", kind, title, kind, status(shown), count, f"/ui/reactors#{title}")
        lanes.append(LaneDraft(lane, drafts))
    return lanes


def _operators(audit: Sequence[RowData]) -> LaneDraft:
    lane = LaneDraft(Lane("operators", "operators", "Operators", "audit", None, f"{len(audit)} actions"))
    for entry in audit:
        at = float(entry["at"])
        reason = f": {entry['reason']}" if entry.get("reason") else ""
        failed = (entry.get("detail") or {}).get("error")
        row = Row(
            f"audit-{entry['seq']}",
            str(entry["action"]),
            "",
            status("failed" if failed else "done"),
            f"Not done: {failed}" if failed else f"{entry['actor']} asked for it{reason}",
            at,
            at,
        )
        row.note = str(entry["actor"])
        row.details = [("actor", str(entry["actor"]), "text"), ("target", str(entry["target"]), "id")]
        lane.drafts.append(Draft(row, moments=[Moment("audit", at, "undo", row.why)]))
    return lane


def _layout(
    correlation: str,
    lanes: Sequence[LaneDraft],
    edges: Sequence[Edge],
    runs: Sequence[RowData],
    histories: Mapping[str, Sequence[RowData]],
    now: float,
    true_axis: bool,
) -> Story:
    drafts = [draft for lane in lanes for draft in lane.drafts]
    is_open = any(run["ended_at"] is None for run in runs) or any(
        draft.row.status.name in _OPEN for draft in drafts if not draft.row.id.startswith("node-")
    )
    moments = [edge.at for edge in edges] + [moment.at for lane in lanes for moment in lane.moments]
    moments += [float(run["created_at"]) for run in runs]
    for draft in drafts:
        moments += [moment.at for moment in draft.moments]
        for stretch in draft.stretches:
            moments += [stretch.start, stretch.end if stretch.end is not None else now]
    if is_open:
        moments.append(now)
    axis = Axis(moments, true=true_axis)
    for lane in lanes:
        _place(lane, axis, now)
    shown = [lane.lane for lane in lanes]
    found, told = findings(runs, shown, error_line), entries(runs, histories, shown, axis.start)
    counted = counts(runs, shown)
    for each in shown:
        _shorten(each)
    _draw(edges, shown, axis)
    return Story(
        correlation=correlation,
        start=axis.start,
        end=axis.end,
        open=is_open,
        lanes=shown,
        ticks=axis.ticks(),
        folds=axis.folds(),
        findings=found,
        entries=told,
        counts=counted,
        true_axis=true_axis,
    )


def _place(lane: LaneDraft, axis: Axis, now: float) -> None:
    for draft in lane.drafts:
        for stretch in draft.stretches:
            left, right = axis.x(stretch.start), axis.x(now if stretch.end is None else stretch.end)
            draft.row.segments.append(
                Segment(
                    stretch.kind, left, right - left, stretch.tone, stretch.title, open=stretch.end is None
                )
            )
        draft.row.dots = [Dot(each.kind, axis.x(each.at), each.tone, each.title) for each in draft.moments]
        lane.lane.rows.append(draft.row)
    lane.lane.dots = [Dot(each.kind, axis.x(each.at), each.tone, each.title) for each in lane.moments]
    places = [segment.x for row in lane.lane.rows for segment in row.segments]
    ends = [segment.x + segment.width for row in lane.lane.rows for segment in row.segments]
    dots = [dot.x for row in lane.lane.rows for dot in row.dots] + [dot.x for dot in lane.lane.dots]
    if places or dots:
        left, right = min(places + dots), max(ends + dots)
        tone = lane.lane.status.tone if lane.lane.status else "quiet"
        lane.lane.span = Segment("span", left, right - left, tone, lane.lane.summary)


def _shorten(lane: Lane) -> None:
    """Leaves as many rows as can be looked at: what went wrong first, then the earliest."""
    if len(lane.rows) <= MOST_ROWS:
        return
    by_need = sorted(range(len(lane.rows)), key=lambda place: (lane.rows[place].status.name in _WELL, place))
    kept = sorted(by_need[:MOST_ROWS])
    lane.hidden = len(lane.rows) - len(kept)
    lane.rows = [lane.rows[place] for place in kept]


def _draw(edges: Sequence[Edge], lanes: Sequence[Lane], axis: Axis) -> None:
    """Cuts each edge into one part for each row that it crosses; lanes' heads are rows here."""
    flat: list[Lane | Row] = []
    for lane in lanes:
        flat.append(lane)
        flat.extend(lane.rows)
    index = {item.id: place for place, item in enumerate(flat)}
    drawn = [edge for edge in edges if edge.source in index and edge.target in index]
    length = sum(abs(index[edge.target] - index[edge.source]) for edge in drawn)
    parts: list[dict[Line, None]] = [{} for _ in flat]  # one line where several edges share a place
    for edge in drawn:
        source, target, x = index[edge.source], index[edge.target], axis.x(edge.at)
        if source == target:
            continue
        down = target > source
        parts[source][Line(x, 50, 100) if down else Line(x, 50, 0)] = None
        parts[target][Line(x, 0, 50, arrow=True) if down else Line(x, 100, 50, arrow=True)] = None
        if length <= MOST_PARTS:
            for place in range(min(source, target) + 1, max(source, target)):
                parts[place][Line(x, 0, 100)] = None
    for item, lines in zip(flat, parts, strict=True):
        item.lines = list(lines)
