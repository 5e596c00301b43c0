"""Confirmed publishing of 512-byte messages to a quorum queue: ``python -m benchmarks.publishing [--short]``.

The same loop, one message a call, with our bus and with bare aio-pika: 1, 100 and 1,000 in flight.
"""

from __future__ import annotations

import itertools
from importlib.metadata import version

from antiphon.devservices import DevServices
from benchmarks.harness import Bench, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    count = 3_000 if options.short else 30_000
    with DevServices() as services:
        bench = Bench("publishing", options, services)
        services.prepare()
        for _ in bench.rounds():
            for at_once, name in itertools.product((1, 100, 1000), ("antiphon", "aio_pika")):
                bench.side(
                    f"{name}, {at_once} in flight",
                    "publishing",
                    name,
                    count if at_once > 1 else count // 10,
                    at_once,
                    AMQP_URL=services.rabbit.url,  # nobody takes the messages: they go with the side's vhost
                )
        bench.report({"aio-pika": version("aio-pika")})


if __name__ == "__main__":
    main()
