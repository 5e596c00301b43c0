"""Three nodes of RabbitMQ on this machine, in one cluster: quorum queues have a member on each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import orjson

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.ports import free_ports
from antiphon.devservices.rabbit import PORTS, LocalRabbit

__all__ = ["RabbitCluster"]


class RabbitCluster:
    """The nodes; any of them may be killed and started again. Every method blocks.

    ``script``: see ``find_rabbit``. Declare queues after ``start``: a quorum queue takes its members from
    the nodes that are there when it is made.
    """

    def __init__(self, script: Path, size: int = 3) -> None:
        ports = free_ports(PORTS * size)
        own = [ports[at : at + PORTS] for at in range(0, len(ports), PORTS)]
        first = LocalRabbit(script, ports=own[0])
        self.nodes = [first, *(LocalRabbit(script, beside=first, ports=each) for each in own[1:])]

    @property
    def url(self) -> str:
        """All nodes' addresses, as ``ANTIPHON_AMQP_URL`` takes them."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start those that do not run: at the first time one forms the cluster, then the others join it.

        Raises ServiceUnavailable.
        """
        first, *others = self.nodes
        first.start()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(LocalRabbit.start, others))

    def leader(self, queue: str, vhost: str = "/") -> LocalRabbit:
        """The node that leads a quorum queue now. Raises ServiceUnavailable when none does."""
        path = f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        told = orjson.loads(self._running().manage("GET", path))
        for node in self.nodes:
            if node.node == told.get("leader") and node.running:
                return node
        raise ServiceUnavailable(f"no node leads {queue!r}: RabbitMQ says {told.get('leader')!r}")

    def members(self, queue: str, vhost: str = "/") -> tuple[int, int]:
        """How many nodes have a member of a quorum queue, and how many of those are online."""
        path = f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        told = orjson.loads(self._running().manage("GET", path))
        return len(told.get("members", ())), len(told.get("online", ()))

    def close(self) -> None:
        """End them all; the first has the port mapper, and goes last."""
        for node in reversed(self.nodes):
            node.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> LocalRabbit:
        for node in self.nodes:
            if node.running:
                return node
        raise ServiceUnavailable("no node of the cluster is running")
