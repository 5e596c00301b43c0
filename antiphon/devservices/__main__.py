"""``python -m antiphon.devservices``: start all three, print their settings, keep them until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.together import DevServices

__all__ = ["main"]


def main() -> int:
    """Print ``export NAME=value`` lines on stdout, then wait for SIGINT or SIGTERM.

    The exit code is 0 when all were there, 1 when one can't be had (the reason is on stderr).
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with DevServices() as services:
            settings = services.settings()
            sys.stdout.write("".join(f"export {name}={value}\n" for name, value in settings.items()))
            sys.stdout.flush()
            sys.stderr.write("Running until Ctrl-C; what they hold goes then.\n")
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0
    except ServiceUnavailable as reason:
        sys.stderr.write(f"{reason}\n")
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
