"""Flows that nobody would write, to find what nobody would think of."""

from __future__ import annotations

import itertools
import random

from contracts.retry import Retry
from orchestrator.flow import Flow
from orchestrator.nodes import Node, call, emit, parallel, sleep, wait, when
from tests.orchestrator.flows import flow, here, remote, remote_undoable, undoable

CHILD = flow(here("only"), name="child")


class Writer:
    """Writes one flow by a source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names = (f"n{number}" for number in itertools.count())

    def flow(self) -> Flow:
        """A flow with a pivot now and then."""
        length = self._chance.randint(1, 5)
        turn = self._chance.randrange(length + 2)
        nodes: list[Node] = []
        for number in range(length):
            if number == turn:
                nodes.append(here(next(self._names), pivot=True))
            nodes.append(self._node(depth=0, pivoted=number >= turn))
        told = [emit("f.failed.v1", {"why": "$.error.code"})] if self._chance.random() < 0.5 else []
        return flow(*nodes, on_failure=told)

    def _node(self, *, depth: int, pivoted: bool) -> Node:
        kinds = ["step", "step", "step", "emit", "wait", "signal", "sleep", "call"]
        if depth < 2:
            kinds += ["when", "all", "first", "all"]
        name = next(self._names)
        match self._chance.choice(kinds):
            case "step":
                return self._step(name, pivoted)
            case "emit":
                return emit("x.said.v1", {"id": "$.input.id"}, name=name)
            case "wait":
                limit = self._chance.choice([None, 30])
                return wait(self._chance.choice(["x.one.v1", "x.two.v1"]), by="id", timeout=limit, name=name)
            case "signal":
                return wait(signal="go", name=name)
            case "sleep":
                return sleep(self._chance.randint(1, 50), name=name)
            case "call":
                return call("child", {"id": name}, name=name)
            case "when":
                yes = self._chance.random() < 0.5
                then = self._sequence(depth, pivoted, least=0)
                return when(lambda document: yes, then, self._sequence(depth, pivoted, least=0), name=name)
            case mode:
                count = self._chance.randint(2, 3)
                branches = [self._sequence(depth, pivoted, least=1) for _ in range(count)]
                return parallel(*branches, mode="first" if mode == "first" else "all", name=name)

    def _sequence(self, depth: int, pivoted: bool, *, least: int) -> list[Node]:
        count = self._chance.randint(least, 2)
        return [self._node(depth=depth + 1, pivoted=pivoted) for _ in range(count)]

    def _step(self, name: str, pivoted: bool) -> Node:
        policy = Retry(attempts=self._chance.randint(1, 3), first=1, jitter=0.2)
        deadline = self._chance.choice([None, None, 8])
        makers = [here, remote] if pivoted else [here, undoable, undoable, remote, remote_undoable]
        return self._chance.choice(makers)(name, retry=policy, deadline=deadline, timeout=5)
