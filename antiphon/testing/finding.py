"""Finds what is to be simulated by its name, so that several processes can find the same."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from antiphon.app import App, find_object
from antiphon.testing.simulation import Simulation
from contracts.errors import ConfigurationError

__all__ = ["SIMULATED", "find_simulation"]

SIMULATED = "simulated"  # the module beside an app, and in it the attribute "simulation"


def find_simulation(where: str) -> Simulation:
    """The simulation at ``module:attribute``, or of the app there.

    An app's own simulation is ``simulation`` in the module ``simulated`` of the same package; an app
    without one is played by the examples in its contracts. Raises ConfigurationError.
    """
    found = find_object(where)
    if isinstance(found, Simulation):
        return found
    if not isinstance(found, App):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise ConfigurationError(
            f"{where!r} is {what}, not an antiphon.App or an antiphon.testing.Simulation"
        )
    return _beside(where.partition(":")[0], found) or Simulation(found)


def _beside(module: str, app: App) -> Simulation | None:
    # The module that has the app may be the package itself: beside the app is in it, then.
    inside = [module] if hasattr(sys.modules[module], "__path__") else []
    for package in (*inside, module.rpartition(".")[0]):
        name = f"{package}.{SIMULATED}" if package else SIMULATED
        if importlib.util.find_spec(name) is not None:
            break
    else:
        return None
    found = getattr(importlib.import_module(name), "simulation", None)
    if not isinstance(found, Simulation):
        raise ConfigurationError(f"{name} has no 'simulation = Simulation(app, ...)'; see docs/testing.md")
    return found if found.app is app else None
