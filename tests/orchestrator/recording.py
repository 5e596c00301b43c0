"""Histories of released flow versions, kept as files: what happened, and the facts that came of it.

``python -m tests.orchestrator.recording`` writes those that are missing; one that is there is never
written again, since runs in production have lived through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from orchestrator import happenings
from orchestrator.catalog import Catalog
from orchestrator.decide import begin, decide
from orchestrator.flow import Flow
from orchestrator.happenings import Happening
from orchestrator.run import Run
from tests.orchestrator.flows import newer_trip, trip
from tests.orchestrator.pretending import Pretended, rules, through_json, through_the_store

FOLDER = Path(__file__).parent / "histories"
RELEASED: dict[str, Flow] = {"trip-v1": trip(), "trip-v2": newer_trip()}
CATALOG = Catalog(RELEASED.values())


class Recorded(Pretended):
    """Writes down what happens, and when."""

    def __init__(self, flow: Flow) -> None:
        self.happened: list[dict[str, Any]] = []
        super().__init__(flow, flow=CATALOG.find)

    def happen(self, happening: Happening) -> list[str]:
        data = dataclasses.asdict(happening)
        self.happened.append({"at": self.now, "type": type(happening).__name__, "data": data})
        return super().happen(happening)


def _first(run: Recorded) -> str:
    return run.flow.plan.first


def _good(run: Recorded) -> None:
    for node in (_first(run), "match", "authorize", "go"):
        run.finish(node, {"did": node})
    run.event("trip.over.v1", {"id": "k1"}, id="over")
    run.finish("capture", {"ok": True})


def _undone(run: Recorded) -> None:
    run.finish(_first(run), {"did": _first(run)})
    run.break_off("match")
    run.lose_owner()
    run.tick()
    run.lose_owner()
    run.finish("match", {"did": "match"})
    run.event("trip.over.v1", {"id": "k1"}, id="early")
    run.tick()
    run.tick()
    run.refuse("authorize", "declined")
    run.finish("authorize")
    run.break_off("match")
    run.tick()
    run.finish("match")


def _stuck(run: Recorded) -> None:
    for node in (_first(run), "match", "authorize"):
        run.finish(node, {"did": node})
    run.pause()
    run.finish("go")
    run.cancel()
    run.resume()
    run.event("trip.over.v1", {"id": "k1"}, id="over")
    run.refuse("capture", "no")
    run.retry()
    run.finish("capture")
    run.retry("capture")


def _moved(run: Recorded) -> None:
    run.finish("quote", {"did": "quote"})
    run.break_off("match")
    run.migrate(2)  # refused: what it did first has another name
    run.migrate(2, quote="estimate")
    run.tick()
    run.finish("match", {"did": "match"})
    run.lose_owner()
    for node in ("authorize", "go"):
        run.finish(node, {"did": node})
    run.event("trip.over.v1", {"id": "k1"}, id="over")
    run.finish("capture", {"ok": True})


STORIES: dict[str, Callable[[Recorded], None]] = {
    "completed": _good,
    "compensated": _undone,
    "mended": _stuck,
}


# Runs that began as one version and ended as the next.
MOVES: dict[str, dict[str, Callable[[Recorded], None]]] = {"trip-v1": {"moved": _moved}}


def record() -> list[str]:
    """Write what is missing; the names of the new files."""
    written = []
    for name, flow in RELEASED.items():
        for story, live in (STORIES | MOVES.get(name, {})).items():
            path = FOLDER / f"{name}-{story}.json"
            if path.exists():
                continue
            run = Recorded(flow)
            live(run)
            document = {
                "start": dataclasses.asdict(run.start),
                "began": run.origin.created_at,
                "happened": run.happened,
                "facts": [dataclasses.asdict(fact) for fact in run.facts],
                "status": run.run.status,
            }
            path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
            written.append(path.name)
    return written


def replay(flow: Flow, document: dict[str, Any]) -> tuple[Run, list[dict[str, Any]]]:
    """Let the same happen to the flow as it is now: the run, and its facts as they would be read back."""
    start = happenings.StartRequested(**{**document["start"], "early": ()})
    known = rules(flow=CATALOG.find)
    decision = begin(flow, start, now=document["began"], rules=known)
    run = through_the_store(decision.run)
    facts = [through_json(run, fact) for fact in decision.facts]
    for happened in document["happened"]:
        happening = getattr(happenings, happened["type"])(**happened["data"])
        here = flow if run.version == flow.version else CATALOG.find(run.flow, run.version)
        assert here is not None
        decision = decide(run, here, happening, now=happened["at"], rules=known)
        run = through_the_store(decision.run)
        facts += [through_json(run, fact) for fact in decision.facts]
    return run, [dataclasses.asdict(fact) for fact in facts]


if __name__ == "__main__":
    print("\n".join(record()) or "nothing is missing")
