"""What travels to a partition and from it: happenings as messages, effects as messages.

Each is a CloudEvent. Ids are derived from their cause, so that sending again sends the same.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from bus.envelope import message_of
from bus.port import COMMANDS, DIRECT, PARTITIONS, Outgoing, Queue
from bus.port import Binding as QueueBinding
from contracts.envelope import Event, derive_id
from contracts.errors import MalformedMessage, Terminal
from orchestrator.effects import AnswerParent, CancelRun, ForwardEvent, PublishEvent, SendCommand
from orchestrator.happenings import (
    CancelRequested,
    ChildEnded,
    EventArrived,
    Happening,
    MigrationRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    SignalArrived,
    StartRequested,
    StepFailed,
    StepFinished,
)
from orchestrator.messages import check_message
from orchestrator.run import Run
from orchestrator.start_messages import SOURCE, STARTS, read_start, read_starts, start_event

__all__ = [
    "child_cancelled",
    "child_ended",
    "command",
    "command_id",
    "correlated",
    "correlated_id",
    "digest_of",
    "event_source",
    "forwarded",
    "partition_of",
    "partition_queue",
    "published",
    "read",
    "request",
    "start",
    "to_partition",
]

_REPLY = "antiphon.reply.v1"
_EVENT = "antiphon.event.v1"
_CHILD = "antiphon.child.v1"
_CANCEL = "antiphon.cancel.v1"
_BACK = ":c"  # the suffix of a compensation's command id


def partition_of(run_id: str, partitions: int) -> int:
    """The partition of a run: a hash of its id, the same in every process and for ever."""
    return zlib.crc32(run_id.encode()) % partitions


def command_id(run_id: str, node: str, *, back: bool = False) -> str:
    """The id of a step's command, or of its compensation's: the same in every attempt."""
    return derive_id("command", run_id, node) + (_BACK if back else "")


def correlated_id(source: str, event_id: str, run_id: str, upcast_to: str | None = None) -> str:
    """The id under which a run takes an event that is correlated to it.

    Read as another type it is another message: versions of one flow may take one event as different types.
    """
    return derive_id("correlated", source, event_id, run_id, *((upcast_to,) if upcast_to else ()))


def digest_of(input: dict[str, Any]) -> str:
    """A digest of an input that does not depend on the order of its fields."""
    return hashlib.sha256(orjson.dumps(input, option=orjson.OPT_SORT_KEYS)).hexdigest()


def partition_queue(partition: int) -> Queue:
    """The queue of one partition: its owner alone consumes it, in order."""
    return Queue(f"partition.{partition}", (QueueBinding(PARTITIONS, str(partition)),), single_active=True)


def to_partition(partition: int, event: Event) -> Outgoing:
    """An event on its way to a partition's owner."""
    return Outgoing(message_of(event), routing_key=str(partition), exchange=PARTITIONS)


def event_source(run: Run) -> str:
    """Who says what a run emits."""
    return f"/{run.workspace}/flows/{run.flow}"


# --- to a partition ---------------------------------------------------------------------------


def start(asked: StartRequested, at: float) -> Outgoing:
    """A start in a message of its own."""
    return to_partition(asked.partition, start_event(asked, at))


def request(
    verb: str, run_id: str, partition: int, data: dict[str, Any], *, id: str, at: float, workspace: str
) -> Outgoing:
    """Something that a person asks of a run: signal, cancel, retry, pause, resume, migrate."""
    event = Event.create(
        f"antiphon.{verb}.v1", {"run_id": run_id, **data}, id=id, source=SOURCE, at=at, workspace=workspace
    )
    return to_partition(partition, event)


def by_hand(outgoing: Outgoing) -> Outgoing:
    """A message to a partition, straight onto its queue, by a person who vouches for it."""
    return replace(outgoing, exchange=DIRECT, routing_key=partition_queue(int(outgoing.routing_key)).name)


def correlated(
    event: Event, workspace: str, run_id: str, partition: int, at: float, type: str, data: Any
) -> Outgoing:
    """An event of the choreographed half, for the run that it is correlated to, read as ``type``."""
    body = {"run_id": run_id, "type": type, "data": data}
    forward = Event.create(
        _EVENT,
        body,
        id=correlated_id(event.source, event.id, run_id, type if type != event.type else None),
        source=SOURCE,
        at=at,
        workspace=workspace,
        correlation=event.correlation,
        causation=event.id,
    )
    return to_partition(partition, forward)


def read(event: Event, partition: int) -> list[tuple[str, Happening]]:
    """Which run a partition's message is about, and what happened; several only of starts.

    Raises MalformedMessage.
    """
    data = event.data
    check_message(event.type, data)
    try:
        if event.type == STARTS:
            return [(asked.run_id, asked) for asked in read_starts(event, partition)]
        if event.type == _REPLY:
            return [(event.extensions["runid"], _read_reply(event, data))]
        return [(data["run_id"], _read(event, data, partition))]
    except (KeyError, ValueError) as error:
        raise MalformedMessage(
            f"{event.type} {event.id}: not as a partition's message must be: {type(error).__name__} {error}"
        ) from error


def _read(event: Event, data: dict[str, Any], partition: int) -> Happening:
    verb = event.type.removeprefix("antiphon.").removesuffix(".v1")
    match verb:
        case "start":
            return read_start(event, partition)
        case "event":
            return EventArrived(event.id, data["type"], data["data"])
        case "signal":
            return SignalArrived(event.id, data["name"], data["data"], data["actor"])
        case "retry":
            return RetryRequested(
                event.id, data["reason"], data["actor"], data.get("from_node"), data.get("rerun")
            )
        case "child":
            return ChildEnded(
                event.id, data["node"], data["child"], data["status"], data["result"], data["error"]
            )
        case "cancel":
            asked_at = datetime.fromisoformat(event.time).timestamp() if event.time else 0.0
            return CancelRequested(event.id, data["reason"], data["actor"], data.get("parent"), asked_at)
        case "pause":
            return PauseRequested(event.id, data["reason"], data["actor"])
        case "migrate":
            return MigrationRequested(
                event.id, data["to"], data["renames"], tuple(data["without"]), data["reason"], data["actor"]
            )
        case "resume":
            return ResumeRequested(event.id, data["reason"], data["actor"])
        case _:
            raise MalformedMessage(f"a partition takes no {event.type!r}")


def _read_reply(event: Event, data: dict[str, Any]) -> Happening:
    node, attempt = event.extensions["node"], int(event.extensions["attempt"])
    back = (event.causation or "").endswith(_BACK)
    if data["outcome"] == "done":
        return StepFinished(node, attempt, data["result"], back=back, by=event.source)
    return StepFailed(
        node,
        attempt,
        str(data["error"]["code"])[: Terminal.LONGEST_CODE] or "error",
        str(data["error"]["message"]),
        definite=data["outcome"] == "refused",
        retry_after=None if data.get("retry_after") is None else float(data["retry_after"]),
        back=back,
        by=event.source,
    )


# --- from a partition -------------------------------------------------------------------------


def command(run: Run, effect: SendCommand, at: float) -> Outgoing:
    """A command to a service. One that undoes another says which, so that it is not done afterwards.

    One that somebody let go on says so, for the service knows its refusal by the command's id.
    """
    let_on = run.let_on.get(effect.node)
    again = {"redrive": str(let_on)} if let_on else {}
    undone = {"undoes": command_id(run.id, effect.node), "undoestype": effect.undoes} if effect.undoes else {}
    event = _of_run(
        run,
        effect.type,
        effect.data,
        id=command_id(run.id, effect.node, back=effect.back),
        at=at,
        extensions={
            "runid": run.id,
            "node": effect.node,
            "attempt": str(effect.attempt),
            "replyto": str(run.partition),
            **undone,
            **again,
        },
    )
    return Outgoing(message_of(event), routing_key=effect.service, exchange=COMMANDS)


def published(run: Run, effect: PublishEvent, at: float) -> Event:
    """An emitted event."""
    return _of_run(run, effect.type, effect.data, id=effect.event_id, at=at, subject=effect.subject)


def child_ended(run: Run, effect: AnswerParent, at: float, *, asked: str = "") -> Outgoing:
    """What a parent is told when its child has ended; ``asked`` tells a repeated answer from the first."""
    parent, node = effect.parent["run_id"], effect.parent["node"]
    data = {
        "run_id": parent,
        "node": node,
        "child": effect.parent.get("child", run.id),
        "status": effect.status,
        "result": effect.result,
        "error": effect.error,
    }
    event = _of_run(run, _CHILD, data, id=derive_id("child", run.id, parent, node, asked), at=at)
    return to_partition(effect.parent["partition"], event)


def child_cancelled(run: Run, effect: CancelRun, partition: int, at: float) -> Outgoing:
    """A parent's word that a child is not needed any more."""
    data = {"run_id": effect.run_id, "reason": effect.reason, "actor": event_source(run), "parent": run.id}
    event = _of_run(run, _CANCEL, data, id=derive_id("cancel", run.id, effect.node, effect.run_id), at=at)
    return to_partition(partition, event)


def forwarded(run: Run, effect: ForwardEvent, partition: int, at: float) -> Outgoing:
    """An event for an ended run, on its way to the run made from it."""
    data = {"run_id": effect.run_id, "type": effect.type, "data": effect.data}
    event = _of_run(run, _EVENT, data, id=derive_id("forward", effect.message_id, effect.run_id), at=at)
    return to_partition(partition, event)


def _of_run(
    run: Run,
    type: str,
    data: Any,
    *,
    id: str,
    at: float,
    subject: str | None = None,
    extensions: dict[str, str] | None = None,
) -> Event:
    more = dict(extensions or {})
    if run.traceparent:
        more["traceparent"] = run.traceparent
    return Event.create(
        type,
        data,
        id=id,
        source=event_source(run),
        at=at,
        workspace=run.workspace,
        correlation=run.correlation,
        causation=run.id,
        subject=subject,
        extensions=more,
    )
