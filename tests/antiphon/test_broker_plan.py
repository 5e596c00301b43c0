"""What an app's broker is planned to be, from the app alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.broker import Login, Logins, difference, plan_of
from antiphon.broker.difference import password_hash
from contracts.errors import ConfigurationError
from examples.ride.app import app as ride
from tests.antiphon.provisioned import small_app


def matches(pattern: str, *names: str) -> list[str]:
    return [name for name in names if re.search(pattern, name)]


def test_each_role_publishes_its_own_types_only() -> None:
    """The orchestrator says what flows emit, reactors what no flow emits, services nothing."""
    plan = plan_of(ride, vhost="/", partitions=2)
    types = ride.registry.types()
    emitted = ["ride.booked.v1", "ride.cancelled.v1", "ride.completed.v1"]

    def said(role: str) -> list[str]:
        return matches(plan.user(role).permission.topics_written, *types)

    assert said("orchestrator") == emitted
    assert said("reactors") == ["trip.ended.v1"]
    assert said("gateway") == [*emitted, "trip.ended.v1"]
    assert said("payments") == said("operator") == []


def test_reactors_may_emit_what_they_declare(tmp_path: Path) -> None:
    """Also a type that a flow emits; and no other once each of them says what it emits."""
    app = small_app(tmp_path, "shop")

    def said(*emits: tuple[str, ...] | None) -> list[str]:
        app.reactors = tuple(
            replace(reactor, emits=each) for reactor, each in zip(app.reactors, emits, strict=True)
        )
        plan = plan_of(app, vhost="/", partitions=1)
        return matches(plan.user("reactors").permission.topics_written, *app.registry.types())

    assert said(None, None) == ["far.away.v1", "shop.seen.v1"]
    assert said(("shop.sold.v1",), None) == ["far.away.v1", "shop.seen.v1", "shop.sold.v1"]
    assert said(("shop.sold.v1",), ()) == ["shop.sold.v1"]


def test_names_are_matched_exactly() -> None:
    """Neither a dot nor an end stands for anything else, so a longer or a similar name is no way in."""
    plan = plan_of(ride, vhost="/", partitions=2)
    may = plan.user("reactors").permission
    near = ["reactor.notifyX", "reactorXnotify", "Xreactor.notify", "reactor.notify.dead.x", "partition.0"]
    assert matches(may.read, "reactor.notify", "reactor.notify.dead", *near) == [
        "reactor.notify",
        "reactor.notify.dead",
    ]
    assert matches(may.topics_written, "trip.ended.v1", "trip.ended.v10", "tripXended.v1") == [
        "trip.ended.v1"
    ]
    assert matches(may.write, "amq.default", "antiphon.commands", "antiphon.partitions", "") == []
    assert (
        matches(may.configure, "reactor.notify", "antiphon.delay.50ms", "antiphon.delay.ride.payments.50ms")
        == []
    )
    assert matches(may.configure, "antiphon.delay.ride.reactors.50ms") == [
        "antiphon.delay.ride.reactors.50ms"
    ]


def test_policies_spare_dead_queues() -> None:
    """A dead queue has no place below it: a limit of deliveries there would lose what is dead."""
    queues, dead, delays = plan_of(ride, vhost="/", partitions=2).policies
    names = ["partition.0", "reactor.notify", "service.payments", "orchestrator.events"]
    buried = [f"{name}.dead" for name in names]
    others = ["somebody.else", "reactor", "antiphon.delay.ride.reactors.50ms"]
    assert matches(queues.pattern, *names, *buried, *others) == names
    assert matches(dead.pattern, *names, *buried, *others) == buried
    assert matches(delays.pattern, *names, *buried, *others) == others[-1:]
    assert queues.definition["delivery-limit"] == 50
    assert int(dead.definition["delivery-limit"]) > 10**9
    assert all(each.definition["overflow"] == "reject-publish" for each in (queues, dead, delays))


def test_a_producer_outside_gets_a_user_of_its_own(tmp_path: Path) -> None:
    """``may`` lets a role say more, and a name that is no role publish that and nothing else."""
    app = small_app(tmp_path, "shop")
    plan = plan_of(
        app, vhost="/", partitions=1, may={"billing": ["far.away.v1"], "reactors": ["shop.sold.v1"]}
    )
    billing = plan.user("billing").permission
    assert (billing.write, billing.read, billing.configure) == (r"^(?:antiphon\.events)$", "^$", "^$")
    assert billing.topics_written == r"^(?:far\.away\.v1)$"
    assert matches(plan.user("reactors").permission.topics_written, "shop.sold.v1") == ["shop.sold.v1"]
    for role in ("gateway", "orchestrator", "reactors", "operator", "bank", "billing"):
        may = plan_of(app, vhost="/", partitions=1, may={role: ["far.away.v1"]}).user(role).permission
        assert matches(may.write, "antiphon.events"), f"{role} reaches the exchange of what it may say"
        assert matches(may.topics_written, "far.away.v1")
    with pytest.raises(ConfigurationError, match="no such contract"):
        plan_of(app, vhost="/", partitions=1, may={"billing": ["far.awry.v1"]})


def test_nothing_is_missing_from_what_was_brought(tmp_path: Path) -> None:
    """A broker that has the plan differs in nothing; one object changed or missing is the only change."""
    plan = plan_of(small_app(tmp_path, "shop"), vhost="v", partitions=1)
    passwords = {user.name: f"secret of {user.name}" for user in plan.users}
    empty: dict[str, Any] = {}
    brought = difference(plan.definitions(), empty, passwords, "shop.").definitions
    assert difference(plan.definitions(), brought, passwords, "shop.").changes == ()
    brought["permissions"][0] = {**brought["permissions"][0], "write": ".*"}
    brought["bindings"].pop()
    changes = difference(plan.definitions(), brought, passwords, "shop.").changes
    assert changes[0] == "change permissions of shop.gateway"
    assert len(changes) == 2


@pytest.mark.parametrize("tags", [["administrator"], "management"])
def test_a_tag_is_taken_from_a_role(tmp_path: Path, tags: object) -> None:
    """With one its login would reach the management API; it keeps its password, known here or not."""
    plan = plan_of(small_app(tmp_path, "shop"), vhost="v", partitions=1)
    passwords = {user.name: f"secret of {user.name}" for user in plan.users}
    brought = difference(plan.definitions(), {}, passwords, "shop.").definitions
    tagged = {**brought["users"][0], "tags": tags}
    found = {**brought, "users": [tagged, *brought["users"][1:]]}
    for known in (passwords, {}):
        differs = difference(plan.definitions(), found, known, "shop.")
        assert differs.changes == ("change user shop.gateway",)
        assert differs.definitions == {"users": [brought["users"][0]]}


def test_what_nobody_needs_is_named_and_left(tmp_path: Path) -> None:
    """A user of the app that is gone is told of; those of others are none of our business."""
    plan = plan_of(small_app(tmp_path, "shop"), vhost="v", partitions=1)
    found: dict[str, Any] = {"users": [{"name": "shop.gone", "tags": ""}, {"name": "guest", "tags": ""}]}
    passwords = {user.name: "x" for user in plan.users}
    assert difference(plan.definitions(), found, passwords, "shop.").left_over == ("user shop.gone",)
    found["permissions"] = [{"user": "shop.gone", "vhost": "v", "configure": "", "write": "", "read": ""}]
    assert difference(plan.definitions(), found, passwords, "shop.").left_over == ("user shop.gone",)
    found["permissions"][0]["vhost"] = "another"  # where another version of the app has it
    assert difference(plan.definitions(), found, passwords, "shop.").left_over == ()


def test_a_queue_of_another_kind_is_an_error(tmp_path: Path) -> None:
    """RabbitMQ would pass over it in silence, and the app would run on a queue that loses messages."""
    plan = plan_of(small_app(tmp_path, "shop"), vhost="v", partitions=1)
    classic = {**plan.definitions()["queues"][0], "arguments": {}}
    with pytest.raises(ConfigurationError, match="exists in another form"):
        difference(
            plan.definitions(), {"queues": [classic]}, dict.fromkeys([u.name for u in plan.users], "x"), ""
        )


def test_logins_are_for_their_owner_only(tmp_path: Path) -> None:
    """Each file is 0600 from its first moment, holds one login, and gives its password back."""
    plan = plan_of(small_app(tmp_path / "c", "shop"), vhost="a/b", partitions=1)
    logins = Logins(tmp_path / "logins", make=lambda: "s3cret-of_1")
    mine = Login(plan.user("bank"), logins.make(), "amqps://mq:5671?cafile=x", "a/b")
    (path,) = logins.keep([mine])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines() == [
        "ANTIPHON_AMQP_URL=amqps://shop.bank:s3cret-of_1@mq:5671/a%2Fb?cafile=x",
        "ANTIPHON_BROKER=provisioned",
    ]
    assert logins.known(plan.users, plan.vhost) == {"shop.bank": "s3cret-of_1"}
    logins.keep([replace(mine, broker="amqps://mq1:5671,amqps://mq2:5671")])
    nodes = [f"amqps://shop.bank:s3cret-of_1@{node}:5671/a%2Fb" for node in ("mq1", "mq2")]
    assert path.read_text().startswith(f"ANTIPHON_AMQP_URL={','.join(nodes)}\n")
    assert logins.known(plan.users, plan.vhost) == {"shop.bank": "s3cret-of_1"}
    path.write_text("ANTIPHON_AMQP_URL=amqp://somebody:x@mq/\n")
    with pytest.raises(ConfigurationError, match=r"bank.env has no ANTIPHON_AMQP_URL of the user"):
        logins.known(plan.users, plan.vhost)


def test_a_password_is_hashed_the_same_each_time() -> None:
    """So that bringing a plan again is no change."""
    assert password_hash("a") == password_hash("a") != password_hash("b")
