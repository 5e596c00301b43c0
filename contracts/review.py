"""What has happened to contracts since they were released, and whether it may be released."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contracts.compatibility import Compatible, Incompatible, Report
from contracts.contract import Contract
from contracts.errors import ConfigurationError
from contracts.lock import Lock
from contracts.registry import Registry
from contracts.revisions import compare_revisions

__all__ = ["Finding", "release", "review"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One contract's state. ``state`` is one of these:

    ``released`` as it is; ``new``, not released yet; ``revised``, compatibly, since its release;
    ``incompatible`` or ``unknown``: edited since its release in a way that may not be released within the
    major; ``removed``.
    """

    type: str
    state: str
    message: str
    revision: int = 0
    report: Report | None = None

    @property
    def wrong(self) -> bool:
        """Whether it stands in the way of a release."""
        return self.state in ("incompatible", "unknown", "removed")

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        document: dict[str, Any] = {"type": self.type, "state": self.state, "message": self.message}
        return document if self.report is None else {**document, "report": self.report.as_json()}


def review(registry: Registry, lock: Lock) -> list[Finding]:
    """The state of each contract against what was released, sorted by type."""
    resources = {contract.id: contract.schema for contract in registry.contracts()}
    found = [_reviewed(contract, lock, resources) for contract in registry.contracts()]
    gone = [
        Finding(type, "removed", "it was released and its file is gone; restore it from git")
        for type in lock.revisions
        if not registry.has(type)
    ]
    return sorted([*found, *gone], key=lambda finding: finding.type)


def _reviewed(contract: Contract, lock: Lock, resources: dict[str, Any]) -> Finding:
    released = lock.of(contract.type)
    if not released:
        return Finding(contract.type, "new", "not released yet; 'antiphon contracts lock' releases it")
    if contract.digest == released[-1].digest:
        return Finding(contract.type, "released", f"as released, revision {len(released)}", len(released))
    # With each one that was ever released: messages of all of them may still be about.
    for number in range(len(released), 0, -1):
        report = compare_revisions(released[number - 1].schema, contract.schema, resources=resources)
        if not isinstance(report.verdict, Compatible):
            return _refused(contract, number, report)
    message = f"changed compatibly since revision {len(released)}; 'antiphon contracts lock' releases it"
    return Finding(contract.type, "revised", message, len(released))


def _refused(contract: Contract, number: int, report: Report) -> Finding:
    bad = next(one for one in report.comparisons if one.verdict.word == report.verdict.word)
    reads = (
        "it can't read what revision {} wrote" if bad.direction == "backward" else "revision {} can't read it"
    )
    what = f"{contract.where}: {reads.format(number)}: {bad.verdict}"
    advice = f"undo the edit, or make it {contract.name}.v{contract.major + 1}"
    state = "incompatible" if isinstance(bad.verdict, Incompatible) else "unknown"
    return Finding(contract.type, state, f"{what}; {advice}", number, report)


def release(registry: Registry, lock: Lock, types: Iterable[str] | None = None) -> Lock:
    """The lock with every contract (or those of these types) released as it is now.

    Raises ConfigurationError when one of them may not be released.
    """
    wanted = set(registry.types() if types is None else types)
    wrong = [one for one in review(registry, lock) if one.wrong and (types is None or one.type in wanted)]
    if wrong:
        raise ConfigurationError("\n".join(f"{one.type}: {one.message}" for one in wrong))
    return lock.with_released(registry.contract(type) for type in sorted(wanted))
