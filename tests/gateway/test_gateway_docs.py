"""docs/api.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.auth import ABILITIES
from gateway.problems import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_the_table_of_roles_is_the_one_in_the_code() -> None:
    """Each ability, and exactly the roles that have it."""
    header, *rows = re.findall(r"^\| (ability|[a-z ]+) \| (.*) \|$", PAGE[: PAGE.index("## Starting")], re.M)
    roles = [role.strip() for role in header[1].split("|")]
    said = {
        ability: {role for role, mark in zip(roles, marks.split("|"), strict=True) if mark.strip() == "yes"}
        for ability, marks in rows
    }
    assert said == {ability: set(having) for ability, having in ABILITIES.items()}


def test_every_problem_is_listed_with_its_status() -> None:
    """The page and the code have the same kinds."""
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|$", PAGE, re.M))
    assert listed == {name: str(kind.status) for name, kind in KINDS.items()}
