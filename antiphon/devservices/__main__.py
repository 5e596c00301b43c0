"""``python -m antiphon.devservices``: start all three, print their settings, keep them until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.together import DevServices


def main() -> int:
    """Print ``export NAME=value`` lines on stdout, wait for SIGINT or SIGTERM. Exit code 1: unavailable."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with DevServices() as services:
        try:
            settings = services.settings()
        except ServiceUnavailable as reason:
            sys.stderr.write(f"{reason}\n")
            return 1
        sys.stdout.write("".join(f"export {name}={value}\n" for name, value in settings.items()))
        sys.stdout.flush()
        sys.stderr.write("Running until Ctrl-C; what they hold goes then.\n")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
