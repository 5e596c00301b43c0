"""Records that are made by the thousand in a second: frozen for the type checker, plain at run time.

A frozen dataclass writes each attribute through ``object.__setattr__``, at four times the price of a plain
one; and ten of them are made for each message, forty for each run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform, overload

__all__ = ["record"]

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...


@overload
def record(*, eq: bool = True, slots: bool = True) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(
    cls: type[T] | None = None, /, *, eq: bool = True, slots: bool = True
) -> type[T] | Callable[[type[T]], type[T]]:
    """``@dataclass(frozen=True)`` where mypy sees who would change one, at the price of one that is not.

    What an application's authors hold in their hands (a context, settings) stays frozen at run time.
    """

    def made(cls: type[T]) -> type[T]:
        return dataclass(eq=eq, slots=slots, unsafe_hash=eq)(cls)

    return made if cls is None else made(cls)
