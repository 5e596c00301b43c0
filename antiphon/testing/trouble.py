"""What befalls processes from outside, at times that the seed draws: cuts, freezes, jumps of the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.testing.house import House

__all__ = ["trouble"]

_WITHIN = 20.0  # seconds from the start
_SOON = 2.0
_OFF = 3600.0  # seconds that the clock of a machine may be off
_STORE_OFF = 8.0  # more than a lease


def trouble(house: House) -> None:
    """Set the times of this seed's trouble."""
    chance, loop = house.chance, house.loop
    if "partition" in chance.faults:
        for _ in range(chance.dice.choice([0, 1, 1, 2])):
            loop.call_later(chance.between(1.0, _WITHIN), _cut, house)
    if "clock-jump" in chance.faults:
        for _ in range(chance.dice.randrange(4)):
            loop.call_later(chance.between(0.5, _WITHIN), _jump, house)
    if "crash" in chance.faults:
        for _ in range(chance.dice.randrange(3)):
            loop.call_later(chance.between(0.5, _WITHIN), _kill, house)


def _cut(house: House) -> None:
    """An owner loses the others from sight, or stands still, for longer than its lease may last.

    In the midst of a commit, where it hurts most; or soon, if there is none.
    """
    names = [name for name in house.places if name.startswith("orchestrator")]
    place = house.places[house.chance.dice.choice(names)]
    seconds = house.chance.between(2.0, 12.0)
    still = house.chance.dice.random() < 0.5
    noticed = house.chance.dice.random() < 0.5
    if place.life.dead or place.life.frozen or not house.chance.count("partition"):
        return

    def stall() -> None:
        place.stall = None
        if still:
            place.freeze(house.loop, seconds)
        else:
            place.cut_off(seconds)
        if noticed:
            house.story.tell("broker", f"has lost {place.incarnation}, and gives what it held to others")
            house.broker.lose(place.life, seconds)

    def soon() -> None:
        if place.stall is not None and not place.life.dead and not place.life.frozen:
            stall()

    place.stall = stall
    house.loop.call_later(_SOON, soon)


def _jump(house: House) -> None:
    """The clock of a process's machine is set to something else, or the store's by a little."""
    dice = house.chance.dice
    name = dice.choice([*house.places, "store"])
    if not house.chance.count("clock-jump"):
        return
    if name == "store":
        house.store_offset = dice.uniform(-_STORE_OFF, _STORE_OFF)
        house.story.tell(name, f"has its clock set {house.store_offset:+.1f} s off")
        return
    # The machine's, so that the next process there begins with it.
    offset = house.offsets[name] = dice.uniform(-_OFF, _OFF)
    house.places[name].clock_offset = offset
    house.story.tell(name, f"has its clock set {offset:+.0f} s off")


def _kill(house: House) -> None:
    place = house.places[house.chance.dice.choice(list(house.places))]
    if not place.life.dead and house.chance.count("crash"):
        place.kill("in the midst of things")
