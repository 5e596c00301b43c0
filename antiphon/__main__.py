"""``python -m antiphon`` is the command ``antiphon``."""

from __future__ import annotations

from antiphon.cli import run

if __name__ == "__main__":
    run()
