"""How a service handles a command."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from pydantic import BaseModel

from bus.port import Delivery, Message, Outgoing
from bus.routing import LONGEST_NAME
from contracts.crash import reached
from contracts.envelope import Event, derive_id
from contracts.errors import BusError, ContractError, PublishFailed, TooLarge, Unroutable
from reactors.attempt import attempt
from reactors.claims import Claim, Claimed, Settled, Undone
from reactors.desk import Desk, Means, number_in
from reactors.failure import Failure
from reactors.intake import Refused
from reactors.letter import Letter
from reactors.patience import patiently
from reactors.reply import REDRIVE, Reply
from reactors.service import CommandContext, CommandHandler, Service
from reactors.settlements import Settlement
from reactors.tombstones import undone_by, unfit

__all__ = ["ServiceDesk"]

_MOST_DIGITS = 9  # of an attempt's number


class ServiceDesk(Desk):
    """Does each command once it is claimed, keeps what is definite, and answers.

    The reply is kept before it is sent: when this process dies in between, the command comes again and
    is answered from the inbox.
    """

    def __init__(self, service: Service, means: Means) -> None:
        self._handlers = service.handlers
        super().__init__(f"service.{service.name}", service.queue().name, self._handlers, means)
        self._service = service

    def object_to(self, event: Event) -> Refused | None:
        objection = _unanswerable(event) or unfit(event)
        return Refused("malformed", objection, event) if objection else None

    def undoes(self, event: Event) -> Undone | None:
        return undone_by(event, self.name)

    def redrive(self, letter: Letter) -> int:
        return max(super().redrive(letter), number_in(letter.event.extensions.get(REDRIVE)))

    async def attempt(self, claim: Claim, claimed: Claimed) -> None:
        event = claim.letter.event
        handler = self._handlers[event.type]
        outcome = await attempt(
            self._call(handler, event), timeout=handler.timeout, name=f"service {self._service.name}"
        )
        reply = self._reply(handler, outcome)
        if isinstance(reply, Failure):
            settlement = Settlement(claim.key, claimed, claim.letter, "retrying", failure=reply)
            reply = Reply.failed(reply)
        else:
            settlement = Settlement(claim.key, claimed, claim.letter, "done", reply=reply.as_text())
        reached("reactors.answering.settle.before")
        kept = await self.settle(settlement)
        reached("reactors.answering.settle.after")
        if not kept:
            return  # whoever has the claim now answers
        problem = reply.error["message"][:400] if reply.error else None
        self.tell(event, settlement.status, attempt=_attempt(event), error=problem)
        await self._answer(event, reply, claim.letter.message)

    async def settled_before(self, claim: Claim, settled: Settled) -> None:
        if settled.reply is not None:
            reply = Reply.from_text(settled.reply)
        else:
            text = f"the command is {settled.status} at the service {self._service.name}: see its dead letter"
            reply = Reply("failed", error={"code": settled.status, "message": text})
        await self._answer(claim.letter.event, reply, claim.letter.message)

    async def refuse(self, delivery: Delivery, refused: Refused) -> None:
        await super().refuse(delivery, refused)
        # Whoever waits for the answer learns at once that none will come.
        if refused.event is not None and _unanswerable(refused.event) is None:
            reply = Reply.refused(refused.reason, refused.detail)
            await self._answer(refused.event, reply, delivery.message)

    async def _call(self, handler: CommandHandler, event: Event) -> Any:
        context = CommandContext(
            event=event,
            attempt=_attempt(event),
            key=derive_id(self.name, event.source, event.id),
            workspace=event.workspace,
            correlation=event.correlation,
            run_id=event.extensions.get("runid", ""),
            node=event.extensions.get("node", ""),
            service=self._service.name,
        )
        structlog.contextvars.bind_contextvars(
            workspace=context.workspace,
            correlation=context.correlation,
            service=context.service,
            run=context.run_id,
            node=context.node,
            attempt=context.attempt,
        )
        reached("reactors.answering.handle.before")
        result = await handler.handler(event, context)
        reached("reactors.answering.handle.after")
        return result

    def _reply(self, handler: CommandHandler, outcome: Any) -> Reply | Failure:
        """What to answer and keep, or the failure, which is answered and not kept."""
        if isinstance(outcome, Failure):
            self.log.warning(
                "command not done", type=handler.type, error=f"{outcome.type}: {outcome.message}"
            )
            # A definite no is said with Terminal; a bug of the handler leaves open what was done.
            return Reply.refused(outcome.code, outcome.message) if outcome.refusal else outcome
        result = outcome.model_dump(mode="json") if isinstance(outcome, BaseModel) else outcome
        reply = Reply("done", result=result)
        try:
            reply.as_text()
            if handler.reply is not None:
                self.means.registry.validate(handler.reply, result)
        except (ContractError, TypeError) as error:
            # The work is done, only its result can't be told: no refusal, for that would mean "not done".
            self.log.error(
                "result off its contract", type=handler.type, reply=handler.reply, error=str(error)
            )
            return Failure.of(error)
        return reply

    async def _answer(self, event: Event, reply: Reply, command: Message) -> None:
        """Send the reply; returns when it is confirmed, or nobody is there to take it."""
        out = reply.to(event, service=self._service.name, at=self.means.clock())
        send = partial(self._send, out)
        try:
            sent = await patiently(send, BusError, what="reply", rng=self.means.rng, unless=(TooLarge,))
        except TooLarge as error:
            # Never to be had by waiting. As where it is off its contract: the work is done all the same.
            self.log.error("reply too large for the broker", type=event.type, error=str(error))
            await self._answer(event, _too_large(len(out.message.body)), command)
            return
        if not sent:
            # Kept, not lost: the command is answered from the inbox when it is sent again.
            nobody = Refused("unanswerable", f"no queue takes replies to {out.routing_key!r}", event)
            await self.quarantine(command, nobody)

    async def _send(self, out: Outgoing) -> bool:
        """False when it reached no queue. Raises TooLarge, and BusError when it was not confirmed."""
        try:
            reached("reactors.answering.reply.before")
            await self.means.bus.publish(out)
            reached("reactors.answering.reply.after")
        except PublishFailed as failed:
            why = failed.errors.get(0)
            if isinstance(why, Unroutable):
                return False
            if isinstance(why, TooLarge):
                raise why from failed
            raise
        return True


def _unanswerable(event: Event) -> str | None:
    """Why no reply could say what the command is answered for, or reach anybody; None when one can."""
    replyto = event.extensions.get("replyto")
    if not replyto:
        return "a command must say in the extension 'replyto' where to answer"
    if not replyto.isprintable() or len(replyto.encode()) > LONGEST_NAME:
        return f"attribute 'replyto' is no text of 1 to {LONGEST_NAME} bytes that can be printed"
    if len(event.extensions.get("attempt", "")) > _MOST_DIGITS:
        return f"attribute 'attempt' is no number of at most {_MOST_DIGITS} digits"
    return None


def _too_large(size: int) -> Reply:
    """What is answered instead of a reply of so many bytes."""
    text = f"the reply has {size} bytes, more than the broker takes: return where the data is, not the data"
    return Reply("failed", error={"code": "result_too_large", "message": text})


def _attempt(event: Event) -> int:
    """The orchestrator's count of attempts; 1 where it says nothing legible."""
    text = event.extensions.get("attempt", "")
    return int(text) if text.isascii() and text.isdigit() else 1
