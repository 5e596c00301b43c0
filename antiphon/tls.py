"""TLS to the broker, the store and Redis: the settings put into the URLs, in the form that each client reads.

Each adapter verifies certificate and host name, and refuses a URL that would switch that off.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from antiphon.settings import Settings
from bus.addresses import addresses
from contracts.errors import ConfigurationError

__all__ = ["amqp_url", "database_url", "redis_url", "tls_context"]


def amqp_url(settings: Settings) -> str | None:
    """The broker's URL, or its nodes'; with ``cafile``, ``certfile`` and ``keyfile`` where it is amqps."""
    files = {"cafile": settings.tls_ca, "certfile": settings.tls_cert, "keyfile": settings.tls_key}
    nodes = addresses(settings.amqp_url or "")
    return ",".join(_with(url, **files) if urlsplit(url).scheme == "amqps" else url for url in nodes) or None


def database_url(settings: Settings) -> str:
    """The store's URL; with a CA PostgreSQL is verified in full, unless its URL says ``sslmode=disable``."""
    url = settings.database_url
    query = dict(parse_qsl(urlsplit(url).query))
    asked = query.get("sslmode")
    if not url.startswith("postgresql") or asked == "disable" or (asked is None and settings.tls_ca is None):
        return url
    if asked is None:
        url = _with(url, sslmode="verify-full")
    return _with(url, sslrootcert=settings.tls_ca, sslcert=settings.tls_cert, sslkey=settings.tls_key)


def redis_url(settings: Settings) -> str | None:
    """Redis' URL; with ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` where it is rediss."""
    url = settings.redis_url
    if url is None or urlsplit(url).scheme != "rediss":
        return url
    return _with(
        url, ssl_ca_certs=settings.tls_ca, ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key
    )


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """For HTTPS from here; None is what the system trusts. Raises ConfigurationError."""
    if settings.tls_ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the files of TLS can't be used: {error}") from error
    return context


def _with(url: str, **parameters: Path | str | None) -> str:
    """The URL with what it does not say itself."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    more = {name: str(value) for name, value in parameters.items() if value is not None and name not in query}
    return parts._replace(query=urlencode({**query, **more}, quote_via=quote)).geturl()
