"""Everything that can be known to be wrong with an app before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from antiphon.app import App
from antiphon.checking.data import check_data
from antiphon.checking.events import check_events
from antiphon.checking.finding import Finding
from antiphon.checking.flows import check_flows, check_versions
from antiphon.checking.readers import check_readers
from antiphon.checking.released import check_released, check_unused
from antiphon.checking.steps import check_steps
from antiphon.checking.system import System

__all__ = ["check_app", "passes"]

_ALL: tuple[Callable[[System], Iterator[Finding]], ...] = (
    check_flows,
    check_steps,
    check_data,
    check_events,
    check_readers,
    check_released,
    check_versions,
    check_unused,
)
_ORDER = {"error": 0, "warning": 1, "info": 2}


def check_app(app: App) -> list[Finding]:
    """Every finding: errors first, then warnings, then what is only worth knowing. Nothing is started."""
    system = System(app)
    findings = [finding for check in _ALL for finding in check(system)]
    return sorted(findings, key=lambda finding: (_ORDER[finding.level], finding.file, finding.line or 0))


def passes(findings: list[Finding], *, strict: bool = False) -> bool:
    """Whether nothing is wrong; with ``strict`` a warning counts as an error. Infos never do."""
    wrong = {"error", "warning"} if strict else {"error"}
    return not any(finding.level in wrong for finding in findings)
