"""Why an attempt failed, and whether trying again can help."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass

from contracts.errors import ConfigurationError, ContractError, Retryable, Terminal
from reactors.text import storable

__all__ = ["MOST_TEXT", "Failure"]

MOST_TEXT = 4_000  # characters of a message that are kept
MOST_TRACEBACK = 16_000  # of a traceback: its end, where the error is
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    ``terminal``: no retry; ``refusal``: the handler itself said so, knowing that nothing was done;
    ``retry_after``: seconds asked for, if any were.
    """

    type: str
    message: str
    code: str
    terminal: bool
    refusal: bool = False
    retry_after: float | None = None
    traceback: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says. What can't change by itself is terminal, all else is worth a retry."""
        text = storable("".join(traceback.format_exception(error))[-MOST_TRACEBACK:], MOST_TRACEBACK)
        message = storable(str(error), MOST_TEXT) or type(error).__name__
        kind = type(error).__name__
        match error:
            case Terminal():
                return cls(kind, message, error.code, terminal=True, refusal=True, traceback=text)
            case Retryable():
                after = error.retry_after
                return cls(kind, message, "retryable", terminal=False, retry_after=after, traceback=text)
            case ContractError() | ConfigurationError():
                # The handler's own data or declaration is wrong; it would be wrong again.
                return cls(kind, message, "contract", terminal=True, traceback=text)
            case _:
                return cls(kind, message, "error", terminal=False, traceback=text)

    @classmethod
    def timed_out(cls, seconds: float) -> Failure:
        """The handler was still at work when its time was up."""
        return cls(
            "TimedOut", f"the handler was still at work after {seconds:g} s", "timeout", terminal=False
        )

    @classmethod
    def crashed(cls, times: int) -> Failure:
        """Its worker ended in the middle of it, too often to be an accident."""
        return cls("WorkerCrashed", f"crashed its worker {times} times", "crashed", terminal=True)

    def group_key(self, reactor: str) -> str:
        """The same for all failures of a kind: reactor, error and message without what varies in it."""
        first_line = self.message.partition("\n")[0]
        return f"{reactor}: {self.type}: {_VARYING.sub('#', first_line)[:160]}"
