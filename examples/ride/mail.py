"""Mail to riders, over real SMTP.

SMTP is at-least-once: a server that took the message and then lost the line leaves the sender in
doubt, and the sender has to send again. What makes that one message to the rider is its
``Message-ID``: it is derived from the reaction's key, so it is the same each time, and mail stores
suppress a second copy by it (Cyrus and Gmail do; so does the demo's sink, which counts the copies
it suppressed).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from email.message import EmailMessage
from typing import Protocol

import aiosmtplib

from antiphon import Retryable, Terminal

__all__ = ["SMTP_VARIABLE", "Carrier", "Postman", "message_id", "postman", "use"]

SMTP_VARIABLE = "RIDE_SMTP"  # host:port


def message_id(key: str) -> str:
    """The Message-ID (RFC 5322 §3.6.4) of the mail that belongs to an idempotency key."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@ride.example>"


class Postman:
    """Sends mail to one SMTP server, over up to ``lines`` connections that are kept while they last."""

    def __init__(self, host: str, port: int, *, lines: int = 8, timeout: float = 10.0) -> None:
        self._host = host
        self._port = port
        self._timeout = timeout
        self._turns = asyncio.Semaphore(lines)
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, mail: EmailMessage) -> None:
        """Hand ``mail`` to the server; returns when the server has answered that it is kept.

        Raises Terminal (code ``mail_refused``) when the server refuses for good (5xx), Retryable for
        everything else: a 4xx, no server, or a line that broke, after which nobody knows.
        """
        async with self._turns:
            line = self._idle.pop() if self._idle else self._new_line()
            try:
                if not line.is_connected:
                    await line.connect()
                await line.send_message(mail)
            except aiosmtplib.SMTPRecipientsRefused as error:
                line.close()
                raise _refusal([refused.code for refused in error.recipients], error) from error
            except aiosmtplib.SMTPResponseException as error:
                line.close()
                raise _refusal([error.code], error) from error
            except (aiosmtplib.SMTPException, OSError) as error:
                line.close()
                raise Retryable(f"no answer from {self._host}:{self._port}: {error}") from error
            except BaseException:
                # Cancelled half way through a dialogue: what the line would answer next is unknown.
                line.close()
                raise
            self._idle.append(line)

    def _new_line(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(hostname=self._host, port=self._port, timeout=self._timeout, start_tls=False)


def _refusal(codes: list[int], error: Exception) -> Retryable | Terminal:
    if codes and all(code >= 500 for code in codes):
        return Terminal(f"the mail server refused it: {error}", code="mail_refused")
    return Retryable(f"the mail server asks to try again: {error}")


class Carrier(Protocol):
    """Who takes a mail to its rider."""

    async def send(self, mail: EmailMessage) -> None:
        """See ``Postman.send``."""
        ...


_chosen: list[Carrier] = []


def use(carrier: Carrier | None) -> None:
    """Let ``postman()`` be this one from now on, a simulation's, say; None is the one of the environment."""
    _chosen[:] = [] if carrier is None else [carrier]
    postman.cache_clear()


@functools.cache
def postman() -> Carrier:
    """This process's way to the mail server; the environment says where that is."""
    if _chosen:
        return _chosen[0]
    host, _, port = os.environ.get(SMTP_VARIABLE, "127.0.0.1:1025").rpartition(":")
    return Postman(host or "127.0.0.1", int(port))
