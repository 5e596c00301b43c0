"""The flows of an app, by name and version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from contracts.errors import InvalidFlow
from contracts.upcasting import Upcasters
from orchestrator.flow import Flow
from orchestrator.nodes import Wait

__all__ = ["Awaited", "Catalog"]


class Awaited(NamedTuple):
    """A flow that waits, the type that it reads (the event's own, or a newer one), the field with its key."""

    flow: str
    type: str
    field: str


class Catalog:
    """Every version of every flow. Old versions stay for as long as a run has them.

    ``upcasters`` carry events over to the newer majors that flows wait for.
    """

    def __init__(self, flows: Iterable[Flow], upcasters: Upcasters | None = None) -> None:
        self.upcasters = upcasters or Upcasters()
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

    def awaited(self) -> dict[str, list[Awaited]]:
        """For each event type that some flow takes, older majors of what it waits for too: who takes it.

        Each version of a flow takes an event as the nearest type that it waits for. Which version the run
        has is not known here, so that there may be several; a run lets go what it does not wait for.
        """
        found: dict[str, list[Awaited]] = {}
        for flow in self.all():
            fields: dict[str, dict[str, None]] = {}
            for wait in flow.plan.waits():
                if isinstance(wait, Wait) and wait.by is not None:
                    fields.setdefault(wait.type, {})[wait.by] = None
            for type in (*fields, *self.upcasters.leading_to(fields)):
                target = self.upcasters.nearest(type, fields) or type
                entries = found.setdefault(type, [])
                for field in fields[target]:
                    entry = Awaited(flow.name, target, field)
                    if entry not in entries:
                        entries.append(entry)
        return found
