"""Keys on disk: the folder that every process reads, what its keys may do, and how they are made."""

from __future__ import annotations

from antiphon.keys.folder import KeyFolder
from antiphon.keys.making import KeyMaker
from antiphon.keys.profiles import DEVELOPMENT, OPERATOR, ROLES, role_of

__all__ = ["DEVELOPMENT", "OPERATOR", "ROLES", "KeyFolder", "KeyMaker", "role_of"]
