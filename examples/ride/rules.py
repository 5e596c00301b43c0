"""What goes wrong, and for whom: by the trip alone, so that a run of the demo can be repeated.

Chance would hide a lost ride behind bad luck. A hash of the trip looks as arbitrary, and gives the
same answer in every process, in any order, however often it is asked.
"""

from __future__ import annotations

import hashlib

__all__ = [
    "CARDS_DECLINED",
    "DRY_ZONES",
    "ENDS_EARLY",
    "PORTAL_OUTAGE",
    "PORTAL_STUMBLES",
    "TOLD_TWICE",
    "card_declined",
    "ends_early",
    "portal_down",
    "portal_stumbles",
    "share",
    "told_twice",
    "zone_is_dry",
]

CARDS_DECLINED = 0.06  # of the rides paid by card
DRY_ZONES = 0.04  # of the hours of a zone
PORTAL_STUMBLES = 0.08  # of the completed rides: the statistics' first attempt fails
PORTAL_OUTAGE = 0.03  # of the completed rides: every attempt fails while the outage lasts
ENDS_EARLY = 0.08  # of the rides: the trip's end is heard before anybody waits for it
TOLD_TWICE = 0.06  # of the rides: the trip's end is published twice


def share(*parts: str) -> float:
    """Where ``parts`` fall between 0 (included) and 1 (excluded); evenly spread."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def card_declined(ride_id: str, method: str) -> bool:
    """Whether the bank says no. Cash needs no bank."""
    return method == "credit card" and share("card", ride_id) < CARDS_DECLINED


def zone_is_dry(zone: str, at: str) -> bool:
    """Whether ``zone`` has no driver in the hour of ``at`` (``2019-03-23T20:21:09``)."""
    return share("dry", zone, at[:13]) < DRY_ZONES


def portal_stumbles(ride_id: str) -> bool:
    """Whether the city's open-data portal drops the first attempt for this ride."""
    return share("stumble", ride_id) < PORTAL_STUMBLES


def portal_down(ride_id: str) -> bool:
    """Whether the portal refuses this ride for as long as its outage lasts."""
    return share("outage", ride_id) < PORTAL_OUTAGE


def ends_early(ride_id: str) -> bool:
    """Whether the demo publishes this trip's end before the run can be waiting for it."""
    return share("early", ride_id) < ENDS_EARLY


def told_twice(ride_id: str) -> bool:
    """Whether the demo publishes this trip's end twice, with the same id."""
    return share("twice", ride_id) < TOLD_TWICE
