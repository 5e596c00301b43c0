"""The house rules: who may import whom, how long a file may be, and what may not be written down."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room and those below it, which it may import. Siblings (orchestrator and reactors; bus and store) are
# not below each other.
BELOW = {
    "contracts": set[str](),
    "bus": {"contracts"},
    "store": {"contracts"},
    "orchestrator": {"bus", "store", "contracts"},
    "reactors": {"bus", "store", "contracts"},
    "gateway": {"orchestrator", "reactors", "bus", "store", "contracts"},
    "antiphon": {"gateway", "orchestrator", "reactors", "bus", "store", "contracts"},
    "examples": {"antiphon"},
}
# A third-party client, and the only places that may know of it.
ADAPTERS = {
    "aio_pika": ("bus/rabbit/",),
    "aiormq": ("bus/rabbit/",),
    "redis": ("store/live/redis",),
    "asyncpg": ("store/",),
    "alembic": ("store/",),
    "fastapi": ("gateway/",),
    "starlette": ("gateway/",),
    "uvicorn": ("gateway/", "antiphon/"),
    "click": ("antiphon/cli/",),
}
ENGINE_MAKERS = {"create_engine", "create_async_engine", "async_engine_from_config", "engine_from_config"}
MOST_LINES = 350


@dataclass(frozen=True)
class Import:
    """One import statement's module, where it stands, and whether it is for type checkers only."""

    module: str
    names: tuple[str, ...]
    line: int
    for_types: bool

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    return tuple(_imports(tree_of(path), path, for_types=False))


def _imports(node: ast.AST, path: Path, *, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, (), child.lineno, for_types)
        elif isinstance(child, ast.ImportFrom):
            names = tuple(alias.name for alias in child.names)
            yield Import(_absolute(child, path), names, child.lineno, for_types)
        else:
            guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from _imports(child, path, for_types=for_types or guarded)


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if node.level == 0:
        return node.module or ""
    package = list(path.relative_to(ROOT).parts[: -node.level])
    return ".".join([*package, node.module] if node.module else package)


ROOMS = list(BELOW)
FILES = python_files(*ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down_and_never_sideways(room: str) -> None:
    """A room imports itself and those below it; type checkers' imports count too."""
    allowed = {room, *BELOW[room]}
    wrong = [
        f"{name_of(path)}:{found.line} imports {found.module}"
        for path in python_files(room)
        for found in imports_of(path)
        if found.top in BELOW and found.top not in allowed
    ]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Following the imports that run at import time never leads back to where it began."""
    modules = {_module(path): path for path in FILES}
    graph = {name: _targets(path, set(modules)) - {name} for name, path in modules.items()}
    assert _circle(graph) == []


def test_a_circle_would_be_found() -> None:
    """The search itself works, also for a circle that does not go through where it began."""
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(path: Path, known: set[str]) -> set[str]:
    found: set[str] = set()
    for statement in imports_of(path):
        if statement.for_types:
            continue
        full = {f"{statement.module}.{name}" for name in statement.names}
        found |= (full & known) or ({statement.module} & known)
        if full - known and statement.module in known:
            found.add(statement.module)
    return found


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """The first circle found, as a list of modules; empty when there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if circle := walk(target, [*path, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := walk(name, []))), [])


@pytest.mark.parametrize("client", ADAPTERS)
def test_a_client_library_is_imported_in_its_adapter_only(client: str) -> None:
    """What a room stands on can be changed in one place."""
    wrong = [
        f"{name_of(path)}:{found.line} imports {found.module}"
        for path in FILES
        for found in imports_of(path)
        if found.top == client and not name_of(path).startswith(ADAPTERS[client])
    ]
    assert wrong == []


def test_engines_are_made_in_the_store_only() -> None:
    """Connections, their pragmas and their recovery are one room's business."""
    wrong = [
        f"{name_of(path)}:{found.line} imports {name}"
        for path in FILES
        for found in imports_of(path)
        for name in found.names
        if name in ENGINE_MAKERS and not name_of(path).startswith("store/")
    ]
    assert wrong == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    """A file past 350 lines holds two things with two names."""
    files = [*FILES, *python_files("tests", "benchmarks")]
    long = {
        name_of(path): count for path in files if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_no_file_is_called_utils() -> None:
    """A file is named after the thing that a newcomer would look for."""
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [name_of(path) for path in FILES if path.name in vague] == []


LISTING = [path for path in FILES if path.name != "__main__.py" and "__all__" in path.read_text()]


@pytest.mark.parametrize("path", LISTING, ids=name_of)
def test_all_is_true_and_complete(path: Path) -> None:
    """Where ``__all__`` is written, each name in it exists, and what other files import from it is in it."""
    listed = _listed(tree_of(path))
    module = importlib.import_module(_module(path))
    assert [name for name in listed if not hasattr(module, name)] == [], "in __all__, but not there"
    assert [name for name in listed if listed.count(name) > 1] == [], "twice in __all__"
    inside = {child.stem for child in path.parent.iterdir()} if path.name == "__init__.py" else set()
    assert sorted(_wanted(_module(path)) - set(listed) - inside) == [], (
        "imported elsewhere, but not in __all__"
    )


def _listed(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def _wanted(module: str) -> set[str]:
    """What the other files import from a module by name."""
    return {
        name
        for path in FILES
        for found in imports_of(path)
        if found.module == module and _module(path) != module
        for name in found.names
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_says_what_it_is_and_has_lazy_annotations(path: Path) -> None:
    """A module opens with a docstring; annotations are not evaluated at import."""
    tree = tree_of(path)
    if not tree.body:
        return
    assert ast.get_docstring(tree), "no docstring at the top"
    code = [
        node
        for node in tree.body
        if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign)
    ]
    if code:
        future = [found for found in imports_of(path) if found.module == "__future__"]
        assert future, "from __future__ import annotations is missing"


def test_nothing_is_left_for_later() -> None:
    """No TODO, no FIXME, no NotImplementedError where something was promised."""
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError")
    wrong = [
        f"{name_of(path)}:{number}"
        for path in [*FILES, *python_files("tests")]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert wrong == []


def test_no_error_is_swallowed_without_a_word() -> None:
    """``except: pass`` on a broad exception loses the one thing that would have told us."""
    wrong = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler) or not all(isinstance(s, ast.Pass) for s in node.body):
                continue
            if node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"}:
                wrong.append(f"{name_of(path)}:{node.lineno}")
    assert wrong == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_names_no_host_and_hashes_everything(name: str) -> None:
    """Locked versions come from whatever registry is configured where they are installed, checked by hash."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^--?(index|extra-index|find-links|trusted)", text, re.M)
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_runtime_is_locked_to_the_versions_that_the_tests_ran_with() -> None:
    """``make demo`` after ``make test`` changes nothing in the environment."""
    runtime, development = (_pins(name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert {name: pin for name, pin in runtime.items() if development.get(name) != pin} == {}


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==(\S+)", (ROOT / name).read_text(), re.M))


def test_test_files_can_be_told_apart() -> None:
    """pytest imports test files by their bare name, so two of one name would shadow each other."""
    names = [path.name for path in python_files("tests") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert [name_of(path) for path in python_files("tests") if path.stem in BELOW] == []


def test_what_a_run_leaves_behind_is_not_in_the_repository() -> None:
    """No database, cache, secret or environment file is tracked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nothing is tracked")
    bad = re.compile(
        r"(\.db(-wal|-shm)?|\.sqlite3?|\.pyc|\.key|(^|/)\.env)$|(^|/)(\.venv|__pycache__|node_modules)/"
    )
    assert [name for name in listed.stdout.splitlines() if bad.search(name)] == []
