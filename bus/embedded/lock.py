"""Only one process may use an embedded bus: the lock on the file beside its database."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from contracts.errors import ConfigurationError

__all__ = ["FileLock"]


class FileLock:
    """An advisory lock (flock) that ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises ConfigurationError when another process, or another bus in this one, has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigurationError(
                f"the embedded bus in {self._path.with_suffix('')} is used by another process (pid {owner}); "
                "stop that one, or use RabbitMQ (ANTIPHON_AMQP_URL) to share a bus between processes"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one have it. The file stays: removing it would race with the next taker."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
