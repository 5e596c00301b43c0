"""The compose file: no engine runs here, so everything that can be wrong without one is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.settings import Settings, variable

FOLDER = Path(__file__).parents[2] / "compose"
ROLES = {
    "gateway-1": "gateway",
    "gateway-2": "gateway",
    "orchestrator-1": "orchestrator",
    "orchestrator-2": "orchestrator",
    "reactors-1": "reactors",
    "reactors-2": "reactors",
    "payments": "service",
    "migrate": "migrate",
    "keys": "keys",
}
ONCE = ("migrate", "keys")
INFRASTRUCTURE = ("rabbitmq", "postgres", "redis")


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def services(file: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(file["services"])


def read_env(name: str) -> dict[str, str]:
    lines = [line for line in (FOLDER / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def filled(text: str) -> str:
    """A value as compose would put it in, every secret being the same long word."""
    return re.sub(r"\$\{(\w+)[^}]*\}", "aSecretOf24Letters000000", text)


def environment(service: dict[str, Any]) -> dict[str, str]:
    own = {name: filled(str(value)) for name, value in service.get("environment", {}).items()}
    return {**(read_env(service["env_file"]) if "env_file" in service else {}), **own}


def test_there_are_two_of_each_role_and_all_that_they_need(services: dict[str, dict[str, Any]]) -> None:
    """Gateways, orchestrators and reactors come in pairs, with one payments service, migration and keys."""
    assert set(services) == {*ROLES, *INFRASTRUCTURE, "mail"}


@pytest.mark.parametrize("name", ROLES)
def test_every_variable_is_a_setting_and_has_a_value_that_holds(
    services: dict[str, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of each process load as they stand in its files, production services and all."""
    given = environment(services[name])
    known = {variable(field) for field in Settings.model_fields}
    assert {key for key in given if key.startswith("ANTIPHON_")} <= known
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    settings = Settings.load()
    assert settings.amqp_url is not None
    assert settings.redis_url is not None
    assert settings.database_url.startswith("postgresql://")
    assert settings.admin_key is not None
    assert not settings.loopback


def test_all_roles_run_with_the_same_settings(services: dict[str, dict[str, Any]]) -> None:
    """No role is configured apart from the others."""
    first, *others = (environment(services[name]) for name in ROLES)
    assert all(other == first for other in others)


@pytest.mark.parametrize("name", ROLES)
def test_every_command_exists_and_takes_what_it_is_given(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    """Each process runs the command of its role, with arguments which that command parses."""
    from antiphon.cli import main  # imported here: the other tests of this file need no command line

    command, *arguments = services[name]["command"]
    assert command == ROLES[name]
    main.commands[command].make_context(command, list(arguments))


@pytest.mark.parametrize("name", [name for name in ROLES if name not in ONCE])
def test_a_role_starts_after_the_migration_and_its_services(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    """Nobody meets a store without tables, has no key, or finds a broker that is still booting."""
    needs = services[name]["depends_on"]
    assert all(needs[name]["condition"] == "service_completed_successfully" for name in ONCE)
    assert needs["rabbitmq"]["condition"] == needs["redis"]["condition"] == "service_healthy"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


@pytest.mark.parametrize("name", [*INFRASTRUCTURE, "gateway-1", "gateway-2"])
def test_what_listens_has_a_health_check(services: dict[str, dict[str, Any]], name: str) -> None:
    """A server that does not answer is seen."""
    assert services[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_what_must_last_is_on_a_volume(file: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    """RabbitMQ, PostgreSQL and Redis keep their data in named volumes, Redis with its append-only file."""
    for name in INFRASTRUCTURE:
        volume, _, _ = services[name]["volumes"][0].partition(":")
        assert volume in file["volumes"]
    assert services["redis"]["command"][1:3] == ["--appendonly", "yes"]


def test_what_leaves_the_store_is_on_a_volume(
    file: dict[str, Any], services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is purged is in the archive alone: it outlives its container, whose user may write there."""
    for name in ROLES:
        for key, value in environment(services[name]).items():
            monkeypatch.setenv(key, value)
        folder = str(Settings.load().archive_folder)
        volumes = dict(reversed(each.split(":")[:2]) for each in services[name]["volumes"])
        assert volumes[folder] in file["volumes"]
        assert f"--owner antiphon --mode 0700 {folder}" in (FOLDER / "Dockerfile").read_text()


def test_a_process_may_drain_before_it_is_killed(services: dict[str, dict[str, Any]]) -> None:
    """The grace period is longer than what the settings give to draining."""
    drain = float(read_env("antiphon.env")["ANTIPHON_DRAIN_SECONDS"])
    for name in ROLES:
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > drain


def test_nothing_is_published_beyond_this_machine_and_no_port_twice(
    services: dict[str, dict[str, Any]],
) -> None:
    """Every published port is on loopback and has its own number."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_secrets_come_from_the_environment_only() -> None:
    """Every placeholder refuses to be empty, stands in .env.example, and has no value there."""
    text = (FOLDER / "compose.yaml").read_text()
    placeholders = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert all(rest.startswith(":?") for _, rest in placeholders)
    example = read_env(".env.example")
    assert {name for name, _ in placeholders} == set(example)
    assert set(example.values()) == {""}
    assert ".env" in (FOLDER / ".gitignore").read_text().split()


def test_the_image_holds_every_room_and_its_variables_are_settings() -> None:
    """What the Dockerfile copies is there, what is packaged is copied, and no root runs it."""
    text = (FOLDER / "Dockerfile").read_text()
    copied = {part for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M) for part in line.split()[:-1]}
    root = FOLDER.parent
    assert all((root / name).exists() for name in copied)
    assert {
        "antiphon",
        "gateway",
        "orchestrator",
        "reactors",
        "bus",
        "store",
        "contracts",
        "examples",
    } <= copied
    allowed = {line.removeprefix("!") for line in (FOLDER / "Dockerfile.dockerignore").read_text().split()}
    assert copied <= allowed
    known = {variable(field) for field in Settings.model_fields}
    assert set(re.findall(r"ANTIPHON_\w+(?==)", text)) <= known
    assert re.search(r"^USER antiphon$", text, re.M)
