"""Whether one revision of a schema reads what another writes: proved, refuted by example, or unknown."""

from contracts.compatibility.compare import compare
from contracts.compatibility.modes import Comparison, Direction, Mode, Report, check
from contracts.compatibility.verdict import Compatible, Incompatible, Unknown, Verdict

__all__ = [
    "Comparison",
    "Compatible",
    "Direction",
    "Incompatible",
    "Mode",
    "Report",
    "Unknown",
    "Verdict",
    "check",
    "compare",
]
