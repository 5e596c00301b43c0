"""The handlers: can their models read all that the contracts allow?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from antiphon.checking.finding import Finding, Spot, example, found
from antiphon.checking.system import System, handler_spot, reactor_spot
from contracts.compatibility import Incompatible, Unknown

__all__ = ["check_readers"]


def check_readers(system: System) -> Iterator[Finding]:
    """Every reactor and every handler of a service, with each type that it gets."""
    for reactor in system.app.reactors:
        for type in reactor.types:
            yield from _check(system, reactor_spot(reactor), type, reactor.handler.model)
    for service in system.app.services:
        for handler in service.handlers.values():
            spot = handler_spot(service.name, handler)
            for type in filter(None, (handler.type, handler.reply)):
                if not system.app.registry.has(type):
                    what = "the command" if type == handler.type else "its reply"
                    yield found("no-contract", spot, f"{what} {type!r} has no contract")
            yield from _check(system, spot, handler.type, handler.handler.model)
            if (service.name, handler.type) not in system.asked and handler.type not in system.app.external:
                yield found("unasked-command", spot, f"no flow of this app sends {handler.type} to it")


def _check(system: System, spot: Spot, type: str, model: type[BaseModel] | None) -> Iterator[Finding]:
    if model is None or not system.app.registry.has(type):
        return
    contract = system.app.registry.contract(type)
    for instance in contract.examples:
        if (why := _refusal(model, instance)) is not None:
            yield _unreadable(spot, model, type, instance, *why)
            return
    try:
        reader = model.model_json_schema(mode="validation")
    except PydanticInvalidForJsonSchema as error:
        yield found("unchecked-reader", spot, f"{model.__qualname__} has no JSON Schema: {error.message}")
        return
    verdict = system.compare({"$ref": contract.id}, reader)
    match verdict:
        case Incompatible(instance, pointer, schema_says):
            # The model has the last word: it may read more than its schema says ("1" as a number).
            why = _refusal(model, instance)
            if why is not None:
                yield _unreadable(spot, model, type, instance, *why)
            else:
                yield found(
                    "unchecked-reader",
                    spot,
                    f"{model.__qualname__} may not read all of {type}: at {pointer or '/'}, {schema_says}; "
                    "its schema refuses an example that the model itself reads",
                )
        case Unknown(reason):
            yield found("unchecked-reader", spot, f"whether {model.__qualname__} reads {type}: {reason}")


def _unreadable(
    spot: Spot, model: type[BaseModel], type: str, instance: Any, pointer: str, why: str
) -> Finding:
    return found(
        "unreadable",
        spot,
        f"{model.__qualname__} can't read all of {type}, at {pointer or '/'}: {why}",
        counterexample=example(instance, pointer, why),
    )


def _refusal(model: type[BaseModel], instance: Any) -> tuple[str, str] | None:
    """Where and why a model refuses what comes over the wire; None when it reads it."""
    try:
        model.model_validate_json(json.dumps(instance))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return "".join(f"/{part}" for part in first["loc"]), first["msg"]
    except Exception as error:  # a user's validator may raise anything: as good as a refusal
        return "", f"{type(error).__name__}: {error}"
    return None
