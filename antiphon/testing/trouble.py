"""What befalls processes from outside, at times that the seed draws: cuts, freezes, jumps of the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.testing.world import World

__all__ = ["trouble"]

_WITHIN = 20.0  # seconds from the start
_SOON = 2.0


def trouble(world: World) -> None:
    """Set the times of this seed's trouble."""
    chance, loop = world.chance, world.loop
    if "partition" in chance.faults:
        for _ in range(chance.dice.choice([0, 1, 1, 2])):
            loop.call_later(chance.between(1.0, _WITHIN), _cut, world)
    if "clock-jump" in chance.faults:
        for _ in range(chance.dice.randrange(4)):
            loop.call_later(chance.between(0.5, _WITHIN), _jump, world)
    if "crash" in chance.faults:
        for _ in range(chance.dice.randrange(3)):
            loop.call_later(chance.between(0.5, _WITHIN), _kill, world)


def _cut(world: World) -> None:
    """An owner loses the others from sight, or stands still, for longer than its lease may last.

    In the midst of a commit, where it hurts most; or soon, if there is none.
    """
    names = [name for name in world.places if name.startswith("orchestrator")]
    place = world.places[world.chance.dice.choice(names)]
    seconds = world.chance.between(2.0, 12.0)
    still = world.chance.dice.random() < 0.5
    if place.life.dead or place.life.frozen or not world.chance.count("partition"):
        return

    def stall() -> None:
        place.stall = None
        if still:
            place.freeze(world.loop, seconds)
        else:
            place.cut_off(seconds)

    def soon() -> None:
        if place.stall is not None and not place.life.dead and not place.life.frozen:
            stall()

    place.stall = stall
    world.loop.call_later(_SOON, soon)


def _jump(world: World) -> None:
    """A process's own clock is set to something else."""
    place = world.places[world.chance.dice.choice(list(world.places))]
    if world.chance.count("clock-jump"):
        place.clock_offset = world.chance.between(-3600.0, 3600.0)
        world.story.tell(place.incarnation, f"has its clock set {place.clock_offset:+.0f} s off")


def _kill(world: World) -> None:
    place = world.places[world.chance.dice.choice(list(world.places))]
    if not place.life.dead and world.chance.count("crash"):
        place.kill("in the midst of things")
