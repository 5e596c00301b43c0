"""The real validator of a schema, whatever its draft: what it says of a counterexample is what counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from contracts.compatibility.node import NotUnderstood
from contracts.subschemas import pointer

__all__ = ["Validator"]

_CLASSES: dict[str, Any] = {
    "4": jsonschema_rs.Draft4Validator,
    "6": jsonschema_rs.Draft6Validator,
    "7": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}
_NUMBERS = {
    "4": jsonschema_rs.Draft4,
    "6": jsonschema_rs.Draft6,
    "7": jsonschema_rs.Draft7,
    "2019-09": jsonschema_rs.Draft201909,
    "2020-12": jsonschema_rs.Draft202012,
}
_PATTERNS = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=10_000, size_limit=1_000_000, dfa_size_limit=1_000_000
)


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not here, and nothing is fetched")


class Validator:
    """jsonschema-rs with formats asserted. Raises NotUnderstood for what is no schema of its draft."""

    def __init__(self, schema: Any, draft: str, resources: Mapping[str, Any]) -> None:
        try:
            known = jsonschema_rs.Registry(list(resources.items()), draft=_NUMBERS[draft], retriever=_refuse)
            self._validator = _CLASSES[draft](
                schema,
                registry=known if resources else None,
                validate_formats=True,
                pattern_options=_PATTERNS,
                offline=True,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            place = pointer(*getattr(error, "instance_path", ())) or "/"
            message = getattr(error, "message", str(error))
            raise NotUnderstood(f"no valid schema of draft {draft}: at {place}: {message[:200]}") from error

    def accepts(self, value: Any) -> bool:
        """Whether the value is valid."""
        try:
            return bool(self._validator.is_valid(value))
        except ValueError:
            return False

    def refusal(self, value: Any) -> tuple[str, str] | None:
        """Where and why the value is refused; None when it is accepted."""
        try:
            error = next(iter(self._validator.iter_errors(value)), None)
        except ValueError:
            return None
        if error is None:
            return None
        return pointer(*error.instance_path), str(error.message)[:300]
