"""Records: like frozen dataclasses for everybody but the one who would change them."""

from __future__ import annotations

import pytest
from mypy import api

from bus.port import Delivery, Message
from contracts.record import record


@record
class Point:
    x: int
    y: int = 0


def test_records_are_equal_and_hashed_by_what_they_hold() -> None:
    assert Point(1) == Point(1, 0) != Point(1, 1)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert not hasattr(Point(1), "__dict__")


def test_one_without_equality_is_itself_only() -> None:
    message = Message("1", b"")
    one, other = (Delivery(message, "q", "", "q", 0, None) for _ in range(2))
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ('Message("a", b"").id = "b"', 'Property "id" defined in "Message" is read-only'),
        ('Event("a", "s", "t", b"").type = "u"', 'Property "type" defined in "Event" is read-only'),
        ("Message(3, b'')", 'Argument 1 to "Message" has incompatible type "int"'),
    ],
)
def test_the_type_checker_sees_who_changes_one(code: str, complaint: str) -> None:
    imports = "from bus.port import Message; from contracts.envelope import Event"
    out, _, code_of_exit = api.run(["--config-file=", "-c", f"{imports}\n{code}"])
    assert complaint in out
    assert code_of_exit == 1
