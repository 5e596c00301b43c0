"""One consumer drains 20,000 persistent messages of 512 bytes: ``python -m benchmarks.reactors [--short]``.

Quorum queues everywhere. Antiphon validates each against its contract, deduplicates in its inbox on
PostgreSQL, and verifies a signature (HMAC-SHA256 as one process alone does, Ed25519 as several do) or none;
the peers do none of the three. A handler that says it is idempotent begins before the inbox knows of the
message, as the peers' do; one that does not waits for its claim.
``published_per_s`` is each side's own confirmed publishing. The sides "at 500/s" measure from the call that
publishes a message to its handler, in one process, at a steady pace.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

from antiphon.devservices import DevServices
from benchmarks import peers
from benchmarks.harness import Bench, arguments

PACE = 500  # messages a second
MODES = ("unsigned", "hmac", "ed25519")
HOW = {"": "", " idempotent": "idempotent"}  # what the handler says of itself
PEERS = ("aio_pika", "faststream", "taskiq", "celery", "dramatiq")
PACED = ("aio_pika", "faststream")


def main() -> None:
    options = arguments(__doc__ or "")
    count = 2_000 if options.short else 20_000
    with DevServices() as services:
        bench = Bench("reactors", options, services)
        services.prepare()
        bench.in_turns([*ours(bench, count), *theirs(bench, count)])
        bench.report(peers.versions(*(name.replace("_", "-") for name in PEERS)))


def ours(bench: Bench, count: int) -> Iterator[Callable[[], object]]:
    """Antiphon, in all that it can be told."""
    for mode, (name, how) in itertools.product(MODES, HOW.items()):
        side = f"antiphon {mode}{name}"
        yield partial(antiphon, bench, side, mode, count, 0, how)
        yield partial(antiphon, bench, f"{side} at {PACE}/s", mode, count // 4, PACE, how)


def antiphon(bench: Bench, side: str, mode: str, *options: object) -> None:
    """Run one: in a database that nothing was in, and with keys of the one kind."""
    home = {"ANTIPHON_HOME": f".antiphon/bench/home-{mode}"}
    bench.side(side, "antiphon_reactor", mode, *options, **bench.services.settings(), **home)


def theirs(bench: Bench, count: int) -> Iterator[Callable[[], object]]:
    """The peers; at a pace those that Antiphon is to be as quick as."""
    python = peers.python()
    where = {"AMQP_URL": bench.services.rabbit.url, "REDIS_URL": bench.services.redis.url}
    for name in PEERS:
        if isinstance(python, str):
            bench.missing(name, python)
            continue
        start = partial(bench.side, python=python, **where)
        yield partial(start, name, f"{name}_consumer", count)
        if name in PACED:
            yield partial(start, f"{name} at {PACE}/s", f"{name}_consumer", count // 4, PACE)


if __name__ == "__main__":
    main()
