"""Whether one revision of a schema reads what another writes: proved, refuted by example, or unknown."""

from contracts.compatibility.compare import compare
from contracts.compatibility.verdict import Compatible, Incompatible, Unknown, Verdict

__all__ = ["Compatible", "Incompatible", "Unknown", "Verdict", "compare"]
