"""The one error of the development services."""

from __future__ import annotations

from contracts.errors import AntiphonError

__all__ = ["ServiceUnavailable"]


class ServiceUnavailable(AntiphonError):
    """Raised when a real service can't be had, or can't do what was asked; says why and what to do."""
