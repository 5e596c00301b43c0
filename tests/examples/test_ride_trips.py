"""Rows of the city's records become requests that the contract accepts, or refuses for a reason."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from examples.ride import trips
from examples.ride.sample import choose

CONTRACTS = Path(trips.__file__).parent / "contracts"
WHOLE = Path(__file__).parents[3] / "shared" / "data" / "nyc_taxi_trips.csv"
needs_the_whole_file = pytest.mark.skipif(
    not WHOLE.exists(),
    reason=f"the whole month of trips is not at {WHOLE}; the sample is tested all the same",
)


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema: dict[str, Any] = json.loads((CONTRACTS / f"{name}.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def wrongs(trip: trips.Trip) -> set[str]:
    found = validator_of_requests.iter_errors(dict(trip.request))
    return {"/".join(str(part) for part in error.absolute_path) for error in found}


validator_of_requests = validator("ride/requested.v1")


@pytest.mark.parametrize(
    "path", sorted(CONTRACTS.rglob("*.json")), ids=lambda path: path.parent.name + path.stem
)
def test_contracts_are_sound_and_their_examples_fit(path: Path) -> None:
    """Each contract is a valid schema with the id that its place gives it, and examples that it accepts."""
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:antiphon:{path.parent.name}:{path.stem.replace('.', ':')}"
    assert schema["examples"]
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)


def test_every_trip_of_the_sample_fits_its_contracts() -> None:
    """The sample has at least 500 trips of several boroughs, both colours and payments, all good."""
    chosen = list(trips.read_trips(trips.SAMPLE))
    assert len(chosen) >= 500
    assert not any(wrongs(trip) for trip in chosen)
    ends = validator("trip/ended.v1")
    assert all(ends.is_valid(dict(trip.end)) for trip in chosen)
    assert len({trip.ride_id for trip in chosen}) == len(chosen)
    assert len({trip.request["pickup"]["borough"] for trip in chosen}) >= 4
    assert {trip.request["color"] for trip in chosen} == {"yellow", "green"}
    assert {trip.request["payment"] for trip in chosen} == {"credit card", "cash"}


@needs_the_whole_file
def test_of_the_whole_file_just_the_flawed_rows_are_refused() -> None:
    """Blank zones, blank payments and distances of zero are refused, each where it is wrong."""
    with WHOLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = list(trips.read_trips(WHOLE))
    assert len(read) == len(rows) == 6433
    expected: Counter[str] = Counter()
    found: Counter[str] = Counter()
    refused = 0
    for row, trip in zip(rows, read, strict=True):
        flaws = {
            "pickup/zone": not row["pickup_zone"],
            "dropoff/zone": not row["dropoff_zone"],
            "pickup/borough": not row["pickup_borough"],
            "dropoff/borough": not row["dropoff_borough"],
            "payment": not row["payment"],
            "distance": float(row["distance"]) == 0,
        }
        expected.update(place for place, flawed in flaws.items() if flawed)
        found.update(wrongs(trip))
        refused += bool(wrongs(trip))
    assert found == expected
    assert refused == 124
    assert len({trip.ride_id for trip in read}) == 6433


@needs_the_whole_file
def test_the_sample_is_chosen_the_same_way_again() -> None:
    """The sample in the tree is what its script makes of the whole file."""
    with WHOLE.open(newline="", encoding="utf-8") as file:
        chosen = choose(list(csv.DictReader(file)))
    with trips.SAMPLE.open(newline="", encoding="utf-8") as file:
        assert chosen == list(csv.DictReader(file))


def test_a_row_has_the_same_id_each_time_and_another_one_elsewhere() -> None:
    """The id is derived from the row's number and content: neither alone makes it."""
    with trips.SAMPLE.open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    ride = trips.trip_of(1, row).ride_id
    assert trips.trip_of(1, row).ride_id == ride
    assert trips.trip_of(2, row).ride_id[-10:] != ride[-10:]
    assert trips.trip_of(1, {**row, "tip": "9.99"}).ride_id != ride


def test_what_is_no_number_is_left_for_the_gateway_to_refuse() -> None:
    """A row that can't be read is passed on as it is, not guessed at and not a crash."""
    with trips.SAMPLE.open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    trip = trips.trip_of(1, {**row, "distance": "far", "tolls": "", "passengers": "x"})
    assert wrongs(trip) == {"distance", "tolls_cents", "passengers"}
    assert wrongs(trips.trip_of(1, {**row, "pickup_zone": "  "})) == {"pickup/zone"}
    assert wrongs(trips.trip_of(1, {**row, "distance": "nan"})) == {"distance"}


def test_a_file_without_the_columns_is_named_as_such(tmp_path: Path) -> None:
    """Another CSV file is refused at once, with what is missing."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has no column pickup"):
        list(trips.read_trips(path))
