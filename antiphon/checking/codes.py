"""What can be found, by name: how bad it is, what it means, what to do. docs/checking.md says more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CODES", "Code", "Level"]

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding. ``advice`` is what to do where the finding itself does not know better."""

    level: Level
    meaning: str
    advice: str


def _error(meaning: str, advice: str) -> Code:
    return Code("error", meaning, advice)


def _warning(meaning: str, advice: str) -> Code:
    return Code("warning", meaning, advice)


def _info(meaning: str, advice: str) -> Code:
    return Code("info", meaning, advice)


# The names are stable: people filter by them.
CODES: dict[str, Code] = {
    # Contracts
    "no-contract": _error("a message has no contract", "add its file to the contracts"),
    "contract-broken": _error(
        "a released contract was changed so that it breaks those who read or write it",
        "undo the edit, or make it a new major",
    ),
    "contract-removed": _error("a released contract's file is gone", "restore it from git"),
    "contract-unreleased": _warning(
        "a released contract was changed compatibly, and the change is not released",
        "release it: antiphon contracts lock --folder FOLDER",
    ),
    "unused-contract": _info("nothing in this app uses a contract", "remove its file if nobody else does"),
    # Data
    "data-mismatch": _error(
        "data may be off the contract of the message that it goes into",
        "change the mapping, or make the contract that the data comes from as narrow as the one it goes to",
    ),
    "missing-data": _error(
        "a path may lead nowhere", "make the property required where it comes from, or don't read it"
    ),
    "may-not-have-run": _warning(
        "a path reads the result of a node that may not have run",
        "read it where the node has surely run, or read something else",
    ),
    "unchecked-data": _warning(
        "it can't be proved that data fits its contract",
        "give the step result= (a contract or a pydantic model), or simplify the contract",
    ),
    "key-unfit": _error(
        "a flow's input may come without a key",
        "make the key's field required in the contract, and a string or an integer",
    ),
    "wait-key-unfit": _error(
        "an awaited event may come without the key of its run",
        "make the field that by= names required in the contract, and a string or an integer",
    ),
    # Who answers whom
    "nobody-emits": _warning(
        "something listens for an event that nothing here emits",
        "emit it, correct the type, or declare that it comes from outside: App(external=[…])",
    ),
    "nobody-reacts": _info(
        "nothing here listens for an emitted event", "nothing, if it is meant for others; App(external=[…])"
    ),
    "unreadable": _error(
        "a handler's model can't read all that the contract allows",
        "make the model as wide as the contract, or the contract as narrow as the model",
    ),
    "unchecked-reader": _warning(
        "it can't be proved that a handler's model reads all that the contract allows",
        "simplify the model or the contract",
    ),
    "undeclared-emit": _warning(
        "a reactor emits events and does not say which, so that nobody sees where they lead",
        "declare them: @reacts_to(…, emits=[…])",
    ),
    "forbidden-emit": _error(
        "a reactor emits an event that is not among those that it declares, which ctx.emit refuses",
        "add it to emits=[…]",
    ),
    "event-cycle": _error(
        "events lead back to the reactor that they came from, without an end",
        "break the circle, or say why it ends: @reacts_to(…, ends='…')",
    ),
    "waits-for-itself": _error(
        "a flow waits for an event that only comes once it has gone on",
        "emit the event before the wait, or from somewhere else",
    ),
    # Services
    "unknown-service": _warning(
        "a step asks a service that this app does not have",
        "add the service, correct its name, or declare the command as going outside: App(external=[…])",
    ),
    "unhandled-command": _error(
        "a service does not handle a command that it is sent", "add @service.handles(…), or correct the type"
    ),
    "unasked-command": _info("no flow sends a command that a service handles", "remove the handler"),
    "reply-mismatch": _error(
        "what a service answers may be off the contract of the step's result",
        "name the same contract in both places, or make the reply's contract the narrower one",
    ),
    "unchecked-reply": _warning(
        "it can't be proved that what a service answers fits the step's result",
        "declare reply= at the handler",
    ),
    "service-outlives-step": _warning(
        "a service may still be at work when the step has given up on the attempt",
        "make the handler's timeout= the shorter one",
    ),
    # The flow itself
    "no-compensation": _warning(
        "a step before the pivot can't be undone",
        "give it compensate=, or compensate='nothing' when it changes nothing",
    ),
    "no-pivot": _warning(
        "an event can't be taken back, and a later step can still fail",
        "declare the step after which the run only goes forward (pivot=True), emit later, or tell of the "
        "failure in on_failure",
    ),
    "timeout-past-deadline": _warning(
        "one attempt may take longer than all of them together",
        "make timeout= shorter than deadline=",
    ),
    "retries-past-deadline": _warning(
        "the last attempts can never be made: the pauses alone take longer than the deadline",
        "allow fewer attempts, shorter pauses, or a later deadline",
    ),
    "no-timeout": _warning(
        "a wait may never end, and so may its run", "give it timeout=, even if it is a year"
    ),
    "unreachable": _warning("a choice always goes the same way", "correct the condition, or remove the rest"),
    "unknown-flow": _error("a flow calls one that is not there", "add the flow, or correct its name"),
    "call-cycle": _error("flows call each other in a circle, without an end", "break the circle"),
    "two-versions": _info(
        "a flow has several versions; each stays for as long as runs have it",
        "remove the older ones once no run has them",
    ),
    "same-version": _warning(
        "two versions of a flow say the same", "remove one of them; a version is made by a change"
    ),
}
