"""What undoes a command bars it: a step that comes after its compensation must not be done any more.

A step whose attempt timed out is compensated, though its command may still be on its way. So what undoes
it leaves an entry for it in the inbox, with a refusal, where the late command finds its answer. What is
being done right now is waited for: only then is it known what there is to undo.
"""

from __future__ import annotations

from typing import Any

from contracts.envelope import Event
from reactors.claims import Claim, Key, Undone
from reactors.intake import MOST_ATTRIBUTE, MOST_BYTES
from reactors.reply import Reply

__all__ = ["UNDOES", "UNDOES_TYPE", "refusal", "refused_before", "tombstone", "undone_by", "unfit"]

_UNDONE = "undone"  # the code of what must not be done any more

UNDOES = "undoes"  # CloudEvents extensions of a command: the id and the type of the one that it undoes
UNDOES_TYPE = "undoestype"


def undone_by(event: Event, reactor: str) -> Undone | None:
    """What a command undoes, if it says that it undoes something."""
    id = event.extensions.get(UNDOES)
    if id is None:
        return None
    return Undone(Key(reactor, event.source, id), event.extensions.get(UNDOES_TYPE, ""))


def unfit(event: Event) -> str | None:
    """Why such extensions can't be followed; None when they can, or are not there."""
    for name in (UNDOES, UNDOES_TYPE):
        value = event.extensions.get(name)
        if value is not None and not (0 < len(value) <= MOST_ATTRIBUTE and value.isprintable()):
            return f"attribute {name!r} is no text of 1 to {MOST_ATTRIBUTE} characters that can be printed"
        if value is not None and len(value.encode()) > MOST_BYTES:
            return f"attribute {name!r} is longer than {MOST_BYTES} bytes"
    if event.extensions.get(UNDOES) == event.id:
        return f"attribute {UNDOES!r} names the command itself"
    return None


def tombstone(claim: Claim, undone: Undone, now: float) -> dict[str, Any]:
    """The entry of a command that has not come and must not be done when it does."""
    event = claim.letter.event
    return {
        **refusal(claim, undone, now),
        "workspace": event.workspace,
        "type": undone.type,
        "correlation": event.correlation,
        "causation": event.causation,
        "attempts": 0,
        "crashes": 0,
        "redrives": 0,
        "received_at": now,
        "started_at": now,
        "error": None,
    }


def refusal(claim: Claim, undone: Undone, now: float) -> dict[str, Any]:
    """What makes an entry one that is never attempted again, and is answered with a definite no."""
    event = claim.letter.event
    text = f"it was undone by {event.type} ({event.id}) before it was done"
    return {
        **undone.key._asdict(),
        "status": "done",
        "claimed_by": None,
        "retry_at": None,
        "finished_at": now,
        "reply": Reply.refused(_UNDONE, text).as_text(),
    }


def refused_before(reply: str | None) -> bool:
    """Whether a command had no effect, as its kept reply says, and may be done when somebody asks again."""
    if reply is None:
        return False
    kept = Reply.from_text(reply)
    return kept.outcome == "refused" and (kept.error or {}).get("code") != _UNDONE
