"""From an older major to a newer: functions that carry data over, one major at a time.

A break is a new major; where messages of the old one are still about, an upcaster lets its readers go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import ConfigurationError, UnknownContract

__all__ = ["Check", "Upcast", "Upcasters"]

Upcast = Callable[[Any], Any]
Check = Callable[[str, Any], None]
"""Raises UnknownContract, or ContractViolation for what can't be read so: ``Registry.validate_read``."""


@dataclass(slots=True)
class Upcasters:
    """Upcasters by the type that they start from. Each is pure: the same data gives the same."""

    _steps: dict[str, tuple[str, Upcast]] = field(default_factory=dict)

    def add(self, source: str, target: str, function: Upcast) -> None:
        """Carries ``source`` over to ``target``.

        Raises ConfigurationError when ``source`` has one already, or the way would lead back.
        """
        if source in self._steps:
            there = self._steps[source][0]
            raise ConfigurationError(
                f"{source} is upcast to {there} already; remove one of the two upcasters"
            )
        if source == target or source in self.way(target):
            raise ConfigurationError(
                f"upcasting {source} to {target} leads back to where it began; remove it"
            )
        self._steps[source] = (target, function)

    def upcasts(self, source: str, target: str) -> Callable[[Upcast], Upcast]:
        """The same as a decorator of the function."""

        def added(function: Upcast) -> Upcast:
            self.add(source, target, function)
            return function

        return added

    def way(self, source: str) -> list[str]:
        """The types that data of a type can be carried over to, nearest first."""
        found: list[str] = []
        while source in self._steps:
            source = self._steps[source][0]
            found.append(source)
        return found

    def leading_to(self, targets: Collection[str]) -> list[str]:
        """The types whose data can be carried over to one of these, and that are not among them."""
        wanted = set(targets)
        return [source for source in self._steps if source not in wanted and wanted & set(self.way(source))]

    def nearest(self, source: str, targets: Collection[str]) -> str | None:
        """The one of these types as which data is read: its own, else the first on its way; None if none."""
        return next((type for type in (source, *self.way(source)) if type in targets), None)

    def upcast(self, type: str, data: Any, target: str, check: Check) -> Any:
        """Data of one type as that of another, checked against the contract after each step.

        Raises UnknownContract when no way leads there, ContractViolation when an upcaster's result does not
        fit, and what an upcaster raises.
        """
        if type != target and target not in self.way(type):
            raise UnknownContract(
                f"no upcaster leads from {type} to {target}; add one for each major between"
            )
        while type != target:
            type, function = self._steps[type]
            data = function(data)
            check(type, data)
        return data
