"""Signatures over messages: who says this, to whom, and that nothing was changed on the way.

What is signed is the bytes, not a re-serialisation. The pre-authentication encoding is that of DSSE
(its protocol.md, "PAE"): ``DSSEv1 LEN(type) type LEN(block) block``. The block has, each text
in UTF-8 behind its length as eight bytes, big-endian: the exchange, the routing key and the content type; how
many names follow (eight bytes); each name and its value, sorted by the bytes of the name; then the 32 bytes
of SHA-256 over the body. The names are all CloudEvents attributes, as ``cloudEvents:<name>``, and all headers
that begin with ``x-antiphon-`` but the signature itself: an attribute that is absent is not one that is
empty, and none can be added, left out or moved.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Protocol

from contracts.envelope import BINARY_PREFIX, Event, is_structured, read_attributes
from contracts.errors import ForgedMessage, MalformedMessage
from contracts.keyring import Key, Keyring
from contracts.record import record
from contracts.signatures import pae

__all__ = [
    "KID",
    "ORIGIN_EXCHANGE",
    "ORIGIN_HEADERS",
    "ORIGIN_KID",
    "ORIGIN_ROUTING_KEY",
    "ORIGIN_SIGNATURE",
    "ORIGIN_SIGNED_AT",
    "SIGNATURE",
    "SIGNED_AT",
    "SIGNING_HEADERS",
    "Keys",
    "Sealed",
    "Verifier",
    "about_to_be_signed",
]

PAYLOAD_TYPE = "application/vnd.antiphon.message.v1"
OURS = "x-antiphon-"
KID = "x-antiphon-kid"
SIGNED_AT = "x-antiphon-signed-at"  # milliseconds since the epoch, in decimal
SIGNATURE = "x-antiphon-signature"  # base64
# What a hop keeps of the first signature, so that the origin can still be verified and shown.
ORIGIN_KID = "x-antiphon-origin-kid"
ORIGIN_SIGNED_AT = "x-antiphon-origin-signed-at"
ORIGIN_SIGNATURE = "x-antiphon-origin-signature"
ORIGIN_EXCHANGE = "x-antiphon-origin-exchange"
ORIGIN_ROUTING_KEY = "x-antiphon-origin-routing-key"
SIGNING_HEADERS = (KID, SIGNED_AT, SIGNATURE)
ORIGIN_HEADERS = (ORIGIN_KID, ORIGIN_SIGNED_AT, ORIGIN_SIGNATURE, ORIGIN_EXCHANGE, ORIGIN_ROUTING_KEY)

_AHEAD = 300.0  # seconds that a signer's clock may be ahead of ours


_LENGTH = struct.Struct(">Q").pack


def _counted(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return _LENGTH(len(raw)) + raw


# What is the same in message after message.
_counted_name = lru_cache(1_000)(_counted)
_FEW = 32  # names; what has more is nothing that is said again and again, and need not be kept


def _in_order(attributes: tuple[str, ...], ours: tuple[str, ...]) -> list[tuple[int, bytes]]:
    """The names that are signed, in their order: where each one's value is among both, and its bytes."""
    names = [*(BINARY_PREFIX + name for name in attributes), *ours]
    return [(names.index(name), _counted(name)) for name in sorted(names)]


_few_in_order = lru_cache(1_000)(_in_order)


@record(slots=False)
class Sealed:
    """A message and the way that it took. An empty ``exchange`` leads to the queue that the key names."""

    headers: Mapping[str, str | int]
    body: bytes
    content_type: str
    exchange: str
    routing_key: str

    @cached_property
    def attributes(self) -> Mapping[str, str]:
        """The CloudEvents attributes in the headers. Raises MalformedMessage."""
        return read_attributes(self.headers)

    @property
    def read(self) -> Mapping[str, str] | None:
        """``attributes``, if they were asked for and could be read: who lets through what is not well signed
        must not be the one to find out that nobody can read it."""
        return self.__dict__.get("attributes")

    def statement(self, attributes: Mapping[str, str]) -> bytes:
        """What is signed, of these attributes."""
        ours = {name: value for name, value in self.headers.items() if name.startswith(OURS)}
        ours.pop(SIGNATURE, None)
        values = [*attributes.values(), *map(str, ours.values())]
        parts = [_counted_name(self.exchange), _counted(self.routing_key), _counted_name(self.content_type)]
        parts.append(_LENGTH(len(values)))
        in_order = _few_in_order if len(values) <= _FEW else _in_order
        for index, counted in in_order(tuple(attributes), tuple(ours)):
            raw = values[index].encode("utf-8", "surrogatepass")
            parts += (counted, _LENGTH(len(raw)), raw)
        parts.append(hashlib.sha256(self.body).digest())
        return pae(PAYLOAD_TYPE, b"".join(parts))

    def origin(self) -> Sealed | None:
        """The message as its source had signed it, before any hop; None when no hop says so."""
        if ORIGIN_KID not in self.headers or ORIGIN_EXCHANGE not in self.headers:
            return None
        headers = {name: value for name, value in self.headers.items() if not name.startswith(OURS)}
        headers[KID] = self.headers[ORIGIN_KID]
        headers[SIGNED_AT] = self.headers.get(ORIGIN_SIGNED_AT, "")
        headers[SIGNATURE] = self.headers.get(ORIGIN_SIGNATURE, "")
        exchange, key = str(self.headers[ORIGIN_EXCHANGE]), str(self.headers.get(ORIGIN_ROUTING_KEY, ""))
        return Sealed(headers, self.body, self.content_type, exchange, key)


class Keys(Protocol):
    """Where the keyring of the moment comes from."""

    def keyring(self) -> Keyring:
        """The keyring as it is known now."""
        ...

    def look_again(self) -> Keyring:
        """The keyring, read afresh if that was not just done: a key may be new."""
        ...


def about_to_be_signed(sealed: Sealed, kid: str, now: float) -> tuple[dict[str, str | int], bytes]:
    """The headers as the key ``kid`` signs them, and what is signed; ``now`` in seconds since the epoch.

    With an empty exchange it is a hop: the first signature is kept beside it. Raises MalformedMessage.
    """
    headers = dict(sealed.headers)
    before = {name: headers.pop(name) for name in SIGNING_HEADERS if name in headers}
    if sealed.exchange:
        for name in ORIGIN_HEADERS:
            headers.pop(name, None)
    elif ORIGIN_KID not in headers and len(before) == len(SIGNING_HEADERS):
        for name, value in before.items():
            headers[name.replace(OURS, f"{OURS}origin-")] = value
    headers[KID] = kid
    headers[SIGNED_AT] = str(int(now * 1000))
    fresh = Sealed(headers, sealed.body, sealed.content_type, sealed.exchange, sealed.routing_key)
    return headers, fresh.statement(sealed.attributes)


class Verifier:
    """Says whether a message may be handled, and why not.

    ``misrouted(exchange, routing_key, type)`` says what is wrong with a way, or None. ``freshness``: seconds
    that a message may be old when it is handed out for the first time; None is any age. ``clock`` gives
    seconds since the epoch.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        misrouted: Callable[[str, str, str], str | None],
        freshness: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._misrouted = misrouted
        self._freshness = freshness
        self._clock = clock

    def verify(self, sealed: Sealed, *, first: bool) -> Key:
        """The key that signed it, when it may say this here. ``first``: it was not handed out before.

        Raises ForgedMessage, and MalformedMessage when the bytes are well signed and no CloudEvent.
        """
        now = self._clock()
        key = self._signer(sealed, now)
        self.permit(key, sealed)
        if first and sealed.exchange and self._freshness is not None:
            self._check_age(sealed, now, self._freshness)
        return key

    def origin(self, sealed: Sealed) -> Key | None:
        """The key of the source, below the hops; None when there is none. Raises ForgedMessage."""
        first = sealed.origin()
        if first is None:
            return None
        key = self._signer(first, self._clock())
        self.permit(key, first)
        return key

    def permit(self, key: Key, sealed: Sealed) -> None:
        """Whether this key may say this here. Raises ForgedMessage and MalformedMessage."""
        rights, kid = key.rights, key.kid
        if not sealed.exchange:
            if not rights.hops.allow(sealed.routing_key):
                raise ForgedMessage(
                    "wrong-routing", f"key {kid!r} may put nothing straight on queue {sealed.routing_key!r}"
                )
            return
        source, type, workspace = _said(sealed)
        if not rights.sources.allow(source):
            raise ForgedMessage("wrong-source", f"key {kid!r} may not speak as {source!r}")
        if not rights.workspaces.allow(workspace):
            raise ForgedMessage("wrong-source", f"key {kid!r} may not speak in workspace {workspace!r}")
        if not rights.types.allow(type):
            raise ForgedMessage("wrong-type", f"key {kid!r} may not say {type!r}")
        if not rights.exchanges.allow(sealed.exchange):
            raise ForgedMessage("wrong-routing", f"key {kid!r} may not publish to {sealed.exchange!r}")
        wrong = self._misrouted(sealed.exchange, sealed.routing_key, type)
        if wrong is not None:
            raise ForgedMessage("wrong-routing", wrong)

    def _signer(self, sealed: Sealed, now: float) -> Key:
        kid, signature = sealed.headers.get(KID), sealed.headers.get(SIGNATURE)
        if not kid or not signature:
            raise ForgedMessage("unsigned", "the message carries no signature; see docs/security.md")
        key = self._keys.keyring().get(str(kid)) or self._keys.look_again().get(str(kid))
        if key is None:
            raise ForgedMessage("unknown-key", f"no key {str(kid)[:80]!r} is in the keyring here")
        standing = key.standing(now)
        if standing != "valid":
            raise ForgedMessage(_NOT_VALID[standing][0], f"key {key.kid!r} {_NOT_VALID[standing][1]}")
        try:
            holds = key.verifies(str(signature), sealed.statement(sealed.attributes))
        except MalformedMessage as error:
            raise ForgedMessage("bad-signature", f"nobody can have signed this: {error}") from error
        if not holds:
            raise ForgedMessage(
                "bad-signature",
                f"this is not what key {key.kid!r} signed: an attribute, the body or the way was changed",
            )
        return key

    def _check_age(self, sealed: Sealed, now: float, freshness: float) -> None:
        text = str(sealed.headers.get(SIGNED_AT, ""))
        if not (text.isascii() and text.isdecimal() and len(text) < 20):
            raise ForgedMessage("stale", f"the message does not say in {SIGNED_AT} when it was signed")
        age = now - int(text) / 1000
        if age > freshness:
            raise ForgedMessage(
                "stale",
                f"it was signed {age:.0f} s before it was first handed out; {freshness:.0f} are let in",
            )
        if age < -_AHEAD:
            raise ForgedMessage("stale", f"it was signed {-age:.0f} s from now: a clock is wrong")


_NOT_VALID = {
    "revoked": ("revoked-key", "was revoked"),
    "early": ("expired-key", "is not valid yet"),
    "expired": ("expired-key", "is not valid any more"),
    "absent": ("unknown-key", "is an HMAC key whose secret is not here"),
}


def _said(sealed: Sealed) -> tuple[str, str, str]:
    """Source, type and workspace. Read after the signature was found to hold."""
    if is_structured(sealed.content_type):
        event = Event.read(sealed.headers, sealed.body, sealed.content_type)
        return event.source, event.type, event.workspace
    attributes = sealed.attributes
    return attributes.get("source", ""), attributes.get("type", ""), attributes.get("workspace", "")
