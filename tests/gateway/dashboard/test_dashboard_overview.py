"""The first look: what its tiles count."""

from __future__ import annotations

import re

from store.tables import dead_letters
from tests.gateway.dashboard.scene import WORKSPACE, Scene
from tests.gateway.seeding import letter, put


async def tile(scene: Scene, name: str) -> tuple[str, str]:
    """The number of a tile and the note below it."""
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get("/ui/overview")).text
    found = re.search(
        rf'{name}</span><span class="value">([^<]*)</span><span class="note[^"]*">([^<]*)<', page
    )
    assert found, name
    return found[1], found[2]


async def test_all_dead_letters_are_counted_not_those_of_the_groups_that_are_shown(scene: Scene) -> None:
    """Nine groups of errors, of which the page shows the largest."""
    rows = [letter(f"d-{number}", workspace=WORKSPACE, group_key=f"notify: {number}") for number in range(9)]
    await put(scene.database, dead_letters, *rows, letter("theirs"))
    assert await tile(scene, "Dead letters") == ("9", "in 9 groups")
