"""An app: what a user writes."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contracts.errors import ConfigurationError
from contracts.registry import Registry
from contracts.upcasting import Upcasters
from orchestrator.catalog import Catalog
from orchestrator.flow import Flow
from orchestrator.nodes import Step
from reactors.reactor import Reactor, reactor_of
from reactors.service import Service

__all__ = ["App", "find_object", "load_app"]

_WHERE = re.compile(r"\w[\w.]*:\w+")  # module:attribute


class App:
    """Flows, reactors and services, and the contracts between them.

    ``contracts`` is the folder (or folders) of contract files. Flow inputs and step results may be
    pydantic models too: their schemas become contracts of this app. ``external`` are the types that come
    from outside of this app, are read outside, or are commands to services that run elsewhere.
    ``upcasters`` carry events of an older major over to a newer one, for reactors that read and
    flows that wait for the newer.

    Raises ConfigurationError when something is wrong, before anything runs.
    """

    def __init__(
        self,
        name: str,
        *,
        flows: Iterable[Flow] = (),
        reactors: Iterable[Reactor | Callable[..., Any]] = (),
        services: Iterable[Service] = (),
        contracts: Path | str | Sequence[Path | str] = (),
        external: Iterable[str] = (),
        upcasters: Upcasters | None = None,
    ) -> None:
        self.name = name
        if isinstance(external, str):
            raise ConfigurationError(f"app {name!r}: external={external!r}; write [{external!r}]")
        self.external = frozenset(external)
        self.services = tuple(services)
        folders = [contracts] if isinstance(contracts, Path | str) else list(contracts)
        self.contract_folders = tuple(Path(folder) for folder in folders)
        self.registry = Registry.load(*self.contract_folders)
        if upcasters is not None:
            self.registry.upcasters = upcasters
        self.catalog = Catalog(flows, self.registry.upcasters)
        self.reactors = tuple(self._reading_older(reactor_of(reactor)) for reactor in reactors)
        for flow in self.catalog.all():
            self._add_models(flow)
        self._refuse_twins("reactor", [reactor.name for reactor in self.reactors])
        self._refuse_twins("service", [service.name for service in self.services])

    @property
    def flows(self) -> list[Flow]:
        """Every version of every flow."""
        return self.catalog.all()

    def service(self, name: str) -> Service:
        """The service of that name. Raises ConfigurationError."""
        for service in self.services:
            if service.name == name:
                return service
        known = ", ".join(service.name for service in self.services) or "none"
        raise ConfigurationError(f"app {self.name!r} has no service {name!r}; it has: {known}")

    def _reading_older(self, reactor: Reactor) -> Reactor:
        """The reactor, subscribed also to what can be carried over to the types that it reads."""
        return replace(reactor, older=tuple(self.registry.upcasters.leading_to(reactor.types)))

    def _add_models(self, flow: Flow) -> None:
        if not isinstance(flow.input, str):
            self._add_model(flow.input, flow.input_type, f"the input of flow {flow.name!r}")
        for name, place in flow.plan.places.items():
            node = place.node
            contract = flow.result_type(name)
            if isinstance(node, Step) and contract is not None and not isinstance(node.result, str):
                self._add_model(node.result, contract, f"the result of step {name!r} of flow {flow.name!r}")

    def _add_model(self, model: Any, contract: str, what: str) -> None:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise ConfigurationError(
                f"{what} is {model!r}: name a contract, or give a subclass of pydantic.BaseModel"
            )
        self.registry.add(contract, model.model_json_schema(mode="serialization"))

    def _refuse_twins(self, kind: str, names: list[str]) -> None:
        twins = {name for name in names if names.count(name) > 1}
        if twins:
            raise ConfigurationError(f"app {self.name!r} has two {kind}s called {sorted(twins)[0]!r}")


def load_app(where: str) -> App:
    """The app at ``module:attribute``. Raises ConfigurationError, and says what was found instead."""
    found = find_object(where)
    if not isinstance(found, App):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise ConfigurationError(f"{where!r} is {what}, not an antiphon.App")
    return found


def find_object(where: str) -> Any:
    """What is at ``module:attribute``; None when the module has no such attribute.

    Raises ConfigurationError when it can't be read so, and when there is no such module.
    """
    module_name, _, attribute = where.partition(":")
    if not _WHERE.fullmatch(where):
        raise ConfigurationError(f"{where!r} names no app: write module:attribute, like shop.app:app")
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")  # a console script does not look where it was started
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{where!r}: there is no module {error.name!r} here") from error
    return getattr(module, attribute, None)
