"""Whatever comes over HTTP: no 5xx, every error a problem, nothing that the document does not say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.conftest import LONG
from tests.gateway.house import House

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
EXAMPLES = 200 if LONG else 12
# Streams never end by themselves: they have tests of their own.
STREAMS = ("/events/stream", "/stories/{correlation}/stream")


class Behind:
    """A house, and a loop that runs it while a synchronous test speaks to it."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.house = House(folder)

    def open(self) -> None:
        """Start the house."""
        self.runner.run(self.house.open())
        self.runner.run(self.house.orchestrate())

    def send(self, method: str, path: str, *, role: str | None = "admin", **more: Any) -> httpx.Response:
        """One request, as the holder of a role's key, or of none."""

        async def scene() -> httpx.Response:
            async with self.house.client(role) as client:
                return await client.request(method, path, **more)

        return self.runner.run(scene())

    def close(self) -> None:
        """Stop the house."""
        self.runner.run(self.house.close())
        self.runner.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """One house for all examples."""
    place = Behind(tmp_path_factory.mktemp("http"))
    place.open()
    yield place
    place.close()


@pytest.fixture(scope="module")
def document(behind: Behind) -> Any:
    """The OpenAPI document, as schemathesis reads it."""
    schema = schemathesis.openapi.from_dict(behind.house.app.openapi())
    return schema.exclude(path=list(STREAMS))


def test_every_operation_keeps_to_the_document(behind: Behind, document: Any) -> None:
    """Right and wrong requests for each operation: the answer is one that the document has."""
    problems: list[str] = []
    seen: Counter[int] = Counter()
    for result in document.get_all_operations():
        operation = result.ok()

        @settings(settings.get_profile("long" if LONG else "short"), max_examples=EXAMPLES)
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            kwargs = case.as_transport_kwargs(base_url="http://gateway.test")
            kwargs.pop("cookies", None)
            headers = {
                name: value
                for name, value in (kwargs.pop("headers", None) or {}).items()
                if name.lower() not in ("authorization", "x-api-key")
            }
            url = httpx.URL(kwargs.pop("url"))
            answer = behind.send(
                kwargs.pop("method"), url.raw_path.decode() or "/", headers=_plain(headers), **_known(kwargs)
            )
            seen[answer.status_code // 100] += 1
            case.validate_response(_response(answer), checks=CHECKS)

        try:
            one()
        except Exception as error:  # each operation is told about, not the first only
            problems.append(f"{operation.method.upper()} {operation.path}: {error}")
    assert not problems, "\n\n".join(problems)
    assert seen[2] >= 10, f"hardly anything was right, so little was tried: {seen}"
    assert seen[4] >= 50, f"hardly anything was wrong, so little was tried: {seen}"


def _plain(headers: dict[str, Any]) -> dict[str, str]:
    """What a header can carry; httpx refuses the rest before it is sent."""
    return {
        str(name): str(value)
        for name, value in headers.items()
        if str(value).isascii() and str(value).isprintable() and str(name).isascii()
    }


def _known(kwargs: dict[str, Any]) -> dict[str, Any]:
    found = {name: kwargs[name] for name in ("params", "json", "content") if name in kwargs}
    if "data" in kwargs and "content" not in found and isinstance(kwargs["data"], bytes | str):
        found["content"] = kwargs["data"]
    return found


def _response(answer: httpx.Response) -> Any:
    return schemathesis.Response.from_httpx(answer, verify=False)


ODD = st.text(max_size=60) | st.sampled_from(
    ["", " ", "\x00", "../../etc/passwd", "%00", "a" * 5_000, "☃", "-1", "1e309", "null", "[]", "{}"]
)
PATHS = (
    "/runs",
    "/runs/{}",
    "/runs/{}/history",
    "/stories/{}",
    "/flows/{}",
    "/dead-letters",
    "/dead-letters/{}",
    "/quarantine",
    "/quarantine/{}",
    "/keys",
)
QUERIES = ("cursor", "limit", "status", "flow", "key", "from", "to", "group", "reactor", "q", "until", "all")


@settings(settings.get_profile("long" if LONG else "short"), max_examples=1_000 if LONG else 150)
@given(path=st.sampled_from(PATHS), odd=ODD, query=st.dictionaries(st.sampled_from(QUERIES), ODD, max_size=3))
def test_odd_addresses_are_no_server_errors(
    behind: Behind, path: str, odd: str, query: dict[str, str]
) -> None:
    """Ids, cursors and filters of any text: refused or not found, as a problem."""
    address = path.format(quote(odd, safe=""))
    try:
        answer = behind.send("GET", address, params=query)
    except httpx.InvalidURL:
        return  # a client refuses to send it
    assert answer.status_code < 500, (address, query, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json"), answer.text


@settings(settings.get_profile("long" if LONG else "short"), max_examples=1_000 if LONG else 100)
@given(
    body=st.binary(max_size=300),
    path=st.sampled_from(["/flows/order/runs", "/events", "/runs/x/signals/y", "/runs/x/cancel", "/keys"]),
    content_type=st.sampled_from(
        [
            "application/json",
            "application/cloudevents+json",
            "text/plain",
            "",
            "multipart/form-data; boundary=x",
        ]
    ),
    key=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300),
    prefer=st.sampled_from(["", "wait=0", "wait=-1", "wait=x", "wait=99999999999", "wait=1;;,"]),
)
def test_odd_bodies_are_refused_with_a_problem(
    behind: Behind, body: bytes, path: str, content_type: str, key: str | None, prefer: str
) -> None:
    """Bytes under any content type, with any idempotency key and preference."""
    headers = {"content-type": content_type, "prefer": prefer}
    if key is not None:
        headers["idempotency-key"] = key
    answer = behind.send("POST", path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["status"] == answer.status_code
    assert problem["title"]


@pytest.mark.parametrize("role", [None, "viewer"])
def test_who_may_not_learns_nothing(behind: Behind, document: Any, role: str | None) -> None:
    """Without a right key or role, every operation that changes something is refused before it looks."""
    for result in document.get_all_operations():
        operation = result.ok()
        if operation.method.upper() == "GET":
            continue
        path = operation.path.replace("{", "").replace("}", "")
        answer = behind.send(operation.method.upper(), path, role=role, json={})
        assert answer.status_code == (401 if role is None else 403), (operation.method, path, answer.text)
