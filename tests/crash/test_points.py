"""Beside every commit, publish, ack and effect stand two crash points; a new one without them fails here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from contracts.crash import VARIABLE, arm
from tests.crash.points import EXEMPT, ROOT, all_points, look_at, source_files


def test_every_commit_publish_ack_and_effect_has_its_points() -> None:
    """Whoever adds one is told where the points are missing, and what they must be called."""
    found = [look_at(path.read_text(), str(path.relative_to(ROOT))) for path in source_files()]
    assert [problem for one in found for problem in one.problems] == []
    used = {exemption for one in found for exemption in one.exempted}
    assert set(EXEMPT) - used == set(), "exemptions for what is not there"


def test_no_two_places_share_a_name() -> None:
    """A point that is killed at is one place in the code."""
    points = all_points()
    assert sorted(points) == sorted(set(points))


GOOD = """
from contracts.crash import reached

async def keep(self, commit):
    try:
        reached("orchestrator.planted.commit.before")
        await self._journal.commit(commit)
        reached("orchestrator.planted.commit.after")
    except StoreError:
        raise
"""


def test_the_planted_module_is_good_as_it_is() -> None:
    """The cases below differ from it in one thing each."""
    found = look_at(GOOD, "orchestrator/planted.py")
    assert found.problems == []
    assert found.points == ["orchestrator.planted.commit.before", "orchestrator.planted.commit.after"]


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        (GOOD.replace('        reached("orchestrator.planted.commit.before")\n', ""), "before it"),
        (GOOD.replace('        reached("orchestrator.planted.commit.after")\n', ""), "behind it"),
        (GOOD.replace("commit.after", "other.after"), "commit.after"),
        (GOOD.replace("orchestrator.planted", "reactors.acks"), "orchestrator.planted"),
        (GOOD.replace("await self._journal.commit(commit)", "return await x.commit(commit)"), "of its own"),
        (GOOD.replace("await self._journal.commit(commit)", "assert await x.commit(1)"), "of its own"),
        (GOOD.replace("await self._journal.commit(commit)", "await nothing()"), "beside nothing"),
        ("async def send(bus, out):\n    await bus.publish(out)\n", "before it"),
        ("async def send(bus, out):\n    await patiently(lambda: bus.publish(out))\n", "before it"),
        ("async def send(bus, out):\n    await patiently(partial(bus.publish, out))\n", "before it"),
        ("async def take(subscription, batch):\n    await subscription.ack(batch)\n", "before it"),
        ("def work(database):\n    def inner():\n        return database.write(1)\n", "of its own"),
        ("async def call(function, context):\n    await function(context)\n", "before it"),
        ("async def call(place, function):\n    await place.call(function, 1)\n", "before it"),
        ("async def call(self, event):\n    await self._reactor.handler(event)\n", "before it"),
        ("async def tell(self, feed):\n    await self._live.append(feed)\n", "before it"),
        ("class A:\n  async def go(self):\n    for x in y:\n      await s.submit(x)\n", "before it"),
    ],
)  # fmt: skip
def test_what_has_no_point_beside_it_is_found(planted: str, complaint: str) -> None:
    """Whatever it is called on, however deep it stands, and also when it is handed on uncalled."""
    problems = look_at(planted, "orchestrator/planted.py").problems
    assert problems
    assert complaint in " ".join(problems)


SCRIPT = """
from contracts.crash import reached
for _ in range(3):
    reached("a.before")
    reached("b.before")
    print("passed", flush=True)
"""


@pytest.mark.parametrize(("at", "passes"), [("b.before", 0), ("b.before:1", 0), ("a.before:3", 2)])
def test_an_armed_process_is_gone_at_the_point(at: str, passes: int) -> None:
    """Killed, not ended: no handler runs, and standard error says where it was."""
    ended = _run({VARIABLE: at})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == ["passed"] * passes
    assert ended.stderr == f"crash point {at.partition(':')[0]}\n"


@pytest.mark.parametrize(
    "environment", [{}, {VARIABLE: ""}, {VARIABLE: "c.before"}, {VARIABLE: "a.before:4"}]
)
def test_a_process_that_is_not_armed_there_passes(environment: dict[str, str]) -> None:
    """Unset is the way every process runs."""
    ended = _run(environment)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("at", ["a.before:0", "a.before:x", "a.before:-1"])
def test_a_count_that_is_none_is_refused(at: str) -> None:
    """An armed test that never crashes would prove nothing."""
    with pytest.raises(ValueError, match="counted from 1"):
        arm(at)


def _run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
