"""What happens to a run in the place of something that can't be taken, so that nothing is lost in silence."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.happenings import Happening, NotTaken, StepFailed, StepFinished, TimerFired

__all__ = ["instead_of"]

_NOT_KEPT = ("result_not_kept", "failure_not_kept")
_MOST = 500


def instead_of(happening: Happening | None, error: Exception) -> Happening | None:
    """The next best thing after ``happening`` raised ``error`` all by itself; None when nothing is left.

    A result that can't be kept fails its step; a failure that can't be kept is one that says why; and
    all else stops the run with an incident. Each is plainer than the one before, so that this ends.
    """
    # What could not be kept may be text that no store takes, and the error may quote it.
    reason = f"{type(error).__name__}: {error}".replace("\x00", "\\x00")
    reason = reason.encode("ascii", "backslashreplace").decode()[:_MOST]
    match happening:
        case StepFinished(node=node, attempt=attempt, dispatch=dispatch, back=back):
            code = "result_not_kept"
            return StepFailed(node, attempt, code, reason, definite=False, dispatch=dispatch, back=back)
        case StepFailed(code=code) if code not in _NOT_KEPT:
            return replace(happening, code="failure_not_kept", message=reason)
        case StepFailed(node=node) | TimerFired(name=node):
            return NotTaken(node, reason)
        case NotTaken() | None:
            return None
        case _:
            return NotTaken(None, reason)
