"""The contracts by themselves: changed since their release, or used by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from antiphon.checking.finding import Finding, Spot, found
from antiphon.checking.system import System
from contracts.lock import LOCK_FILE, Lock
from contracts.review import review
from contracts.subschemas import subschemas

__all__ = ["check_released", "check_unused"]

_CODES = {
    "incompatible": "contract-broken",
    "unknown": "contract-broken",
    "removed": "contract-removed",
    "revised": "contract-unreleased",
}


def check_released(system: System) -> Iterator[Finding]:
    """Each contract against the lock in its folder. A folder without a lock has released nothing."""
    registry = system.app.registry
    for folder in system.app.contract_folders:
        path = folder / LOCK_FILE
        for one in review(registry, Lock.read(path)) if path.exists() else ():
            if one.state not in _CODES:
                continue
            file = registry.contract(one.type).path if registry.has(one.type) else None
            if file is not None and not Path(file).is_relative_to(folder):
                continue
            code = _CODES[one.state]
            yield found(
                code, Spot(f"contract {one.type}", str(file or path)), one.message.removeprefix(f"{file}: ")
            )


def check_unused(system: System) -> Iterator[Finding]:
    """Contracts that no message of the app has, and no other contract refers to."""
    app = system.app
    used = {*system.emitted, *system.read, *app.external}
    used |= {flow.input_type for flow in app.flows}
    used |= {str(flow.result_type(name)) for flow in app.flows for name in flow.plan.places}
    used |= {type for _, type in system.asked}
    for service in app.services:
        for handler in service.handlers.values():
            used |= {handler.type, str(handler.reply)}
    text = {
        str(one.get("$ref", "")).partition("#")[0]
        for contract in app.registry.contracts()
        for _, one in subschemas(contract.schema)
        if isinstance(one, dict)
    }
    for contract in app.registry.contracts():
        referred = any(ref and (contract.id == ref or contract.id.endswith(f"/{ref}")) for ref in text)
        if contract.type not in used and contract.path is not None and not referred:
            yield found(
                "unused-contract",
                Spot(f"contract {contract.type}", str(contract.path)),
                "no flow, reactor or service of this app has to do with it",
            )
