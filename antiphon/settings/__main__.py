"""``python -m antiphon.settings`` prints ``docs/settings.md``."""

from __future__ import annotations

import sys

from antiphon.settings.document import as_markdown

if __name__ == "__main__":
    sys.stdout.write(as_markdown())
