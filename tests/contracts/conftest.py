"""What tests of contracts share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ride_contracts import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes contracts by file name and gives their folder."""

    def written(**files: Any) -> Path:
        folder = tmp_path / "contracts"
        for name, schema in files.items():
            domain, _, rest = name.partition("__")
            path = folder / domain / f"{rest.replace('__', '.')}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
        return folder

    return written
