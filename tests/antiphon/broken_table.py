"""Every code of ``antiphon check``, with apps in which that is found and nothing else."""

from __future__ import annotations

from broken_flows import FLOWS
from broken_messages import MESSAGES

TABLE = {**MESSAGES, **FLOWS}
# What comes along of itself: two versions that say the same are two versions.
ALONG = {"same-version": ["two-versions"]}
CASES = [(code, index) for code, cases in TABLE.items() for index in range(len(cases))]
