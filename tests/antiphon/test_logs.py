"""The logs: one form for every line, with what is bound, without what is secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from antiphon.logs import bound, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_logger(stream: io.StringIO) -> None:
    """Newlines in a message stay inside their line."""
    configure("info", "json", stream=stream, role="gateway")
    structlog.get_logger("orchestrator.relay").info("published\nall", count=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "published\nall",
        "count": 3,
        "level": "info",
        "logger": "orchestrator.relay",
        "role": "gateway",
    }


def test_lines_carry_what_is_bound_and_only_there(stream: io.StringIO) -> None:
    """Workspace, correlation, run and reactor come from the context, and end with it."""
    configure(stream=stream)
    log = structlog.get_logger()
    with bound(workspace="w", correlation="c", run="r", reactor=None):
        log.info("inside")
    log.info("outside")
    inside, outside = lines(stream)
    assert (inside["workspace"], inside["correlation"], inside["run"]) == ("w", "c", "r")
    assert "reactor" not in inside
    assert "workspace" not in outside


async def test_tasks_keep_their_own_context(stream: io.StringIO) -> None:
    """Two runs at the same time never wear each other's names."""
    configure(stream=stream)

    async def run(name: str) -> None:
        with bound(run=name):
            await asyncio.sleep(0)
            structlog.get_logger().info("step", mine=name)

    await asyncio.gather(*(run(f"r{n}") for n in range(5)))
    assert all(line["run"] == line["mine"] for line in lines(stream))
    assert len(lines(stream)) == 5


def test_libraries_come_out_in_the_same_form(stream: io.StringIO) -> None:
    """A line of stdlib logging has the context and the arguments put in."""
    configure(stream=stream)
    with bound(workspace="w"):
        logging.getLogger("some.library").warning("lost %s of %d", "one", 3, extra={"shard": 7})
    (line,) = lines(stream)
    assert line["message"] == "lost one of 3"
    assert (line["logger"], line["level"], line["workspace"], line["shard"]) == (
        "some.library",
        "warning",
        "w",
        7,
    )


def test_uvicorn_has_no_form_of_its_own(stream: io.StringIO) -> None:
    """Handlers that uvicorn brought are taken off, and its lines come to ours."""
    own = io.StringIO()
    logging.getLogger("uvicorn.access").setLevel(logging.NOTSET)  # another test's server may have set one
    logging.getLogger("uvicorn.access").addHandler(logging.StreamHandler(own))
    configure(stream=stream)
    logging.getLogger("uvicorn.access").info("GET /")
    assert own.getvalue() == ""
    assert [line["message"] for line in lines(stream)] == ["GET /"]


def test_an_exception_is_one_field_without_local_variables(stream: io.StringIO) -> None:
    """The traceback says where, and never what the variables held."""
    configure(stream=stream)
    local = "very " + "private"
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert "ValueError: broken" in line["exception"]
    assert local not in stream.getvalue()


def test_secrets_are_masked_in_fields_and_messages(stream: io.StringIO) -> None:
    """Passwords in URLs and values under telling names never reach the stream, in either form."""
    for form in ("json", "console"):
        configure(stream=stream, form=form)  # type: ignore[arg-type]
        structlog.get_logger().info(
            "to amqp://me:hunter2@h/", url="redis://:hunter2@h", admin_key="hunter2", n=1
        )
        structlog.get_logger().info("headers", headers={"Authorization": "hunter2", "accept": "x"})
        logging.getLogger("lib").warning("connecting to %s", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in stream.getvalue()
    assert "amqp://me:***@h/" in stream.getvalue()
    assert (
        lines(io.StringIO("".join(stream.getvalue().splitlines(keepends=True)[:3])))[1]["headers"]["accept"]
        == "x"
    )


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    """The level holds for our loggers and for libraries."""
    configure("warning", stream=stream)
    structlog.get_logger().info("no")
    logging.getLogger("lib").info("no")
    structlog.get_logger().warning("yes")
    assert [line["message"] for line in lines(stream)] == ["yes"]


def test_the_console_form_is_for_people(stream: io.StringIO) -> None:
    """A line has the message and its fields, without colour codes where nobody sees colours."""
    configure(form="console", stream=stream)
    structlog.get_logger().info("started", port=8080)
    assert "started" in stream.getvalue()
    assert "port=8080" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_json_does_not_know_is_shown_by_its_repr(stream: io.StringIO) -> None:
    """A strange value in a log line loses no line."""
    configure(stream=stream)
    structlog.get_logger().info("odd", value={1, 2} and object, number={1: 2})
    (line,) = lines(stream)
    assert line["value"] == "<class 'object'>"
    assert line["number"] == {"1": 2}
