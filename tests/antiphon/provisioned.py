"""A vhost that was provisioned for an app, as its tests reach it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from antiphon import App, Flow, Service, emit, reacts_to, step
from antiphon.broker import Login, Logins, Management, Plan, difference, plan_of
from antiphon.devservices import Rabbit
from bus.rabbit import RabbitBus

PARTITIONS = 2


@dataclass
class Provisioned:
    """A vhost, its plan, and how each role logs in."""

    plan: Plan
    management: Management
    logins: dict[str, Login]
    folder: Path

    def url(self, role: str) -> str:
        return self.logins[role].environment()["ANTIPHON_AMQP_URL"]

    def bus(self, role: str, *, as_user: str | None = None, timeout: float = 10.0) -> RabbitBus:
        """A bus of a role; ``as_user`` says it is another."""
        user = as_user or self.logins[role].user.name
        return RabbitBus(self.url(role), user=user, publish_timeout=timeout)

    def changes(self) -> tuple[str, ...]:
        """What provisioning again would change."""
        passwords = {login.user.name: login.password for login in self.logins.values()}
        found = self.management.definitions()
        return difference(self.plan.definitions(), found, passwords, "x.").changes


def management_url(rabbit: Rabbit) -> str:
    account = urlsplit(rabbit.url)
    parts = urlsplit(rabbit.management_url or "")
    return f"http://{account.username}:{account.password}@{parts.netloc}"


@contextmanager
def provisioned(rabbit: Rabbit, app: App, folder: Path, **options: object) -> Iterator[Provisioned]:
    """A fresh vhost with everything that ``app`` needs, and nothing else."""
    with rabbit.vhost() as url:
        parts = urlsplit(url)
        plan = plan_of(app, vhost=parts.path[1:], partitions=PARTITIONS, **options)  # type: ignore[arg-type]
        management = Management(management_url(rabbit))
        broker = f"amqp://{parts.hostname}:{parts.port}"
        logins = {u.role: Login(u, Logins(None).make(), broker, plan.vhost) for u in plan.users}
        Logins(folder).keep(logins.values())
        passwords = {login.user.name: login.password for login in logins.values()}
        management.bring(difference(plan.definitions(), management.definitions(), passwords, "").definitions)
        yield Provisioned(plan, management, logins, folder)


def small_app(folder: Path, name: str) -> App:
    """One flow that emits, two reactors, and two services; every contract takes any object."""
    for type in (
        "shop.asked.v1",
        "shop.sold.v1",
        "bank.pay.v1",
        "post.send.v1",
        "shop.seen.v1",
        "far.away.v1",
    ):
        domain, _, rest = type.partition(".")
        path = folder / domain / f"{rest}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        contract = {"$id": f"https://shop.example/{type}", "type": "object", "examples": [{}]}
        path.write_text(json.dumps({**contract, "title": type, "description": "Something of a shop."}))
    bank, post = Service("bank"), Service("post")

    @bank.handles("bank.pay.v1")
    async def pay(command: dict[str, object]) -> None: ...

    @post.handles("post.send.v1")
    async def send(command: dict[str, object]) -> None: ...

    @reacts_to("shop.seen.v1")
    async def count(event: dict[str, object]) -> None: ...

    @reacts_to("shop.sold.v1", "far.away.v1")
    async def tell(event: dict[str, object]) -> None: ...

    flow = Flow(
        "buy",
        version=1,
        key="id",
        input="shop.asked.v1",
        steps=[
            step("pay", at="bank", command="bank.pay.v1", data={"id": "$.input.id"}, pivot=True),
            step("send", at="post", command="post.send.v1", data={"id": "$.input.id"}),
            emit("shop.sold.v1", {"id": "$.input.id"}),
        ],
    )
    return App(name, flows=[flow], reactors=[count, tell], services=[bank, post], contracts=folder)
