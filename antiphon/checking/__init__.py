"""``antiphon check``: the whole system, from the app alone, before anything runs."""

from antiphon.checking.check import check_app, passes
from antiphon.checking.codes import CODES, Code
from antiphon.checking.finding import Finding

__all__ = ["CODES", "Code", "Finding", "check_app", "passes"]
