"""A node whose management API is not quite there yet is asked again, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antiphon.devservices import RemoteRabbit, ServiceUnavailable
from antiphon.devservices.ports import free_ports
from tests.antiphon.serving import Quiet, serving

HANGS_UP = 0


@contextlib.contextmanager
def management(answers: list[int]) -> Iterator[tuple[RemoteRabbit, list[str]]]:
    """An API that answers with these codes, the last one for ever; what it was asked."""
    asked: list[str] = []

    class Handler(Quiet):
        def answer(self) -> None:
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            asked.append(f"{self.command} {self.path.rsplit('/', 1)[0]}")
            if status != HANGS_UP:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

        do_PUT = do_DELETE = answer  # http.server's names

    with serving(Handler) as port:
        yield RemoteRabbit("amqp://guest:guest@127.0.0.1/", f"http://127.0.0.1:{port}"), asked


@pytest.mark.parametrize("early", [401, 500, 503, HANGS_UP])
def test_a_vhost_is_made_when_the_node_is_there(early: int) -> None:
    """A starting node refuses in several ways; each is met with another try."""
    with management([early, early, 201]) as (rabbit, asked):
        with rabbit.vhost():
            pass
        assert asked[:3] == ["PUT /api/vhosts"] * 3
        assert asked[3].startswith("PUT /api/permissions/")
        assert asked[4:] == ["DELETE /api/vhosts"]


def test_a_definite_no_is_not_asked_again() -> None:
    """400 and 403 say what is wrong; more tries would only hide it."""
    with management([403]) as (rabbit, asked):
        with pytest.raises(ServiceUnavailable, match="answered 403 to PUT"), rabbit.vhost():
            pass
        assert asked == ["PUT /api/vhosts"]


def test_the_patience_ends() -> None:
    """A node that never comes up is given up, with its last answer; one that is not there at all, too."""
    with management([503]) as (rabbit, asked):
        with pytest.raises(ServiceUnavailable, match="503"):
            rabbit.manage("PUT", "/api/vhosts/x", patience=0.3)
        assert len(asked) > 1
    nobody = RemoteRabbit("amqp://127.0.0.1/", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ConnectionRefusedError):
        nobody.manage("PUT", "/api/vhosts/x", patience=0.2)
