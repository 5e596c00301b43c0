"""The settings: one model, every field documented, nothing unknown taken, nothing secret shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from antiphon.app import load_app
from antiphon.cli import main
from antiphon.settings import Settings, as_markdown, variable, without_password
from contracts.errors import ConfigurationError

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def test_the_page_says_what_the_model_says() -> None:
    """docs/settings.md is what `python -m antiphon.settings` prints, so each setting is documented."""
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-m", "antiphon.settings"], capture_output=True, check=True
    )
    assert PAGE.read_text() == printed.stdout.decode() == as_markdown()


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_has_a_description_and_a_row(name: str) -> None:
    """No setting is without a word, and none is missing in the page."""
    assert Settings.model_fields[name].description
    assert f"| `{variable(name)}` |" in PAGE.read_text()


def test_nothing_set_is_a_laptop_with_nothing_installed() -> None:
    """The defaults are the embedded bus and store, on loopback."""
    settings = Settings.load()
    assert settings.database_url == "sqlite:///.antiphon/antiphon.db"
    assert settings.amqp_url is None
    assert settings.redis_url is None
    assert settings.loopback
    assert settings.admin_key is None


def test_the_store_is_in_the_home_folder_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """ANTIPHON_HOME alone moves all that the embedded adapters keep, and the development key."""
    monkeypatch.setenv("ANTIPHON_HOME", "/var/lib/antiphon")
    settings = Settings.load()
    assert settings.database_url == "sqlite:////var/lib/antiphon/antiphon.db"
    assert settings.development_key_file == Path("/var/lib/antiphon/development.key")
    assert Settings.load(database_url="sqlite:///other.db").database_url == "sqlite:///other.db"


@pytest.mark.parametrize("port", ["99999", "port"])
def test_a_store_with_a_port_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """In a line, as all that is set up wrong."""
    monkeypatch.setenv("ANTIPHON_DATABASE_URL", f"postgresql://u:s3cret@127.0.0.1:{port}/x")
    done = CliRunner().invoke(main, ["migrate"])
    assert done.exit_code == 2, done.exception
    assert "the database URL can't be read" in done.stderr
    assert "s3cret" not in done.output


def test_a_look_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``migrate --check`` where there is none says so, and leaves nothing that looks like one."""
    monkeypatch.setenv("ANTIPHON_HOME", str(tmp_path / "home"))
    looked = CliRunner().invoke(main, ["migrate", "--check"])
    assert (looked.exit_code, "not up to date" in looked.stdout) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sp ace", "main%2Fx", "what?", "a#b", "ü"])
def test_a_home_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also what means something in a URL: the store is made there, and found there again."""
    home = tmp_path / name
    monkeypatch.setenv("ANTIPHON_HOME", str(home))
    for arguments in (["migrate"], ["migrate", "--check"], ["partitions"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    assert [path.name for path in home.glob("*.db")] == ["antiphon.db"]
    assert list(tmp_path.iterdir()) == [home]


def test_variables_are_read_and_a_commands_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that was given beats the variable; one that was not (None) leaves it."""
    monkeypatch.setenv("ANTIPHON_PORT", "9000")
    monkeypatch.setenv("ANTIPHON_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("ANTIPHON_REDIS_URL", "")
    settings = Settings.load(port=None, host="0.0.0.0")
    assert settings.port == 9000
    assert settings.log_level == "debug"
    assert settings.redis_url is None
    assert not settings.loopback
    assert Settings.load(port=1).port == 1


def test_a_slip_of_the_pen_is_refused_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown ANTIPHON_ variable names its neighbour; each one has a line."""
    monkeypatch.setenv("ANTIPHON_DATABASE_ULR", "sqlite://")
    monkeypatch.setenv("ANTIPHON_BANANA", "1")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value).splitlines() == [
        "ANTIPHON_BANANA is no setting of Antiphon: docs/settings.md lists every setting",
        "ANTIPHON_DATABASE_ULR is no setting of Antiphon: did you mean ANTIPHON_DATABASE_URL?",
    ]


def test_variables_of_the_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ANTIPHON_TEST_* is no setting and no mistake."""
    monkeypatch.setenv("ANTIPHON_TEST_AMQP_URL", "amqp://elsewhere/")
    assert Settings.load().amqp_url is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ANTIPHON_PORT", "many", "ANTIPHON_PORT: Input should be a valid integer"),
        ("ANTIPHON_AMQP_URL", "amqp://u:s3cret@mq:port/", "ANTIPHON_AMQP_URL: has a port that is none"),
        ("ANTIPHON_AMQP_URL", "amqp://u:s3/cret@mq/", "ANTIPHON_AMQP_URL: has a port that is none"),
        ("ANTIPHON_AMQP_URL", "amqp://a/v,amqp://b:99999/v", "ANTIPHON_AMQP_URL: has a port that is none"),
        ("ANTIPHON_PORT", "70000", "ANTIPHON_PORT: Input should be less than or equal to 65535"),
        (
            "ANTIPHON_DATABASE_URL",
            "mysql://h/d",
            "ANTIPHON_DATABASE_URL: starts with none of sqlite://, postgresql://",
        ),
        ("ANTIPHON_AMQP_URL", "http://h", "ANTIPHON_AMQP_URL: starts with none of amqp://, amqps://"),
        ("ANTIPHON_LOG_FORMAT", "xml", "ANTIPHON_LOG_FORMAT: Input should be 'json' or 'console'"),
        ("ANTIPHON_RENEW_SECONDS", "4", "ANTIPHON_RENEW_SECONDS is 4 and ANTIPHON_LEASE_SECONDS is 5"),
        ("ANTIPHON_ADMIN_KEY", "short", "ANTIPHON_ADMIN_KEY: Value should have at least 24 items"),
    ],
)
def test_a_wrong_value_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The error names the variable and what was expected."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("where", ["no colon", "shop app:app", ":app", "shop:", "..shop:app", "shop:app:app"])
def test_what_names_no_app_is_told_with_an_example(where: str) -> None:
    """Wherever it was said."""
    with pytest.raises(ConfigurationError, match=re.escape(f"{where!r} names no app: write module:")):
        load_app(where)


def test_an_option_that_does_not_exist_is_refused() -> None:
    """A misspelt field in code is an error too."""
    with pytest.raises(ConfigurationError, match="ANTIPHON_PROT"):
        Settings.load(prot=1)


def test_settings_do_not_change() -> None:
    """The model is frozen: what a process was started with is what it runs with."""
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_no_secret_is_shown_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, str, shown() nor an error holds a password or a key."""
    monkeypatch.setenv("ANTIPHON_ADMIN_KEY", "hunter2-hunter2-hunter2-hunter2")
    monkeypatch.setenv("ANTIPHON_DATABASE_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("ANTIPHON_AMQP_URL", "amqps://me:hunter2@mq/x?password=hunter2")
    monkeypatch.setenv("ANTIPHON_REDIS_URL", "redis://:hunter2@cache:6379/0")
    settings = Settings.load()
    for text in (repr(settings), str(settings), f"{settings.shown()}", f"{settings!r:>10}"):
        assert "hunter2" not in text
        assert "postgresql://me:***@db/x" in text
    monkeypatch.setenv("ANTIPHON_DATABASE_URL", "mysql://me:hunter2@db/x")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "hunter2" not in str(refused.value)


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """environment() read again gives an equal model, keys included."""
    settings = Settings(port=1234, admin_key=SecretStr("0123456789abcdef01234567"), amqp_url="amqp://a:b@h/")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:guest@h:5672/", "amqp://guest:***@h:5672/"),
        ("redis://:p@h", "redis://:***@h"),
        ("amqp://u:p@a,amqp://u:p@b/v", "amqp://u:***@a,amqp://u:***@b/v"),
        ("postgresql://u:p@ss@h/d", "postgresql://u:***@h/d"),
        ("http://h:80/a?token=abc&b=1", "http://h:80/a?token=***&b=1"),
        ("see http://h:80 or mail me@h", "see http://h:80 or mail me@h"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_are_masked_and_the_rest_is_not(url: str, shown: str) -> None:
    """Only the password goes; host, port and database stay readable."""
    assert without_password(url) == shown
