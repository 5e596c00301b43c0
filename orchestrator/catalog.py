"""The flows of an app, by name and version."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.errors import InvalidFlow
from orchestrator.flow import Flow
from orchestrator.nodes import Wait

__all__ = ["Catalog"]


class Catalog:
    """Every version of every flow. Old versions stay for as long as a run has them."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._flows: dict[str, dict[int, Flow]] = {}
        for flow in flows:
            versions = self._flows.setdefault(flow.name, {})
            if flow.version in versions:
                raise InvalidFlow(f"two flows are called {flow.name!r} v{flow.version}")
            versions[flow.version] = flow
        for versions in self._flows.values():
            keys = {flow.key for flow in versions.values()}
            if len(keys) > 1:
                name = next(iter(versions.values())).name
                raise InvalidFlow(f"the versions of flow {name!r} have different keys: {sorted(keys)}")

    def find(self, name: str, version: int = 0) -> Flow | None:
        """A flow; version 0 is the newest one."""
        versions = self._flows.get(name, {})
        if version == 0 and versions:
            version = max(versions)
        return versions.get(version)

    def newest(self) -> list[Flow]:
        """The newest version of each flow, by name."""
        return [versions[max(versions)] for _, versions in sorted(self._flows.items())]

    def all(self) -> list[Flow]:
        """Every version of every flow."""
        return [flow for versions in self._flows.values() for flow in versions.values()]

    def awaited(self) -> dict[str, list[tuple[str, str]]]:
        """For each event type that some flow waits for: the flows, and the fields that hold their keys."""
        found: dict[str, list[tuple[str, str]]] = {}
        for flow in self.all():
            for wait in flow.plan.waits():
                if isinstance(wait, Wait) and wait.by is not None:
                    entry = (flow.name, wait.by)
                    if entry not in found.setdefault(wait.type, []):
                        found[wait.type].append(entry)
        return found
