"""RabbitMQ's management API: its definitions, read and imported."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import unquote

import httpx

from bus.addresses import parts_of
from contracts.errors import BusUnavailable, ConfigurationError

__all__ = ["Management"]

_TIMEOUT = 60.0  # seconds; an import waits for every queue to have a leader


class Management:
    """``url`` is ``http://user:password@host:15672`` or https, of a user with the tag administrator.

    ``tls``: how a certificate is verified; None is what the system trusts.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = parts_of(url)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("the management API's URL is like http://user:password@host:15672")
        self.host = parts.hostname
        netloc = parts.netloc.rpartition("@")[2]
        self._base = f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"
        self._auth = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        self._tls = tls if tls is not None else ssl.create_default_context()

    def definitions(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that the broker has. Raises ConfigurationError, BusUnavailable."""
        try:
            found = self._call("GET").json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(
                f"what answers at {self._base} is not RabbitMQ's management API: its definitions are no JSON "
                "object; is the URL right?"
            )
        definitions: dict[str, list[dict[str, Any]]] = found
        return definitions

    def bring(self, definitions: dict[str, list[dict[str, Any]]]) -> None:
        """Import definitions; what is there and not among them stays. Raises as ``definitions`` does."""
        self._call("POST", definitions)

    def _call(self, method: str, body: Any = None) -> httpx.Response:
        where = f"{self._base}/api/definitions"
        try:
            with httpx.Client(auth=self._auth, timeout=_TIMEOUT, verify=self._tls) as client:
                answer = client.request(method, where, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BusUnavailable(
                f"RabbitMQ's management API at {self._base} does not answer: {error}; is the plugin "
                "rabbitmq_management enabled, and is the URL right?"
            ) from error
        if answer.status_code in (401, 403):
            raise ConfigurationError(
                f"RabbitMQ's management API at {self._base} refuses the user {self._auth[0]!r}: "
                "it must have the tag administrator"
            )
        if not answer.is_success:  # a redirection has brought nothing
            raise ConfigurationError(
                f"RabbitMQ's management API answered {answer.status_code} to {method} {where}: "
                f"{answer.text[:500]}"
            )
        return answer
