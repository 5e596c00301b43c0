"""Chooses the sample: ``python -m examples.ride.sample PATH`` writes trips.csv from the whole file.

Rows are ordered by a hash of what they say, so that the sample is spread over the month, the
boroughs, both colours of cab and both kinds of payment as the whole is, and is the same each time.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from examples.ride.rules import share
from examples.ride.trips import COLUMNS, SAMPLE

__all__ = ["choose"]

SIZE = 600


def choose(rows: list[dict[str, str]], size: int = SIZE) -> list[dict[str, str]]:
    """``size`` of the rows that the contract lets in, in the order of their pickup."""
    good = [
        row
        for row in rows
        if row["payment"] and row["pickup_zone"] and row["dropoff_zone"] and float(row["distance"]) > 0
    ]
    chosen = sorted(good, key=lambda row: share("sample", *(row[column] for column in COLUMNS)))[:size]
    return sorted(chosen, key=lambda row: tuple(row[column] for column in COLUMNS))


def main() -> None:
    """Read the file that is named on the command line, and write the sample beside this module."""
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
        chosen = choose(list(csv.DictReader(file)))
    with SAMPLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
    print(f"{len(chosen)} trips written to {SAMPLE}")


if __name__ == "__main__":
    main()
