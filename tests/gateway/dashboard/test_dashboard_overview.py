"""The first look: what its tiles count."""

from __future__ import annotations

import re

from store.tables import dead_letters, quarantine
from tests.gateway.dashboard.scene import WORKSPACE, Scene
from tests.gateway.seeding import held, letter, put


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


async def test_what_named_no_workspace_is_counted_where_it_is_looked_after(scene: Scene) -> None:
    """An unsigned message is of nobody's workspace; its count is that of the quarantine's page."""
    await put(scene.database, quarantine, held("q-1", WORKSPACE), held("q-2", ""), held("q-3", "globex"))
    assert (await tile(scene, "Dead letters"))[1] == "in 0 groups; 2 in quarantine"
    scene.keys["viewer"] = await scene.key("viewer", workspace="globex")
    assert (await tile(scene, "Dead letters"))[1] == "in 0 groups; 1 in quarantine"
