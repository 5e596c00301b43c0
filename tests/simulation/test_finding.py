"""Which simulation is played for an app: the one beside it, wherever the app is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.testing import find_simulation

PACKAGE = {
    "__init__.py": "from {name}.app import app\n",
    "app.py": "from antiphon import App\napp = App('{name}')\n",
    "simulated.py": (
        "from antiphon.testing import Simulation\n"
        "from {name}.app import app\n"
        "simulation = Simulation(app, patience=7.0)\n"
    ),
}


@pytest.mark.parametrize(("name", "where"), [("shop_one", "shop_one.app:app"), ("shop_two", "shop_two:app")])
def test_the_simulation_in_the_package_of_an_app_is_its_own(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the package itself is said to have the app: without it no invariant would be asked."""
    (tmp_path / name).mkdir()
    for file, text in PACKAGE.items():
        (tmp_path / name / file).write_text(text.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    assert find_simulation(where).patience == 7.0
