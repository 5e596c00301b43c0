"""Every setting of every role: one frozen model, read from ``ANTIPHON_*`` variables."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from antiphon.settings.words import PREFIX, in_words, shown, unknown_variables, variable, wrong_address
from contracts.errors import ConfigurationError, InvalidFlow
from orchestrator.durations import seconds
from store.connect import url_of

__all__ = ["Settings"]


class Settings(BaseSettings):
    """What a process runs with. Secrets show neither in its repr nor in its errors.

    ``Settings.load()`` is the way in for a role: it raises ConfigurationError only, one line for each wrong
    variable. Calling the class raises pydantic's ValidationError for wrong values, ConfigurationError for
    variables that do not exist.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    app: str | None = Field(
        None,
        description="The App to run, as `module:attribute`. A command's argument wins.",
    )
    workspace: str = Field(
        "default",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The workspace of the development key, and of what a command does when none is named.",
    )

    home: Path = Field(
        Path(".antiphon"),
        description="The folder of what the embedded adapters keep, and of the development key.",
    )
    database_url: str = Field(
        "",
        description="The store: `sqlite:///FILE` (one machine) or `postgresql://user:password@host/name`. "
        "Unset: `antiphon.db` in `ANTIPHON_HOME`.",
    )
    database_pool: int = Field(4, ge=1, le=200, description="Connections that read the store; 6 more write.")

    amqp_url: str | None = Field(
        None,
        description="RabbitMQ: `amqp://user:password@host:5672/vhost` or `amqps://…`. "
        "Each node of a cluster, with commas between: `amqp://…@a/vhost,amqp://…@b/vhost`. "
        "Unset: the embedded bus, durable in the SQLite file, for one process.",
    )
    broker: Literal["open", "provisioned"] = Field(
        "open",
        description="`open`: each process makes every queue of the app as it starts. `provisioned`: "
        "`antiphon broker provision` made them, and the user of `ANTIPHON_AMQP_URL` may do no more than its "
        "role. See [broker](broker.md).",
    )
    management_url: SecretStr | None = Field(
        None,
        description="RabbitMQ's management API, for `antiphon broker provision` only: "
        "`http://admin:password@host:15672`. No role needs it.",
    )
    prefetch: int = Field(
        200, ge=1, le=10_000, description="Messages that one subscription holds unsettled at the most."
    )
    publish_timeout: float = Field(
        10.0, gt=0, description="Seconds to wait for the broker's confirm; then the publish counts as failed."
    )
    connect_timeout: float = Field(
        10.0,
        gt=0,
        description="Seconds to wait for the broker, the store or Redis at the start of a process.",
    )

    signing: Literal["off", "permissive", "strict"] = Field(
        "strict",
        description="`strict`: a message that is not signed by who may say it is quarantined, unread. "
        "`permissive`: it is logged and counted, and let through. `off`: nothing is signed or verified. "
        "See [security](security.md).",
    )
    keys_dir: Path | None = Field(
        None,
        description="The folder with `keyring.json` and the private keys. Unset: `keys` in `ANTIPHON_HOME`, "
        "where `antiphon up` makes a development key.",
    )
    signing_service: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Whose key this process signs with. Unset: the role (`gateway`, `orchestrator`, "
        "`reactors`), the service's name, or `development` for `antiphon up`.",
    )
    signing_key_file: Path | None = Field(
        None,
        description="The private key's file, where that is not in `ANTIPHON_KEYS_DIR`: a mounted secret.",
    )
    freshness_seconds: float = Field(
        86_400.0,
        ge=0,
        description="How old a signature may be when its message is first handed out; older ones are "
        "quarantined as replays. Longer than any outage of consumers. 0: any age.",
    )

    redis_url: str | None = Field(
        None,
        description="Redis: `redis://:password@host:6379/0` or `rediss://…`. Unset: live feed, limits and "
        "cache stay in this process.",
    )

    tls_ca: Path | None = Field(
        None,
        description="The certificates that those of RabbitMQ (`amqps`), PostgreSQL and Redis (`rediss`) are "
        "verified with, PEM. Unset: those of the system. With it PostgreSQL must speak TLS, too. "
        "See [broker](broker.md#tls).",
    )
    tls_cert: Path | None = Field(
        None, description="The certificate that this process shows to them, where they ask for one; PEM."
    )
    tls_key: Path | None = Field(None, description="The private key of `ANTIPHON_TLS_CERT`; PEM.")

    host: str = Field("127.0.0.1", description="The address that the gateway listens on.")
    port: int = Field(
        8080, ge=0, le=65_535, description="The port that the gateway listens on; 0 takes a free one."
    )
    admin_key: SecretStr | None = Field(
        None,
        min_length=24,
        description="An API key with the role admin in `ANTIPHON_WORKSPACE`, at least 24 characters. Unset: "
        "on loopback a development key is made at the first start; anywhere else the gateway does not start "
        "without a key.",
    )
    session_secret: SecretStr | None = Field(
        None,
        min_length=24,
        description="Signs the dashboard's sessions together with the digest of the key that signed in; the "
        "same on every gateway, at least 24 characters, another one ends all sessions. Unset: the digest "
        "alone, and whoever can read the table of keys could make one: set it anywhere but on loopback.",
    )
    max_body_bytes: int = Field(
        1_048_576,
        ge=1_024,
        description="The largest request body that the gateway reads; more is answered with 413.",
    )
    longest_wait: float = Field(
        30.0, ge=0, description="Seconds that a caller may wait for a result at the most (`Prefer: wait=N`)."
    )
    requests_per_second: float = Field(
        5_000.0, gt=0, description="Requests that one API key may send; more are answered with 429."
    )
    request_burst: float = Field(
        10_000.0, ge=1, description="Requests that one API key may send at once, before its rate counts."
    )
    max_streams: int = Field(
        500, ge=1, description="Live streams (SSE) that one gateway holds open at the most."
    )
    open_metrics: bool = Field(
        False,
        description="Whether `/metrics` is answered without a key: only where a firewall stands before it.",
    )

    max_waiting: int = Field(
        2_000,
        ge=1,
        description="Requests that write, and as many that read, at work in one gateway at once; more are "
        "answered with 503 and `Retry-After` at once. Those that wait for a result (`Prefer: wait`) count.",
    )
    max_unstarted: int = Field(
        10_000,
        ge=1,
        description="Starts that one gateway accepted and no orchestrator has taken up yet; more "
        "are answered with 503 and `Retry-After`.",
    )
    longest_unstarted: float = Field(
        20.0,
        ge=0,
        description="Seconds that accepted starts may wait for an orchestrator before more are answered with "
        "503 and `Retry-After`. 0: any time.",
    )

    partitions: int | None = Field(
        None,
        ge=1,
        le=1_024,
        description="Slices of runs: how many orchestrators can share the work. Unset: what the store has; "
        "a new one gets 4, or 2 with the embedded bus (one process). `antiphon partitions --to` makes more.",
    )
    lease_seconds: float = Field(
        5.0,
        ge=1.0,
        description="How long an orchestrator owns a partition without renewing; then others take it over.",
    )
    renew_seconds: float = Field(
        1.0, gt=0, description="How often an orchestrator renews its leases; at most half of the lease."
    )
    drain_seconds: float = Field(
        20.0,
        ge=0,
        description="After SIGTERM: seconds in which what is at work may end before it is given back.",
    )

    retention: str | None = Field(
        None,
        description="How long an ended run is kept in the store with its history, such as `30d`; then "
        "it is archived and purged. Unset: for ever. See [operations](operations.md#retention).",
    )
    archive_dir: Path | None = Field(
        None,
        description="The folder that purged runs are archived in, as JSON lines. Unset: `archive` in "
        "`ANTIPHON_HOME`.",
    )
    archive_gzip: bool = Field(False, description="Whether archive files are compressed.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json`: one object a line, for machines. `console`: for a person at a terminal."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        problems = unknown_variables(os.environ, cls.model_fields)
        if problems:
            raise ConfigurationError("\n".join(problems))
        return values

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _put_the_store_at_home(cls, value: str, info: ValidationInfo) -> str:
        return value or url_of(Path(info.data.get("home", ".antiphon")) / "antiphon.db")

    @field_validator("database_url", "amqp_url", "redis_url")
    @classmethod
    def _check_scheme(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and (wrong := wrong_address(info.field_name or "", value)):
            raise ValueError(wrong)
        return value

    @field_validator("tls_ca", "tls_cert", "tls_key")
    @classmethod
    def _check_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("retention")
    @classmethod
    def _check_duration(cls, value: str | None) -> str | None:
        try:
            return value if value is None or seconds(value) else None
        except InvalidFlow as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError(
                f"{variable('tls_cert')} and {variable('tls_key')} go together: set both or none"
            )
        return self

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.renew_seconds * 2 > self.lease_seconds:
            raise ValueError(
                f"{variable('renew_seconds')} is {self.renew_seconds:g} and {variable('lease_seconds')} is "
                f"{self.lease_seconds:g}: one missed renewal would lose the lease; renew at least twice in it"
            )
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment; ``overrides`` (a command's options that were given) win.

        Raises ConfigurationError, one line for each variable that is wrong or unknown.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigurationError("\n".join(in_words(error))) from None

    @property
    def development_key_file(self) -> Path:
        """Where the development key is written, for its owner only."""
        return self.home / "development.key"

    @property
    def keys_folder(self) -> Path:
        """Where the keys are that sign and verify messages."""
        return self.keys_dir or self.home / "keys"

    @property
    def archive_folder(self) -> Path:
        """Where purged runs are archived."""
        return self.archive_dir or self.home / "archive"

    @property
    def retention_seconds(self) -> float | None:
        """How long ended runs are kept; None: for ever."""
        return None if self.retention is None else seconds(self.retention)

    @property
    def loopback(self) -> bool:
        """Whether the gateway's address can only be reached from this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def shown(self) -> dict[str, Any]:
        """Every setting as it may be logged: passwords and keys as ``***``."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: shown(value) for name, value in values.items()}

    def environment(self) -> dict[str, str]:
        """The variables of a process that is to run with the same settings. Holds secrets."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        plain = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in values.items()
        }
        return {variable(name): str(value) for name, value in plain.items() if value is not None}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    __str__ = __repr__
