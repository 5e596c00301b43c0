"""What the tests of simulations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.ride import ledger, mail


@pytest.fixture(autouse=True)
def _no_books_in_memory_afterwards() -> Iterator[None]:
    """The ride's services go back to their file and their mail server."""
    yield
    ledger.use(None)
    mail.use(None)
