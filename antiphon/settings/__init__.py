"""The settings of every role, and the page that documents them."""

from __future__ import annotations

from antiphon.settings.document import as_markdown
from antiphon.settings.model import Settings
from antiphon.settings.words import variable, without_password

__all__ = ["Settings", "as_markdown", "variable", "without_password"]
