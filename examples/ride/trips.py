"""Real trips of New York's taxis, one row of a CSV each, turned into what the gateway is asked.

A row is passed on as it is: blank zones, blank payments and distances of zero are for the gateway
to refuse, by the contract. See SOURCE.md for where the rows come from.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "SAMPLE", "Trip", "read_trips", "trip_of"]

SAMPLE = Path(__file__).with_name("trips.csv")
COLUMNS = (
    "pickup",
    "dropoff",
    "passengers",
    "distance",
    "fare",
    "tip",
    "tolls",
    "total",
    "color",
    "payment",
    "pickup_zone",
    "dropoff_zone",
    "pickup_borough",
    "dropoff_borough",
)


@dataclass(frozen=True, slots=True)
class Trip:
    """One trip: ``request`` fits ride.requested.v1 and ``end`` fits trip.ended.v1, if the row was good."""

    number: int
    ride_id: str
    request: Mapping[str, Any]
    end: Mapping[str, Any]


def read_trips(path: Path, most: int | None = None) -> Iterator[Trip]:
    """The trips of a CSV file in its order, ``most`` at the most.

    Raises ValueError when the file lacks a column.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; wanted are {', '.join(COLUMNS)}")
        for number, row in enumerate(itertools.islice(rows, most), start=1):
            yield trip_of(number, row)


def trip_of(number: int, row: Mapping[str, str]) -> Trip:
    """Row ``number`` (from 1) as a trip. Its id comes from the number and from all that the row says."""
    content = "\x1f".join(row[column] for column in COLUMNS)
    digest = hashlib.sha256(f"{number}\x1f{content}".encode()).hexdigest()
    ride_id = f"ride-{number:06d}-{digest[:10]}"
    rider = f"rider-{digest[10:16]}"
    request = {
        "ride_id": ride_id,
        "rider": {"id": rider, "email": f"{rider}@riders.example"},
        "pickup": {
            "zone": row["pickup_zone"],
            "borough": row["pickup_borough"],
            "at": row["pickup"].replace(" ", "T"),
        },
        "dropoff": {"zone": row["dropoff_zone"], "borough": row["dropoff_borough"]},
        "passengers": _number(row["passengers"]),
        "distance": _number(row["distance"]),
        "tolls_cents": _cents(row["tolls"]),
        "payment": row["payment"],
        "color": row["color"],
    }
    end = {
        "ride_id": ride_id,
        "at": row["dropoff"].replace(" ", "T"),
        "distance": _number(row["distance"]),
        "tip_cents": _cents(row["tip"]),
    }
    return Trip(number, ride_id, request, end)


def _number(text: str) -> int | float | str:
    """A number where it is one; what is none stays text, for the gateway to refuse."""
    value = _finite(text)
    if value is None:
        return text
    return int(value) if value.is_integer() else value


def _cents(text: str) -> int | str:
    """Dollars as whole cents; what is no number stays text, for the gateway to refuse."""
    value = _finite(text)
    return text if value is None else round(value * 100)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # "nan" and "inf" are floats to Python, and nothing to JSON.
    return value if math.isfinite(value) else None
