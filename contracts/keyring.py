"""Keys: who may say what. A keyring maps a key's id to what verifies it and to its rights.

Ed25519 per service, so that a consumer can't forge a producer; HMAC-SHA256 where all who verify are one trust
domain. The algorithm belongs to the key and is never read from a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from contracts.envelope import timestamp
from contracts.errors import ConfigurationError
from contracts.patterns import Patterns
from contracts.signatures import (
    ALGORITHMS,
    MOST_BYTES,
    SECRET_BYTES,
    Algorithm,
    checker_of,
    public_of,
    signer_of,
)

__all__ = ["ALGORITHMS", "Key", "Keyring", "Rights", "SigningKey", "kid_of"]

_SKEW = 60.0  # seconds by which clocks of two machines may differ
_MOST_SIGNATURE = 4 * ((MOST_BYTES + 2) // 3)  # characters in base64
_FORM = "1"
_TIMES = ("not_before", "not_after", "signs_from", "revoked_at")


def kid_of(service: str, epoch: int) -> str:
    """The id of a service's key; each rotation is a new epoch."""
    return f"{service}/{epoch}"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key may say, as patterns (``contracts.patterns``).

    ``sources``, ``types`` and ``workspaces`` of what it says itself and ``exchanges`` it says it on;
    ``hops``: queues onto which it may put again what others have said (a retry, a redrive, a release).
    """

    sources: Patterns
    types: Patterns
    exchanges: Patterns
    hops: Patterns
    workspaces: Patterns

    @classmethod
    def of(
        cls,
        *,
        sources: Iterable[str] = (),
        types: Iterable[str] = (),
        exchanges: Iterable[str] = (),
        hops: Iterable[str] = (),
        workspaces: Iterable[str] = ("**",),
    ) -> Rights:
        """From lists of patterns."""
        return cls(
            Patterns(sources, "/"),
            Patterns(types, "."),
            Patterns(exchanges, "."),
            Patterns(hops, "."),
            Patterns(workspaces, "/"),
        )

    def as_json(self) -> dict[str, list[str]]:
        """The lists of patterns."""
        return {name: list(getattr(self, name).patterns) for name in self.__slots__}


@dataclass(frozen=True)
class Key:
    """What verifies one key's signatures, and its rights; times in seconds since the epoch.

    ``material`` is the public key, or the secret of an HMAC; None where this process does not have it.
    It signs from ``signs_from`` on, somewhat later than it verifies, so that every verifier knows it by then.
    """

    kid: str
    algorithm: Algorithm
    material: bytes | None = field(repr=False)
    rights: Rights
    not_before: float
    not_after: float | None = None
    signs_from: float = 0.0
    revoked_at: float | None = None

    @property
    def service(self) -> str:
        """Whose key it is."""
        return self.kid.rpartition("/")[0]

    @property
    def epoch(self) -> int:
        """The how-manieth key of its service."""
        return int(self.kid.rpartition("/")[2])

    def standing(self, now: float) -> str:
        """``valid``, ``early``, ``expired``, ``revoked``, or ``absent`` where its secret is not here."""
        if self.revoked_at is not None and now >= self.revoked_at:
            return "revoked"
        if now < self.not_before - _SKEW:
            return "early"
        if self.not_after is not None and now >= self.not_after:
            return "expired"
        return "valid" if self.material is not None else "absent"

    def verifies(self, signature: str, statement: bytes) -> bool:
        """Whether the signature (base64) is this key's, over exactly these bytes."""
        try:
            raw = base64.b64decode(signature, validate=True) if len(signature) <= _MOST_SIGNATURE else b""
        except (binascii.Error, ValueError):
            return False
        return self._check(raw, statement)

    @cached_property
    def _check(self) -> Callable[[bytes, bytes], bool]:
        if self.material is None:
            return lambda signature, statement: False
        return checker_of(self.algorithm, self.material)

    def as_json(self) -> dict[str, Any]:
        """As the file of the keyring has it: never a secret."""
        public = self.material if self.algorithm == "ed25519" else None
        times = {name: getattr(self, name) for name in _TIMES}
        return {
            "kid": self.kid,
            "algorithm": self.algorithm,
            **({"public": base64.b64encode(public).decode()} if public is not None else {}),
            **{name: None if at is None else timestamp(at) for name, at in times.items()},
            **self.rights.as_json(),
        }


@dataclass(frozen=True)
class SigningKey:
    """What makes one key's signatures: an Ed25519 seed, or an HMAC secret, of 32 bytes."""

    kid: str
    algorithm: Algorithm
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ConfigurationError(
                f"the secret of key {self.kid!r} has {len(self.secret)} bytes, not {SECRET_BYTES}"
            )

    @property
    def shares(self) -> bool:
        """Whether signing many statements together is cheaper, here and for those who verify."""
        return self.algorithm == "ed25519"

    def sign(self, *statements: bytes) -> list[str]:
        """The signature over each of these, in base64."""
        return [base64.b64encode(signature).decode() for signature in self._sign(statements)]

    def public(self) -> bytes:
        """What verifies: the public key, or the secret of an HMAC."""
        return public_of(self.algorithm, self.secret)

    @cached_property
    def _sign(self) -> Callable[[Sequence[bytes]], list[bytes]]:
        return signer_of(self.algorithm, self.secret)


class Keyring:
    """Keys by their ids."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.kid: key for key in keys}

    def __iter__(self) -> Any:
        return iter(sorted(self._keys.values(), key=lambda key: (key.service, key.epoch)))

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, kid: str) -> Key | None:
        """The key of that id."""
        return self._keys.get(kid)

    def of(self, service: str) -> list[Key]:
        """The keys of a service, oldest first."""
        return [key for key in self if key.service == service]

    def with_key(self, key: Key) -> Keyring:
        """A keyring that has this key, instead of the one of the same id."""
        return Keyring([*(other for other in self if other.kid != key.kid), key])

    def as_json(self) -> dict[str, Any]:
        """The document that ``from_json`` reads."""
        return {"version": _FORM, "keys": [key.as_json() for key in self]}

    @classmethod
    def from_json(cls, document: Any, secrets: Mapping[str, bytes], where: str = "keyring.json") -> Keyring:
        """A keyring from its document and the secrets of the HMAC keys that are here, by id.

        Raises ConfigurationError for whatever is not as it must be: a typing error gives nobody rights.
        """
        if not isinstance(document, dict) or document.get("version") != _FORM:
            raise ConfigurationError(f"{where}: this is no keyring of version {_FORM}")
        entries = document.get("keys", [])
        if not isinstance(entries, list):
            raise ConfigurationError(f"{where}: 'keys' is no list of keys")
        keys = [_read_key(entry, secrets, where) for entry in entries]
        if len({key.kid for key in keys}) != len(keys):
            raise ConfigurationError(f"{where}: two keys have the same kid; each has an id of its own")
        return cls(keys)


def _read_key(entry: Any, secrets: Mapping[str, bytes], where: str) -> Key:
    rights = tuple(Rights.__slots__)
    try:
        kid, algorithm = entry["kid"], entry["algorithm"]
        service, _, epoch = kid.rpartition("/")
        if algorithm not in ALGORITHMS or not service or not epoch.isdecimal():
            raise ValueError("kid is 'service/epoch', algorithm one of " + ", ".join(ALGORITHMS))
        unknown = set(entry) - {"kid", "algorithm", "public", *_TIMES, *rights}
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        for name in rights:
            if not isinstance(entry[name], list) or not all(isinstance(one, str) for one in entry[name]):
                raise ValueError(f"{name} is no list of texts")
        material = secrets.get(kid)
        if algorithm == "ed25519":
            material = base64.b64decode(entry["public"], validate=True)
            checker_of(algorithm, material)  # or it is no key
        return Key(
            kid,
            algorithm,
            material,
            Rights.of(**{name: entry[name] for name in rights}),
            not_before=_seconds(entry["not_before"]) or 0.0,
            not_after=_seconds(entry.get("not_after")),
            signs_from=_seconds(entry.get("signs_from")) or 0.0,
            revoked_at=_seconds(entry.get("revoked_at")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        kid = entry.get("kid") if isinstance(entry, dict) else entry
        raise ConfigurationError(f"{where}: key {kid!r}: {type(error).__name__}: {error}") from error


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
