"""What a RabbitMQ broker must have for an app: planned from the app alone, compared, and brought there."""

from __future__ import annotations

from antiphon.broker.difference import Difference, difference
from antiphon.broker.logins import Login, Logins
from antiphon.broker.management import Management
from antiphon.broker.plan import Permission, Plan, Policy, User
from antiphon.broker.planning import plan_of

__all__ = [
    "Difference",
    "Login",
    "Logins",
    "Management",
    "Permission",
    "Plan",
    "Policy",
    "User",
    "difference",
    "plan_of",
]
