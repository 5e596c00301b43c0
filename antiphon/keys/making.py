"""Makes, rotates and revokes keys in a folder."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import orjson

from antiphon.keys.folder import KEYRING, private_name, read_keyring, read_private
from contracts.errors import ConfigurationError
from contracts.keyring import ALGORITHMS, Key, Keyring, Rights, SigningKey, kid_of

__all__ = ["KeyMaker"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class KeyMaker:
    """Writes a folder of keys. Every change is one rename, so that no reader sees half of it.

    ``clock`` gives seconds since the epoch, ``random`` that many random bytes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._random = random

    def list(self) -> list[Key]:
        """Every key, by service and epoch. Raises ConfigurationError."""
        return list(read_keyring(self._folder))

    def new(self, service: str, rights: Rights, *, hmac: bool = False) -> Key:
        """A service's first key. Raises ConfigurationError when it has one."""
        if not _NAME.fullmatch(service):
            raise ConfigurationError(
                f"{service!r} is no name of a key's service: up to 63 of a-z, 0-9, - and _, a letter first"
            )
        with self._changing() as ring:
            if ring.of(service):
                raise ConfigurationError(f"{service!r} has a key; a new one for it is 'antiphon keys rotate'")
            return self._add(ring, service, 1, rights, hmac=hmac, signs_from=self._clock())

    def ensure(self, service: str, rights: Rights, *, hmac: bool = False) -> Key:
        """A service's key: the newest that it has, else a new one."""
        there = read_keyring(self._folder).of(service)
        return there[-1] if there else self.new(service, rights, hmac=hmac)

    def rotate(self, service: str, *, overlap: float, activate_in: float) -> Key:
        """The next epoch's key, with the same rights; times in seconds.

        It signs after ``activate_in``, when every process has read the keyring; keys before it verify for
        ``overlap`` more. Raises ConfigurationError when the service has no key.
        """
        with self._changing() as ring:
            before = ring.of(service)
            if not before:
                raise ConfigurationError(
                    f"{service!r} has no key to rotate; make one with 'antiphon keys new'"
                )
            now = self._clock()
            last = before[-1]
            for key in before:
                ends = now + activate_in + overlap
                ring = ring.with_key(replace(key, not_after=min(key.not_after or ends, ends)))
            return self._add(
                ring,
                service,
                last.epoch + 1,
                last.rights,
                hmac=last.algorithm == "hmac-sha256",
                signs_from=now + activate_in,
            )

    def revoke(self, kid: str) -> Key:
        """Nothing that this key has signed counts from now on. Raises ConfigurationError."""
        with self._changing() as ring:
            key = ring.get(kid)
            if key is None:
                known = ", ".join(each.kid for each in ring) or "none"
                raise ConfigurationError(f"there is no key {kid!r}; there are: {known}")
            if key.revoked_at is None:
                key = replace(key, revoked_at=self._clock())
                self._write(ring.with_key(key))
            return key

    def _add(
        self, ring: Keyring, service: str, epoch: int, rights: Rights, *, hmac: bool, signs_from: float
    ) -> Key:
        algorithm = ALGORITHMS[1] if hmac else ALGORITHMS[0]
        private = SigningKey(kid_of(service, epoch), algorithm, self._random(32))
        key = Key(
            private.kid,
            algorithm,
            private.public(),
            rights,
            not_before=self._clock(),
            signs_from=signs_from,
        )
        self._write_private(private)  # first, so that a key in the keyring can always sign
        self._write(ring.with_key(key))
        return key

    def _write_private(self, key: SigningKey) -> None:
        path = self._folder / private_name(key.kid)
        document = {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "secret": base64.b64encode(key.secret).decode(),
        }
        path.unlink(missing_ok=True)  # left by a run that ended before it wrote the keyring
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(document) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        read_private(path)

    def _write(self, ring: Keyring) -> None:
        path = self._folder / KEYRING
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(orjson.dumps(ring.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    @contextmanager
    def _changing(self) -> Iterator[Keyring]:
        """The keyring, while nobody else changes it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self._folder}: keys can't be written here: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield read_keyring(self._folder)
        finally:
            os.close(descriptor)
