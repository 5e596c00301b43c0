"""Errors that are raised on purpose are told in a line, not as a traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from contracts.errors import AntiphonError, ConfigurationError

__all__ = ["Told"]


class Told(click.Group):
    """A group whose commands end with 2 for what is set up wrong, and 1 for what went wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AntiphonError as error:
            for line in str(error).splitlines():
                click.echo(f"antiphon: {line}", err=True)
            sys.exit(2 if isinstance(error, ConfigurationError) else 1)
        except OSError as error:
            if error.filename is None:
                raise  # nothing that whoever runs the command could do about it
            click.echo(f"antiphon: {error.filename}: {error.strerror}", err=True)
            sys.exit(2)
