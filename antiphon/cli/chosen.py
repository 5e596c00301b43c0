"""Which app a command is about."""

from __future__ import annotations

from antiphon.settings import Settings
from contracts.errors import ConfigurationError

__all__ = ["chosen_app"]


def chosen_app(settings: Settings, command: str) -> str:
    """``module:attribute``. Raises ConfigurationError when neither the line nor a setting says it."""
    if settings.app is None:
        raise ConfigurationError(f"no app: write 'antiphon {command} module:attribute', or set ANTIPHON_APP")
    return settings.app
