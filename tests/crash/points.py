"""Where a crash point must stand, derived from the code.

A *site* is a call that makes something durable, visible or final: a commit, a publish, an ack, or an effect
(a step, a handler, a timer that fires, an entry of the live feed). It is found by the name it is called by,
whatever it is called on, so that a new one is found without being listed. Directly before it must stand
``reached("<module>.<what>.before")`` and directly behind it ``reached("<module>.<what>.after")``.

The few that need none are in ``EXEMPT``, each with the reason, and each must be there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXEMPT", "ROOT", "Findings", "all_points", "look_at", "source_files"]

ROOT = Path(__file__).parents[2]

# RabbitMQ's adapter has none: what it sends ends in the broker, and each of its callers has points on both
# sides of the call.
ROOMS = ("orchestrator", "reactors", "gateway", "antiphon", "bus", "store")
ELSEWHERE = (
    "antiphon/testing/",  # the simulation: its crashes come from the seed
    "antiphon/devservices/",  # starts servers for tests
    "bus/rabbit/",
    "store/migrations/",  # run by Alembic in a transaction of the engine's
    "store/inline.py",  # the simulation's store
)

# What a site is called: ``anything.commit(...)``.
VERBS = {
    "commit": "commit",
    "submit": "commit",
    "enqueue": "commit",
    "transact": "commit",
    "write": "commit",
    "settle": "commit",
    "publish": "publish",
    "ack": "ack",
    "reject": "ack",
    "handler": "effect",
    "_fire": "effect",
}
# An attribute that is too common a name: only on what is named so.
VERBS_ON = {("live", "append"): "effect", ("_live", "append"): "effect", ("lanes", "fetch"): "commit"}
# Called by a bare name, here or in a thread: ``function(context)``, ``place.call(function, context)``.
NAMES = {"function": "effect"}
IN_A_THREAD = {"asyncio.to_thread", "place.call"}
# Handing one of these on, uncalled, would hide a site.
NEVER_HANDED_ON = {"submit", "enqueue", "transact", "publish", "ack", "reject"}

_FORWARDS = "forwards to the line below, and each of its callers has points around the call"
_READS = "reads: nothing is written"
EXEMPT = {
    "orchestrator/client.py: standing.submit": _READS,
    "orchestrator/client.py: self._standing.submit": _READS,
    "orchestrator/client.py: self._starts.publish": "gathers, and hands on: starts.py has the points",
    "orchestrator/journal.py: self._questions.submit": _READS,
    "orchestrator/journal.py: self._commits.submit": _FORWARDS,
    "reactors/inbox.py: self._settlements.submit": _FORWARDS,
    "reactors/desk.py: inbox.settle": "again, when the store was away: the first try has the points",
    "reactors/consumer.py: subscription.reject": "what raises for ever: nothing in the story does",
    "gateway/auth.py: self._lookups.submit": _READS,
    "gateway/routes/runs.py: gateway_of(request).lookups.submit": _READS,
    "bus/signed.py: self._inner.publish": _FORWARDS,
    "bus/signed.py: self._inner.ack": _FORWARDS,
    "bus/signed.py: self._inner.reject": _FORWARDS,
    "store/database.py: self._writer.enqueue": _FORWARDS,
    "store/database.py: engine.transact": _FORWARDS,
    "store/writer.py: self._writer.enqueue": _FORWARDS,
    "store/sqlite.py: engine.transact": "makes the file: an empty transaction",
    "store/postgres.py: engine.transact": "asks whether the server is there: an empty transaction",
    "store/migrate.py: engine.transact": "the schema: ends in the engine's own commit, which has points",
    "antiphon/broker/logins.py: file.write": "a file for an operator",
    "antiphon/cli/contracts.py: after.write": "a file in the user's working tree",
    "antiphon/cli/partitions.py: database.write": "ends in the engine's own commit, which has points",
    "antiphon/keys/making.py: file.write": "a key's file",
    "antiphon/settings/__main__.py: sys.stdout.write": "a document on standard output",
    "antiphon/checking/steps.py: system.handler": "looks a handler up, and calls none",
    "antiphon/checking/system.py: self.handler": "looks a handler up, and calls none",
    "antiphon/mapping/asyncapi.py: system.handler": "looks a handler up, and calls none",
    "gateway/keys.py: file.write": "the development key's file",
}


@dataclass
class Findings:
    """What one module has: its points in order, what is wrong, and which exemptions it used."""

    points: list[str]
    problems: list[str]
    exempted: set[str]


def source_files() -> list[Path]:
    """Every module in which sites count."""
    found = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    return [path for path in found if not _name(path).startswith(ELSEWHERE)]


def all_points() -> list[str]:
    """The names of all points, as they stand in the code."""
    return [point for path in source_files() for point in look_at(path.read_text(), _name(path)).points]


def look_at(source: str, path: str) -> Findings:
    """Look at one module's source; ``path`` is relative to the root."""
    tree = ast.parse(source)
    prefix = path.removesuffix(".py").replace("/", ".")
    found = Findings(points=[], problems=[], exempted=set())
    paired: set[int] = set()
    for block in _blocks(tree):
        for index, statement in enumerate(block):
            sites = list(_sites(statement, path, found))
            if not sites:
                continue
            before = block[index - 1] if index else None
            after = block[index + 1] if index + 1 < len(block) else None
            names = _point(before), _point(after)
            where = f"{path}:{statement.lineno}: {', '.join(sites)}"
            wrong = _objection(statement, prefix, names)
            if wrong:
                found.problems.append(f"{where}: {wrong}")
            paired |= {statement.lineno for statement in (before, after) if statement is not None}
    for node in ast.walk(tree) if _imports_it(tree) else ():
        name = _point_called(node)
        if name is not None:
            found.points.append(name)
            if node.lineno not in paired:  # type: ignore[attr-defined]
                found.problems.append(f"{path}: the point {name} stands beside nothing that needs one")
    return found


def _objection(statement: ast.stmt, prefix: str, names: tuple[str | None, str | None]) -> str | None:
    if not isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign):
        return "must be a statement of its own, with a point before and one behind it"
    before, after = names
    if before is None or not before.endswith(".before") or not before.startswith(f"{prefix}."):
        return f'needs reached("{prefix}.<what>.before") on the line before it'
    if after != before.removesuffix("before") + "after":
        return f'needs reached("{before.removesuffix("before")}after") on the line behind it'
    return None


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def _sites(statement: ast.stmt, path: str, found: Findings) -> Iterator[str]:
    """What is called in this statement itself, not in those inside of it."""
    parts = [child for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.stmt)]
    parts = [part for part in parts if not isinstance(part, ast.excepthandler | ast.match_case)]
    expressions = [node for part in parts for node in ast.walk(part)]
    calls = [node for node in expressions if isinstance(node, ast.Call)]
    called = {id(call.func) for call in calls}
    called |= {id(call.args[0]) for call in calls if ast.unparse(call.func) in IN_A_THREAD}
    for node in expressions:
        if not _is_site(node, called):
            continue
        exemption = f"{path}: {ast.unparse(node)}"
        if exemption in EXEMPT:
            found.exempted.add(exemption)
        else:
            yield ast.unparse(node)


def _is_site(node: ast.AST, called: set[int]) -> bool:
    if isinstance(node, ast.Name):
        return id(node) in called and node.id in NAMES
    if not isinstance(node, ast.Attribute):
        return False
    if id(node) not in called:
        return node.attr in NEVER_HANDED_ON and isinstance(node.ctx, ast.Load)
    on = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr in VERBS or (on, node.attr) in VERBS_ON


def _point(statement: ast.stmt | None) -> str | None:
    return _point_called(statement.value) if isinstance(statement, ast.Expr) else None


def _point_called(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reached":
        argument = node.args[0]
        # A name that is put together at run time can't be derived from the code.
        return argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
    return None


def _imports_it(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.module == "contracts.crash" for node in tree.body)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
