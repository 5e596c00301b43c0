"""How each role logs in: a file of settings for each, which only its owner can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from antiphon.broker.plan import User
from bus.addresses import addresses
from contracts.errors import ConfigurationError

__all__ = ["Login", "Logins"]

_URL = "ANTIPHON_AMQP_URL"


def _new_password() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Login:
    """A user and its password; ``broker`` is ``amqp(s)://host:port``, of each node with commas between."""

    user: User
    password: str
    broker: str
    vhost: str

    def environment(self) -> dict[str, str]:
        """The settings of the process that logs in so."""
        urls = ",".join(self._url(urlsplit(node)) for node in addresses(self.broker))
        return {_URL: urls, "ANTIPHON_BROKER": "provisioned"}

    def _url(self, node: SplitResult) -> str:
        login = f"{quote(self.user.name, safe='')}:{self.password}"
        url = f"{node.scheme}://{login}@{node.netloc.rpartition('@')[2]}/{quote(self.vhost, safe='')}"
        return f"{url}?{node.query}" if node.query else url

    def lines(self) -> str:
        """The settings as a file that Compose, systemd and a shell read."""
        return "".join(f"{name}={value}\n" for name, value in self.environment().items())


@dataclass(frozen=True, slots=True)
class Logins:
    """The folder of logins: ``<role>.env`` for each role. None: nothing is kept."""

    folder: Path | None
    make: Callable[[], str] = _new_password

    def known(self, users: Iterable[User], vhost: str) -> dict[str, str]:
        """The passwords that are kept here, by the user's name.

        Raises ConfigurationError, also when one is kept for another vhost.
        """
        found = {user.name: self._read(user, vhost) for user in users}
        return {name: password for name, password in found.items() if password is not None}

    def outdated(self, logins: Iterable[Login]) -> list[Login]:
        """Those of which another address is kept here."""
        return [each for each in logins if self.path(each.user).read_text() != each.lines()]

    def keep(self, logins: Iterable[Login]) -> list[Path]:
        """Write files, before the broker hears of a new password: afterwards it would be lost."""
        written: list[Path] = []
        if self.folder is None:
            return written
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for login in logins:
            path = self.path(login.user)
            new = path.with_name(f".{path.name}.new")
            new.unlink(missing_ok=True)
            # Made with its mode, so that there is no moment in which others can open it.
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(login.lines())
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            written.append(path)
        return written

    def path(self, user: User) -> Path:
        """Where the login is kept. Raises ConfigurationError when nothing is."""
        if self.folder is None:
            raise ConfigurationError("no folder for the logins: give one with --to")
        return self.folder / f"{user.role}.env"

    def _read(self, user: User, vhost: str) -> str | None:
        if self.folder is None or not self.path(user).exists():
            return None
        for line in self.path(user).read_text().splitlines():
            name, _, urls = line.partition("=")
            if name == _URL:
                parts = urlsplit((addresses(urls) or ("",))[0])
                kept_for = unquote(parts.path[1:])
                if unquote(parts.username or "") == user.name and parts.password and kept_for != vhost:
                    raise ConfigurationError(
                        f"{self.path(user)} is the login of the vhost {kept_for!r}, not of {vhost!r}: "
                        "name another folder"
                    )
                if unquote(parts.username or "") == user.name and parts.password:
                    return unquote(parts.password)
        raise ConfigurationError(
            f"{self.path(user)} has no {_URL} of the user {user.name!r}: move it, or name another folder"
        )
