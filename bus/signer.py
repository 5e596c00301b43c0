"""Signs what a process publishes: at once, or together with all else that it publishes in this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from copy import copy

from bus.port import Message, Outgoing
from contracts.errors import ConfigurationError
from contracts.keyring import Key, SigningKey
from contracts.signing import SIGNATURE, Keys, Sealed, about_to_be_signed

__all__ = ["Signer"]

Headers = dict[str, str | int]


class Signer:
    """``permit`` raises ForgedMessage for what a key may not say; ``clock`` gives seconds since the epoch.

    What nobody would take is refused here, where the mistake is, and not in the quarantine of others.
    """

    def __init__(
        self, keys: Keys, *, permit: Callable[[Key, Sealed], None] | None, clock: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._permit = permit
        self._clock = clock
        self._asked: dict[SigningKey, list[tuple[list[bytes], asyncio.Future[list[str]]]]] = {}

    def sign(self, outgoing: Sequence[Outgoing], key: SigningKey) -> list[Outgoing]:
        """The same, signed. Raises ForgedMessage, MalformedMessage and ConfigurationError."""
        headers, statements = self._prepared(outgoing, key)
        return _with(outgoing, headers, key.sign(*statements))

    async def sign_together(self, outgoing: Sequence[Outgoing], key: SigningKey) -> list[Outgoing]:
        """The same, with one signature for all that is asked for until the event loop comes round."""
        if not key.shares:
            return self.sign(outgoing, key)
        headers, statements = self._prepared(outgoing, key)
        loop = asyncio.get_running_loop()
        if key not in self._asked:
            self._asked[key] = []
            loop.call_soon(self._answer, key)
        signatures: asyncio.Future[list[str]] = loop.create_future()
        self._asked[key].append((statements, signatures))
        return _with(outgoing, headers, await signatures)

    def _answer(self, key: SigningKey) -> None:
        asked = [(statements, answer) for statements, answer in self._asked.pop(key) if not answer.done()]
        try:
            signatures = iter(key.sign(*(one for statements, _ in asked for one in statements)))
        except Exception as error:
            for _, answer in asked:
                answer.set_exception(copy(error))
            return
        for statements, answer in asked:
            answer.set_result([next(signatures) for _ in statements])

    def _prepared(self, outgoing: Sequence[Outgoing], key: SigningKey) -> tuple[list[Headers], list[bytes]]:
        known = self._keys.keyring().get(key.kid)
        if known is None:
            raise ConfigurationError(f"this process signs with {key.kid!r}, which is not in the keyring")
        now = self._clock()
        headers, statements = list[Headers](), list[bytes]()
        for out in outgoing:
            message = out.message
            sealed = Sealed(
                message.headers, message.body, message.content_type, out.exchange, out.routing_key
            )
            if self._permit is not None:
                self._permit(known, sealed)
            its, statement = about_to_be_signed(sealed, key.kid, now)
            headers.append(its)
            statements.append(statement)
        return headers, statements


def _with(
    outgoing: Sequence[Outgoing], headers: Iterable[Headers], signatures: Iterable[str]
) -> list[Outgoing]:
    return [
        Outgoing(
            Message(
                out.message.id, out.message.body, out.message.content_type, {**its, SIGNATURE: signature}
            ),
            out.routing_key,
            out.exchange,
            out.delay,
            out.mandatory,
        )
        for out, its, signature in zip(outgoing, headers, signatures, strict=True)
    ]
