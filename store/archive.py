"""The archive: what leaves the store, as JSON lines in files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import ArchiveFailed

__all__ = ["Archive"]

_PARTIAL = ".partial"
_LEFT_OVER = 3_600.0  # s: a half-written file of that age has nobody who writes it any more


class Archive:
    """A folder with one folder for each day (UTC), and in it one file for each batch.

    ``clock`` gives seconds since the epoch; ``random_id`` keeps names of two processes apart. Every method
    blocks; an async caller runs it in a thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        random_id: Callable[[], str],
        compress: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._random_id = random_id
        self._compress = compress
        self._clock = clock

    def keep(self, kind: str, lines: Iterable[bytes]) -> Path:
        """Write a file of these lines; when this returns it is on disk, under its name.

        Raises ArchiveFailed: then there is no such file.
        """
        at = datetime.fromtimestamp(self._clock(), UTC)
        day = self.folder / at.strftime("%Y-%m-%d")
        ending = ".jsonl.gz" if self._compress else ".jsonl"
        path = day / f"{kind}-{at.strftime('%H%M%S.%f')}-{self._random_id()}{ending}"
        partial = path.with_name(path.name + _PARTIAL)
        data = b"".join(line + b"\n" for line in lines)
        try:
            for folder in (self.folder, day):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    _sync(folder.parent)
            with partial.open("wb") as file:
                file.writelines([gzip.compress(data) if self._compress else data])
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            _sync(day)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise ArchiveFailed(
                f"the archive can't be written to {day}: {error}; nothing was purged"
            ) from error
        return path

    def tidy(self) -> None:
        """Remove what a process that died left half written; its rows are still in the store."""
        now = self._clock()
        for path in self.folder.glob(f"*/*{_PARTIAL}"):
            with contextlib.suppress(OSError):  # another process was faster
                if now - path.stat().st_mtime > _LEFT_OVER:
                    path.unlink()

    def size(self) -> tuple[int, int]:
        """How many files there are, and their bytes together."""
        files = [path.stat().st_size for path in self.folder.glob("*/*.jsonl*") if path.suffix != _PARTIAL]
        return len(files), sum(files)


def _sync(folder: Path) -> None:
    """Make a name in a folder durable: fsync of the file alone does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
