"""The services' books for the tests of the ride: empty, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.ride.demo.sink import Sink
from examples.ride.ledger import LEDGER_VARIABLE, Ledger, ledger


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv(LEDGER_VARIABLE, str(tmp_path / "ledger.sqlite"))
    ledger.cache_clear()
    opened = ledger()
    Sink(tmp_path / "mailbox.sqlite").close()  # an empty mailbox
    yield opened
    opened.close()
    ledger.cache_clear()
