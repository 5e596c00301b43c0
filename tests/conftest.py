"""What every test may ask for: real RabbitMQ, PostgreSQL, Redis and Chromium.

They are installed when missing (root on Debian or Ubuntu), before the first test so that no test's time limit
pays for it, and only when a collected test needs them. One that can't be had is a skip with the reason at a
desk, and a failure under ``CI=true``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.async_api import Browser, async_playwright

from antiphon.devservices import DevServices, Postgres, Rabbit, Redis, ServiceUnavailable
from antiphon.devservices.packages import find, install
from tests.logging_kept import logging_kept

SERVICES = pytest.StashKey[DevServices]()
CHROMIUM = pytest.StashKey[Path | ServiceUnavailable]()
NEEDS = {"rabbit": "rabbit", "postgres": "postgres", "redis_server": "redis"}
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def unavailable(reason: ServiceUnavailable) -> NoReturn:
    """Skip at a desk; fail in CI, where a test that did not run proves nothing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"under CI=true every service must be there: {reason}", pytrace=False)
    pytest.skip(str(reason))


def pytest_configure(config: pytest.Config) -> None:
    # What a developer's shell has set for a running Antiphon must not leak into what the tests check.
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        if not name.startswith("ANTIPHON_TEST_"):
            del os.environ[name]
    config.stash[SERVICES] = DevServices()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SERVICES].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    session.config.stash[SERVICES].prepare([NEEDS[name] for name in NEEDS if name in wanted])
    if "chromium" in wanted:
        session.config.stash[CHROMIUM] = _find_chromium()


def _find_chromium() -> Path | ServiceUnavailable:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(find, names)), None)
    if found is not None:
        return found
    try:
        install(["chromium"])
    except ServiceUnavailable as reason:
        return reason
    return find("chromium") or ServiceUnavailable("chromium was installed, but its binary is not in PATH")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test may ask a service for what it can't do, such as restarting one that somebody else runs."""
    try:
        return (yield)
    except ServiceUnavailable as reason:
        unavailable(reason)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A test that configures the log leaves it to the next one as it was, whichever that is."""
    with logging_kept():
        yield


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> DevServices:
    """All three services, each started when it is asked for."""
    return pytestconfig.stash[SERVICES]


@pytest.fixture(scope="session")
def rabbit(services: DevServices) -> Rabbit:
    """A real RabbitMQ; take a ``vhost()`` of it."""
    try:
        return services.rabbit
    except ServiceUnavailable as reason:
        unavailable(reason)


@pytest.fixture(scope="session")
def postgres(services: DevServices) -> Postgres:
    """A real PostgreSQL; ``create_database()`` gives an empty one."""
    try:
        return services.postgres
    except ServiceUnavailable as reason:
        unavailable(reason)


@pytest.fixture(scope="session")
def redis_server(services: DevServices) -> Redis:
    """A real Redis; use keys of your own."""
    try:
        return services.redis
    except ServiceUnavailable as reason:
        unavailable(reason)


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Path:
    """The browser's binary."""
    found = pytestconfig.stash[CHROMIUM]
    if isinstance(found, ServiceUnavailable):
        unavailable(found)
    return found


@pytest.fixture
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """A headless Chromium, driven by Playwright's asyncio API; a fresh one for each test."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield running
        await running.close()
