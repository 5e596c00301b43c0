"""The folder of keys: ``keyring.json`` for all who verify, and a private file for each key that signs."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import structlog

from contracts.errors import ConfigurationError
from contracts.keyring import Keyring, SigningKey

__all__ = ["KEYRING", "KeyFolder", "private_name", "read_keyring", "read_private"]

log = structlog.get_logger(__name__)

KEYRING = "keyring.json"
_LOOK = 1.0  # seconds between two looks at the files
_LOOK_AGAIN = 0.2  # seconds, when somebody asks for a key that is not known


def private_name(kid: str) -> str:
    """The name of a key's private file."""
    service, _, epoch = kid.rpartition("/")
    return f"{service}.{epoch}.key"


def read_private(path: Path) -> SigningKey:
    """The key in a private file. Raises ConfigurationError; never tells what is in it."""
    try:
        document = orjson.loads(path.read_bytes())
        secret = base64.b64decode(document["secret"], validate=True)
        return SigningKey(document["kid"], document["algorithm"], secret)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, binascii.Error) as error:
        what = error.strerror if isinstance(error, OSError) else "is no private key of ours"
        raise ConfigurationError(f"{path}: {what}; make one with 'antiphon keys new'") from None


def read_keyring(folder: Path) -> Keyring:
    """The keyring of a folder, with the HMAC secrets that are there; an empty one where there is none.

    Raises ConfigurationError.
    """
    path = folder / KEYRING
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return Keyring()
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path}: can't be read as JSON: {error}") from error
    secrets: dict[str, bytes] = {}
    entries = document.get("keys") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():  # what is none is said below
        if isinstance(entry, dict) and entry.get("algorithm") == "hmac-sha256":
            private = folder / private_name(str(entry.get("kid")))
            if private.is_file():
                secrets[str(entry["kid"])] = read_private(private).secret
    return Keyring.from_json(document, secrets, where=str(path))


class KeyFolder:
    """Reads a folder of keys, and again when it changes, without a restart.

    ``service``: whose key signs in this process. ``private``: its private file where that is elsewhere, such
    as a secret that is mounted. A change that can't be read is logged, and what was known stays. ``clock``
    gives seconds since the epoch, ``monotonic`` seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        service: str,
        *,
        private: Path | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.service = service
        self._private = private
        self._clock = clock
        self._monotonic = monotonic
        self._looked = monotonic()
        self._ring = Keyring()
        self._seen = self._state()
        self._told: tuple[object, ...] | None = None  # the state that was logged as one that can't be read
        self._ring = read_keyring(folder)
        self._signing: SigningKey | None = None
        self._signing = self._choose()

    def keyring(self) -> Keyring:
        """See ``contracts.signing.Keys``."""
        self._look(_LOOK)
        return self._ring

    def look_again(self) -> Keyring:
        """See ``contracts.signing.Keys``."""
        self._look(_LOOK_AGAIN)
        return self._ring

    def signing_key(self) -> SigningKey | None:
        """The newest key of the service that is here, is known to all by now, and may sign."""
        self._look(_LOOK)
        return self._signing

    def _look(self, interval: float) -> None:
        now = self._monotonic()
        if now - self._looked < interval:
            return
        self._looked = now
        state = self._state()
        try:
            if state != self._seen:
                if state[0] is None and self._seen[0] is not None:
                    raise ConfigurationError(f"{self.folder / KEYRING} is gone")
                self._ring = read_keyring(self.folder)
                self._seen = state  # only now: what can't be read may be the same file, let be read later
                log.info("keyring_read", folder=str(self.folder), keys=len(self._ring))
            self._signing = self._choose()
            self._told = None
        except ConfigurationError as error:
            if state != self._told:
                log.error("keyring_not_read", error=str(error), kept=len(self._ring))
            self._told = state

    def _state(self) -> tuple[object, ...]:
        """What changes when the keyring does, a shared secret, or the private file that is elsewhere.

        A secret may come after the keyring that names it, where a folder is copied.
        """
        found: list[object] = []
        shared = [self.folder / private_name(key.kid) for key in self._ring if key.algorithm == "hmac-sha256"]
        for path in (self.folder / KEYRING, self._private, *shared):
            try:
                stat = path.stat() if path is not None else None
            except OSError:
                stat = None
            found.append(stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)

    def _choose(self) -> SigningKey | None:
        now = self._clock()
        if self._private is not None:
            key = read_private(self._private)
            known = self._ring.get(key.kid)
            return key if known is not None and known.standing(now) in ("valid", "absent") else None
        for known in reversed(self._ring.of(self.service)):
            path = self.folder / private_name(known.kid)
            if known.standing(now) == "valid" and known.signs_from <= now and path.is_file():
                mine = self._signing
                return mine if mine is not None and mine.kid == known.kid else read_private(path)
        return None
