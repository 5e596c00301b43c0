"""A real SMTP server that keeps what it is sent, and suppresses copies as mail stores do."""

from __future__ import annotations

import asyncio
import email
import sqlite3
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["Sink"]


MAILBOX = """
CREATE TABLE IF NOT EXISTS mailbox (
    message_id TEXT PRIMARY KEY, recipient TEXT NOT NULL, ride TEXT NOT NULL, about TEXT NOT NULL,
    subject TEXT NOT NULL, copies INTEGER NOT NULL)
"""


class Sink:
    """An SMTP server on a free loopback port, and its mailbox: a file of its own.

    A mail that comes again with the same Message-ID is not delivered again: its copies are counted.
    """

    def __init__(self, mailbox: Path) -> None:
        self._mailbox = sqlite3.connect(mailbox, isolation_level=None)
        self._mailbox.execute("PRAGMA journal_mode = WAL")
        self._mailbox.execute(MAILBOX)
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.BaseTransport] = set()
        self.address = ""  # host:port, once started

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.get_running_loop().create_server(self._greet, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening, and hang up: senders keep their lines open."""
        if self._server is not None:
            self._server.close()
            for line in list(self._lines):
                line.close()
            await self._server.wait_closed()
        self.close()

    def close(self) -> None:
        """Close the mailbox's file."""
        self._mailbox.close()

    def _greet(self) -> SMTP:
        return _Dialogue(self, self._lines)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: keep the mail durably, then say so. What can't be filed is refused."""
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        mail = email.message_from_bytes(raw)
        message_id, ride, about = mail["Message-ID"], mail["X-Ride"], mail["X-Event-Type"]
        if not (message_id and ride and about):
            return "550 5.6.0 wants Message-ID, X-Ride and X-Event-Type"
        # One short commit, in the event loop: nobody else writes to this file.
        self._mailbox.execute(
            "INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (message_id) DO UPDATE SET copies = copies + 1",
            (message_id, envelope.rcpt_tos[0], ride, about, mail["Subject"] or ""),
        )
        return "250 2.0.0 kept"


class _Dialogue(SMTP):
    """One connection; the sink holds on to its transport to be able to hang up."""

    def __init__(self, sink: Sink, lines: set[asyncio.BaseTransport]) -> None:
        super().__init__(sink, enable_SMTPUTF8=True, timeout=3600)
        self._lines = lines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lines.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            self._lines.discard(self.transport)
        super().connection_lost(error)
