"""The error tree: every error that Antiphon raises on purpose.

AntiphonError
├── Retryable               try again later; ``retry_after`` seconds where the other side said so
├── Terminal                trying again can't help; a definite "no" with a code
├── ConfigurationError      a setting, a flow or an app is wrong; nothing was started
│   └── InvalidFlow
├── ContractError
│   ├── UnknownContract     no such type in the registry
│   ├── ContractViolation   the data does not fit; carries every ``Violation``
│   ├── MalformedMessage    the bytes or headers are no CloudEvent
│   └── ForgedMessage       nobody who may say this has signed it as it stands; ``code`` says why
├── BusError
│   ├── Unroutable          the broker had no queue for it (``mandatory``)
│   ├── NotPermitted        the broker's user may not do that; trying again can't help
│   ├── PublishFailed       some messages of a batch were not confirmed
│   └── BusUnavailable      no confirm in time: closed, blocked or gone
│       └── PublishRefused  not of this message: a queue for it is full
│           └── TooLarge    it is larger than the broker takes; trying again can't help
├── StoreError
│   ├── StoreUnavailable    the database did not answer; the commit's fate may be unknown
│   ├── LiveUnavailable     the live store (Redis) did not answer; nothing that lasts is lost
│   ├── ArchiveFailed       the archive's folder could not be written; nothing was purged
│   ├── FeedTrimmed         what followed that place in a live feed is no longer kept
│   └── Fenced              the partition has a newer owner; this one must stop
├── DeadLetterError
│   ├── LetterNotFound      no such dead letter in this workspace
│   └── LetterSettled       it was redriven or discarded before
├── QuarantineError
│   ├── NotQuarantined      no such message in quarantine
│   └── QuarantineSettled   it was released or discarded before
└── RunError
    ├── UnknownFlow         no such flow, or no such node of it, in this app
    ├── RunNotFound
    ├── StartConflict       the same key with another input
    ├── NotMigratable       the run can't go on as that version says; carries every reason
    └── RunEnded            the run can't take this any more
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AntiphonError",
    "ArchiveFailed",
    "BusError",
    "BusUnavailable",
    "ConfigurationError",
    "ContractError",
    "ContractViolation",
    "DeadLetterError",
    "FeedTrimmed",
    "Fenced",
    "ForgedMessage",
    "InvalidFlow",
    "LetterNotFound",
    "LetterSettled",
    "LiveUnavailable",
    "MalformedMessage",
    "NotMigratable",
    "NotPermitted",
    "NotQuarantined",
    "PublishFailed",
    "PublishRefused",
    "QuarantineError",
    "QuarantineSettled",
    "Retryable",
    "RunEnded",
    "RunError",
    "RunNotFound",
    "StartConflict",
    "StoreError",
    "StoreUnavailable",
    "Terminal",
    "TooLarge",
    "UnknownContract",
    "UnknownFlow",
    "Unroutable",
    "Violation",
]


class AntiphonError(Exception):
    """Base of everything that Antiphon raises on purpose."""


class Retryable(AntiphonError):
    """Raised when trying again later may help.

    ``retry_after`` is in seconds; a reactor is tried again after 30 days at the latest. Text that says so
    many (a header, passed on as it came) is read; any other, as a date, says nothing.
    """

    def __init__(self, message: str, *, retry_after: float | str | None = None) -> None:
        super().__init__(message)
        try:
            after = None if retry_after is None else float(retry_after)
        except ValueError:
            after = None
        self.retry_after = None if after is None or math.isnan(after) else after


class Terminal(AntiphonError):
    """Raised when trying again can't help. ``code`` is short and stable, for machines.

    A code has 1 to 100 characters, so that a contract can say what an error's code is: what is longer is
    cut, and an empty one is ``terminal``.
    """

    LONGEST_CODE: ClassVar[int] = 100

    def __init__(self, message: str, *, code: str = "terminal") -> None:
        super().__init__(message)
        self.code = code[: self.LONGEST_CODE] or "terminal"


class ConfigurationError(AntiphonError):
    """Raised when a setting, a contract file or an app is wrong, before anything is started."""


class InvalidFlow(ConfigurationError):
    """Raised when a flow's definition can't run as written."""


class ContractError(AntiphonError):
    """Base of what goes wrong at the boundary."""


class UnknownContract(ContractError):
    """Raised when the registry has no contract of that type."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where data does not fit its contract.

    ``pointer`` is a JSON Pointer (RFC 6901) into the data, ``expected`` says what the contract
    wants there in words, ``got`` is the offending value, shortened to at most 80 characters.
    """

    pointer: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"at {self.pointer or '/'}: expected {self.expected}, got {self.got}"


class ContractViolation(ContractError):
    """Raised when data does not fit its contract; ``violations`` is never empty."""

    def __init__(self, contract: str, violations: Sequence[Violation]) -> None:
        self.contract = contract
        self.violations = tuple(violations)
        shown = "; ".join(str(violation) for violation in self.violations[:5])
        super().__init__(f"does not fit {contract}: {shown}")

    def __reduce__(self) -> tuple[type[ContractViolation], tuple[str, Sequence[Violation]]]:
        return type(self), (self.contract, self.violations)


class MalformedMessage(ContractError):
    """Raised when bytes or headers can't be read as a CloudEvent."""


class ForgedMessage(ContractError):
    """Raised when a message's signature does not hold, or its signer may not say this here.

    ``code`` is short and stable: unsigned, unknown-key, revoked-key, expired-key, bad-signature,
    wrong-source, wrong-type, wrong-routing or stale.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ForgedMessage], tuple[str, str]]:
        return type(self), (self.code, str(self))


class BusError(AntiphonError):
    """Base of what goes wrong on the bus."""


class Unroutable(BusError):
    """Raised when a mandatory message reached no queue."""


class NotPermitted(BusError):
    """Raised when the broker refuses something to the user that this process has logged in as."""


class BusUnavailable(BusError):
    """Raised when the broker gave no confirm in time: the connection is closed, blocked or gone."""


class PublishRefused(BusUnavailable):
    """Raised when the broker takes others and refuses this message: a queue is full, or see TooLarge."""


class TooLarge(PublishRefused):
    """Raised when a message is larger than the broker takes (``max_message_size``)."""


class PublishFailed(BusError):
    """Raised when some of a batch were not confirmed: ``errors`` maps their index to the reason.

    What is not in ``errors`` was confirmed.
    """

    def __init__(self, errors: Mapping[int, BusError]) -> None:
        self.errors = dict(errors)
        index, first = next(iter(self.errors.items()))
        super().__init__(f"{len(self.errors)} not confirmed; the first is number {index}: {first}")

    def __reduce__(self) -> tuple[type[PublishFailed], tuple[Mapping[int, BusError]]]:
        return type(self), (self.errors,)


class StoreError(AntiphonError):
    """Base of what goes wrong in the store."""


class StoreUnavailable(StoreError):
    """Raised when the database did not answer. Whether a commit took effect may be unknown."""


class LiveUnavailable(StoreError):
    """Raised when the live store did not answer. What it held may be gone, and can be rebuilt."""


class ArchiveFailed(StoreError):
    """The archive's folder could not be written, so that nothing was purged."""


class FeedTrimmed(StoreError):
    """Raised when a place in a live feed is no longer kept: whoever stood there must read afresh."""


class Fenced(StoreError):
    """Raised when a commit carries an epoch that is no longer the partition's newest."""


class DeadLetterError(AntiphonError):
    """Base of what goes wrong with one dead letter."""


class LetterNotFound(DeadLetterError):
    """Raised when there is no such dead letter in this workspace."""


class LetterSettled(DeadLetterError):
    """Raised when a dead letter was redriven or discarded before, and can't be again."""


class QuarantineError(AntiphonError):
    """Base of what goes wrong with one message in quarantine."""


class NotQuarantined(QuarantineError):
    """Raised when there is no such message in quarantine, or it is another workspace's."""


class QuarantineSettled(QuarantineError):
    """Raised when a message in quarantine was released or discarded before."""


class RunError(AntiphonError):
    """Base of what goes wrong with one run."""


class UnknownFlow(RunError):
    """Raised when this app has no flow, or the flow no node, of that name."""


class RunNotFound(RunError):
    """Raised when there is no such run in this workspace."""


class StartConflict(RunError):
    """Raised when a start names a key that a run with another input already has."""


class NotMigratable(RunError):
    """Raised when a run can't be moved to another version of its flow; ``reasons`` say why."""

    def __init__(self, run_id: str, reasons: Sequence[str]) -> None:
        super().__init__(f"run {run_id} can't be moved: {'; '.join(reasons)}")
        self.reasons = list(reasons)


class RunEnded(RunError):
    """Raised when a run has ended and can't take what was asked."""
