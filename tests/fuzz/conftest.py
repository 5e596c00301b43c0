"""Profiles: short and repeatable in CI, long by ``HYPOTHESIS_PROFILE=long``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile("short", deadline=None, derandomize=True, suppress_health_check=_CALM)
settings.register_profile("long", deadline=None, max_examples=1_000, suppress_health_check=_CALM)

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
