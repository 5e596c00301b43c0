"""Puts signatures on the bus of a process, as its settings say."""

from __future__ import annotations

import structlog

from antiphon.keys import DEVELOPMENT, OPERATOR, ROLES, KeyFolder, KeyMaker
from antiphon.settings import Settings
from bus.port import Bus
from bus.signed import SignedBus, Signing
from contracts.errors import ConfigurationError

__all__ = ["operators_bus", "signed_bus"]

log = structlog.get_logger(__name__)


def signed_bus(settings: Settings, bus: Bus, signs_as: str, *, alone: bool) -> Bus:
    """The bus with signatures, or as it is where signing is off.

    ``alone``: this process is the whole house; without a folder of keys it makes a development key, for its
    owner only, and trusts it. Raises ConfigurationError when nothing that it signs would be let in.
    """
    if settings.signing == "off":
        log.warning("signing_off", hint="anything on the bus is believed; see docs/security.md")
        return bus
    service = settings.signing_service or (DEVELOPMENT if alone else signs_as)
    folder = settings.keys_folder
    if alone and settings.keys_dir is None:
        # HMAC: whoever verifies is this very process, and it costs a twentieth of Ed25519.
        KeyMaker(folder).ensure(service, ROLES[DEVELOPMENT](service), hmac=True)
    keys = KeyFolder(folder, service, private=settings.signing_key_file)
    key = keys.signing_key()
    if key is None and settings.signing == "strict":
        raise ConfigurationError(
            f"there is no valid key of {service!r} in {folder}, and nobody would believe what this process "
            "says: make the keys of an app with 'antiphon keys init MODULE:APP', one with 'antiphon keys new "
            f"{service}', or name their folder in ANTIPHON_KEYS_DIR"
        )
    log.info("signing", mode=settings.signing, kid=key.kid if key else None, folder=str(folder))
    # What waits in an embedded bus waits in this house's own file, however long it is switched off.
    freshness = settings.freshness_seconds if settings.amqp_url is not None else 0.0
    return SignedBus(bus, Signing(settings.signing, keys, keys.signing_key, freshness or None))


def operators_bus(settings: Settings, bus: Bus) -> Bus:
    """The bus for a person at a terminal: signs as a hop with the first key here that may.

    Raises ConfigurationError when there is none.
    """
    if settings.signing == "off":
        return bus
    named = (settings.signing_service,) if settings.signing_service else (OPERATOR, "gateway", DEVELOPMENT)
    for service in named:
        keys = KeyFolder(settings.keys_folder, service, private=settings.signing_key_file)
        if keys.signing_key() is not None:
            return SignedBus(bus, Signing(settings.signing, keys, keys.signing_key, None))
    raise ConfigurationError(
        f"there is no valid key of {' or '.join(named)} in {settings.keys_folder}, and what is released "
        "unsigned would be quarantined again: make one with 'antiphon keys new operator'"
    )
