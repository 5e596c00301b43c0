"""What a handler is given: its first argument is bound once, when it is declared."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError

from contracts.envelope import Event
from contracts.errors import ConfigurationError, Terminal

__all__ = ["Handler", "declared_at"]

Read = Callable[[Event], Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """An async function with its arguments bound: ``await handler(event, context)``.

    The first parameter gets, by its annotation: a pydantic model -> the payload parsed by it; ``Event``
    -> the whole event; ``dict``, ``Mapping``, ``Any`` or none -> the decoded payload. The second one,
    which may be left out, gets the context. ``model`` is the pydantic model, if there is one.
    """

    function: Callable[..., Awaitable[Any]]
    read: Read
    wants_context: bool
    model: type[BaseModel] | None = None

    @classmethod
    def of(cls, function: Callable[..., Awaitable[Any]], names: Mapping[str, Any]) -> Handler:
        """Bind ``function``; ``names`` are the local names where it is declared.

        Raises ConfigurationError, naming the place, when it is not async or its parameters don't fit.
        """
        if not inspect.iscoroutinefunction(function):
            raise _wrong(function, "it must be declared with 'async def'")
        parameters = list(inspect.signature(function).parameters.values())
        required = [p for p in parameters[2:] if p.default is p.empty and p.kind not in _COLLECTING]
        if not parameters or required or any(p.kind is p.KEYWORD_ONLY for p in parameters[:2]):
            raise _wrong(function, "it must take the event and, if it wants one, the context: (event, ctx)")
        annotation = _resolve(function, parameters[0], names)
        model = annotation if _is_model(annotation) else None
        return cls(function, _reader(function, annotation), len(parameters) > 1, model)

    async def __call__(self, event: Event, context: object) -> Any:
        """Call it. Raises what it raises, and Terminal when its model can't read the payload."""
        argument = self.read(event)
        return await (self.function(argument, context) if self.wants_context else self.function(argument))


_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def declared_at(function: Callable[..., Any]) -> str:
    """``file:line`` of a function, for error messages and the map."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _wrong(function: Callable[..., Any], why: str) -> ConfigurationError:
    name = getattr(function, "__qualname__", repr(function))
    return ConfigurationError(f"handler {name} at {declared_at(function)}: {why}")


def _resolve(function: Callable[..., Any], parameter: inspect.Parameter, names: Mapping[str, Any]) -> Any:
    """The first parameter's annotation alone: the others may name what is only imported for types."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    known = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        # The programmer's own source text, as typing.get_type_hints evaluates it.
        return eval(annotation, dict(known), dict(names))  # noqa: S307
    except Exception as error:
        raise _wrong(
            function,
            f"the annotation {annotation!r} of {parameter.name!r} can't be resolved ({error}); "
            "import it at run time, not under TYPE_CHECKING",
        ) from error


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _reader(function: Callable[..., Any], annotation: Any) -> Read:
    if _is_model(annotation):
        return _model_reader(annotation)
    if annotation is Event:
        return lambda event: event
    origin = getattr(annotation, "__origin__", annotation)
    if origin is Any or origin is object or (isinstance(origin, type) and issubclass(dict, origin)):
        return lambda event: event.data
    raise _wrong(
        function,
        f"its first parameter is annotated {annotation!r}; use a pydantic model, dict or Event",
    )


def _model_reader(model: type[BaseModel]) -> Read:
    def read(event: Event) -> BaseModel:
        try:
            return model.model_validate_json(event.body)
        except ValidationError as error:
            # On contract, or it would not have come so far: the model asks for more than the contract
            # gives, and no retry changes that. A dead letter can be redriven once the model is fixed.
            raise Terminal(
                f"{model.__qualname__} can't read {event.type}: {_places(error)}", code="unreadable"
            ) from error

    return read


def _places(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"at /{'/'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems[:5]
    )
