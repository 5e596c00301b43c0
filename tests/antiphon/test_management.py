"""What is said where the management API's URL is wrong, or something else answers there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antiphon.broker import Management
from contracts.errors import AntiphonError, ConfigurationError
from tests.antiphon.serving import Quiet, serving


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that always says this."""

    class Handler(Quiet):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("location", "https://elsewhere.example/")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # http.server's names

    with serving(Handler) as port:
        yield f"http://admin:s3cret@127.0.0.1:{port}"


@pytest.mark.parametrize(
    "url", ["http://a:s3cret@mq:port", "http://[::1", "http://mq:0", "mq:15672", "http://"]
)
def test_a_url_that_is_none_is_told(url: str) -> None:
    """A port that is no number, half an address: a line with what one looks like, and not the password."""
    with pytest.raises(ConfigurationError, match="is like http://user:password@host:15672") as raised:
        Management(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>Log in</html>"), (200, b"[]"), (301, b""), (204, b"")]
)
def test_something_else_answers(status: int, body: bytes) -> None:
    """A proxy's page or its redirection is not RabbitMQ's word."""
    with answering(status, body) as url:
        with pytest.raises(AntiphonError, match="management API") as raised:
            Management(url).definitions()
        assert "s3cret" not in str(raised.value)


def test_a_redirected_import_has_brought_nothing() -> None:
    """So it failed, and the command with it."""
    with answering(308, b"") as url, pytest.raises(ConfigurationError, match="answered 308"):
        Management(url).bring({})
