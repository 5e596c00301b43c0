"""A plan as a shell command, for a broker whose management API can't be reached from here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["script"]


def script(definitions: Mapping[str, Any]) -> str:
    """``rabbitmqctl`` with the definitions as its input; again changes nothing.

    Passwords are in it as salted hashes only, and in no process's arguments.
    """
    document = orjson.dumps(definitions, option=orjson.OPT_INDENT_2).decode()
    return f"printf '%s' {shlex.quote(document)} | rabbitmqctl import_definitions --format json\n"
