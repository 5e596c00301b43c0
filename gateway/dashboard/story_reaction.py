"""From a reaction to its row: time in the queue, retries, work, and how it ended, drafted."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.envelope import derive_id
from gateway.dashboard.story_drafts import Draft, Moment, RowData, Stretch, error_line
from gateway.dashboard.story_model import Action, Row
from gateway.dashboard.words import Status, duration, status

__all__ = ["reaction_draft", "reaction_row_id"]


def reaction_draft(
    reaction: RowData,
    published: float | None,
    dead_letter: RowData | None,
    skew: float = 0.0,
) -> Draft:
    """The row of one reaction: time in the queue, retries, and the newest attempt's work.

    ``published`` is when its event was; ``skew`` seconds are added to what its own clock said.
    """
    known = reaction_status(reaction, dead_letter)
    received, started = float(reaction["received_at"]), float(reaction["started_at"])
    ended = reaction.get("finished_at")
    received, started = received + skew, started + skew
    finished = float(ended) + skew if ended is not None else None
    error = error_line(reaction.get("error"))
    row_error = error or _refusal(reaction)
    attempts = int(reaction["attempts"])
    row = Row(
        id=reaction_row_id(str(reaction["reactor"]), str(reaction["source"]), str(reaction["event_id"])),
        label=str(reaction["type"]),
        sub="",
        status=known,
        why=_reaction_why(known, attempts, row_error, dead_letter),
        started=published if published is not None else received,
        ended=finished,
    )
    stretches: list[Stretch] = []
    if published is not None and received > published:
        waited = duration(received - published)
        stretches.append(Stretch("queue", published, received, "quiet", f"in the queue for {waited}"))
    if started > received:
        text = f"{attempts - 1} earlier attempts, and the waits between them" if attempts > 1 else "held back"
        stretches.append(Stretch("backoff", received, started, "warn", text))
    stretches.extend(_newest_attempt(known, started, finished))
    row.note = _reaction_note(published, received, started, finished, attempts)
    row.note = _error_note(known, attempts, row_error) or row.note
    row.details = [
        ("event", str(reaction["event_id"]), "id"),
        ("source", str(reaction["source"]), "id"),
        ("attempts", str(attempts), "text"),
    ]
    if reaction.get("causation"):
        row.details.append(("caused by", str(reaction["causation"]), "id"))
    if reaction.get("claimed_by"):
        row.details.append(("handled by", str(reaction["claimed_by"]), "id"))
    if error:
        row.details.append(("last error", error, "text"))
    if abs(skew) >= 0.001:
        text = f"{duration(abs(skew))} {'later' if skew > 0 else 'earlier'} than its clock said"
        row.details.append(("drawn", f"{text}: an effect does not come before its cause", "text"))
    if dead_letter is not None and dead_letter["status"] == "dead":
        row.actions = dead_letter_actions(str(dead_letter["id"]))
        row.details.append(("dead letter", str(dead_letter["id"]), "id"))
    return Draft(row, stretches, _burials(known, dead_letter))


def _burials(known: Status, letter: RowData | None) -> list[Moment]:
    """When it was given up and what an operator then did, where it came back to life."""
    if letter is None or known.name == "dead":
        return []
    gave_up = f"given up: {letter.get('error_type')}: {letter.get('error_message')}"
    found = [Moment("mark", float(letter["dead_at"]), "bad", gave_up)]
    if letter.get("settled_at") is not None:
        done = f"{letter['status']} by {letter.get('settled_by') or 'its reactor'}"
        found.append(Moment("audit", float(letter["settled_at"]), "undo", done))
    return found


def _error_note(known: Status, attempts: int, error: str) -> str:
    if known.name not in ("dead", "retrying", "refused") or not error:
        return ""
    short = error if len(error) <= 64 else f"{error[:63]}…"
    return f"{_times(attempts)} · {short}" if attempts > 1 else short


def reaction_status(reaction: RowData, dead_letter: RowData | None) -> Status:
    """A reaction's status; a dead one whose letter was discarded or sent again says so."""
    name, reply = str(reaction["status"]), reaction.get("reply")
    if name == "done" and isinstance(reply, Mapping) and reply.get("outcome") == "refused":
        return status("refused")
    if name == "dead" and dead_letter is not None and dead_letter["status"] != "dead":
        name = str(dead_letter["status"])
    return status(name)


def dead_letter_actions(id: str) -> list[Action]:
    """What can be done with a dead letter."""
    return [
        Action("Redrive", f"/ui/dead-letters/{id}/redrive"),
        Action("Discard", f"/ui/dead-letters/{id}/discard", danger=True),
    ]


def reaction_row_id(reactor: str, source: str, event_id: str) -> str:
    """The id of the row of one reaction."""
    return f"reaction-{derive_id(reactor, source, event_id)}"


def _newest_attempt(known: Status, started: float, finished: float | None) -> list[Stretch]:
    if known.name == "retrying":
        return [Stretch("backoff", started, None, "warn", "failed; waits for the next attempt")]
    tone = {"done": "ok", "claimed": "info"}.get(known.name, known.tone)
    if finished is None and known.name != "claimed":
        finished = started
    text = "is at work" if finished is None else f"worked for {duration(finished - started)}"
    return [Stretch("work", started, finished, tone, text)]


def _reaction_note(
    published: float | None, received: float, started: float, finished: float | None, attempts: int
) -> str:
    parts = []
    if published is not None:
        parts.append(f"{duration(received - published)} queued")
    if finished is not None:
        parts.append(f"{duration(finished - started)} work")
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    return " · ".join(parts)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _refusal(reaction: RowData) -> str:
    reply = reaction.get("reply")
    return error_line(reply.get("error")) if isinstance(reply, Mapping) else ""


def _reaction_why(known: Status, attempts: int, error: str, dead_letter: RowData | None) -> str:
    times = _times(attempts)
    match known.name:
        case "done":
            done = "Done at the first attempt" if attempts == 1 else f"Done after {times}"
            if dead_letter is None:
                return f"{done}."
            before = f"{dead_letter.get('error_type')}: {dead_letter.get('error_message')}"
            by = dead_letter.get("settled_by") or "an operator"
            return f"{done}, once {by} had sent it again; before, it was given up with {before}"
        case "refused":
            return f"The answer is no: {error or 'no reason was recorded'}"
        case "claimed":
            before = f"; the one before failed: {error}" if error and attempts > 1 else ""
            return f"Attempt {attempts} is at work{before}."
        case "retrying":
            return f"Attempt {attempts} failed and will be tried again: {error}"
        case "dead":
            return f"Given up after {times}: {error or 'no reason was recorded'}"
        case "redriven":
            return f"Was given up after {times}, then sent again by {(dead_letter or {}).get('settled_by')}."
        case "discarded":
            letter = dead_letter or {}
            return f"Discarded by {letter.get('settled_by')}: {letter.get('reason') or 'no reason given'}"
        case _:
            return error
