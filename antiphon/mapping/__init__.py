"""``antiphon map``: the whole system drawn, from the app alone."""

from antiphon.mapping.asyncapi import asyncapi
from antiphon.mapping.mermaid import mermaid
from antiphon.mapping.system_map import system_map
from antiphon.mapping.text import text

__all__ = ["asyncapi", "mermaid", "system_map", "text"]
