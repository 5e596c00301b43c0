"""Within a major, a revision may only be compatible: the rule, and the verdict on a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.compatibility import Comparison, Direction, Mode, Report, compare
from contracts.forms import reader_form, writer_form

__all__ = ["compare_revisions"]


def compare_revisions(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    resources: Mapping[str, Any] | None = None,
    strict: bool = False,
    **options: Any,
) -> Report:
    """Whether the new revision's writers are read by the old readers, and the old writers by the new readers.

    Writers are taken in their closed form and readers in their open one (``forms``), or with ``strict``
    both as they are written. ``resources`` are the other contracts by ``$id``; ``options`` are those of
    ``compare``.
    """
    others = {
        uri: one for uri, one in (resources or {}).items() if uri not in (old.get("$id"), new.get("$id"))
    }

    # Both revisions as well, for what they add to what they refer to; a fragment tells them apart.
    around = {**others, f"{old.get('$id', '')}#old": old, f"{new.get('$id', '')}#new": new}

    def write(schema: Mapping[str, Any], uri: str | None = None) -> dict[str, Any]:
        return dict(schema) if strict else writer_form(schema, around, uri=uri)

    read = dict if strict else reader_form
    written = {uri: write(one, uri) for uri, one in others.items()}
    reading = {uri: read(one) for uri, one in others.items()}
    known = {"writer_resources": written, "reader_resources": reading, **options}
    return Report(
        Mode.FULL,
        (
            Comparison(0, Direction.BACKWARD, compare(write(old), read(new), **known)),
            Comparison(0, Direction.FORWARD, compare(write(new), read(old), **known)),
        ),
    )
