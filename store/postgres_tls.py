"""TLS to PostgreSQL: from the parameters that libpq reads in a URL to what asyncpg takes.

asyncpg's own default, ``prefer``, encrypts when the server offers it, verifies nothing, and goes on in the
clear when it does not: a promise of nothing. Here it is all or nothing: ``verify-full`` or ``disable``.
"""

from __future__ import annotations

import ssl
from typing import Literal

from sqlalchemy.engine import URL

from contracts.errors import ConfigurationError

__all__ = ["take_tls"]

_PARAMETERS = ("sslmode", "ssl", "sslrootcert", "sslcert", "sslkey")


def take_tls(url: URL) -> tuple[URL, ssl.SSLContext | Literal[False]]:
    """The URL without its parameters of TLS, and what they say; False is none at all.

    ``sslmode=verify-full`` with ``sslrootcert`` (else the system's CAs), ``sslcert``, ``sslkey``.
    Raises ConfigurationError for a mode that does not verify, and for files that can't be used.
    """
    plain = url.difference_update_query(_PARAMETERS)
    mode, ca = _text(url, "sslmode") or _text(url, "ssl"), _text(url, "sslrootcert")
    if mode == "disable" or (mode is None and ca is None):
        return plain, False
    if mode not in (None, "verify-full"):
        raise ConfigurationError(
            f"the database URL says sslmode={mode}, which does not tell the right server from any other: "
            "write sslmode=verify-full, or sslmode=disable where the way is safe by itself"
        )
    try:
        context = ssl.create_default_context(cafile=None if ca == "system" else ca)
        certificate = _text(url, "sslcert")
        if certificate is not None:
            context.load_cert_chain(certificate, _text(url, "sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the files of TLS in the database URL can't be used: {error}") from error
    return plain, context


def _text(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    return value if value is None or isinstance(value, str) else value[-1]
