"""``docs/settings.md``, written from the model so that neither can say what the other does not."""

from __future__ import annotations

from pydantic_core import PydanticUndefined

from antiphon.settings.model import Settings
from antiphon.settings.words import variable

__all__ = ["as_markdown"]

HEAD = """\
# Settings

Every process of Antiphon reads the same settings, from environment variables. A command's option wins over
its variable. An `ANTIPHON_*` variable that is not in this table is refused at the start, so that a slip of
the pen is seen (`ANTIPHON_TEST_*` belongs to the tests). An empty variable counts as unset.

This page is written by `python -m antiphon.settings > docs/settings.md`.

| variable | unless set | what it is |
|---|---|---|
"""


def as_markdown() -> str:
    """The whole page. Raises ValueError for a setting without a description."""
    rows = []
    for name, field in Settings.model_fields.items():
        if not field.description:
            raise ValueError(f"the setting {name} has no description")
        nothing = field.default in (None, "") or field.default is PydanticUndefined
        default = "" if nothing else f"`{field.default}`"
        rows.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return HEAD + "\n".join(rows) + "\n"
