"""The ride, as one app: ``antiphon up examples.ride.app:app`` runs all of it in one process."""

from __future__ import annotations

from pathlib import Path

from antiphon import App
from examples.ride.flow import ride
from examples.ride.payments import payments
from examples.ride.reactors import city_stats, driver_earnings, notify, receipts

__all__ = ["app"]

app = App(
    "ride",
    flows=[ride],
    reactors=[notify, receipts, driver_earnings, city_stats],
    services=[payments],
    contracts=Path(__file__).parent / "contracts",
    external=["trip.ended.v1"],  # the drivers' app says so
)
