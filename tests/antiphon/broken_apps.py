"""Small apps, each with one thing wrong: what ``antiphon check`` has to find in it, and where.

The line that has to be named carries ``# here``; for what is found in a contract it is the file that counts.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.app import App
from contracts.lock import LOCK_FILE, Lock
from contracts.registry import Registry

PRELUDE = """\
from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from antiphon import App, Command, Event, Flow, ReactionContext, Retry, Service
from antiphon import call, emit, parallel, reacts_to, sleep, step, wait, when

HERE = Path(__file__).parent / "contracts"


async def work(ctx):
    return {}


async def undo(ctx):
    return None


@reacts_to("a.done.v1", emits=[])
async def listen(event: dict) -> None:
    return None


"""
EXAMPLES: dict[str, Any] = {"string": "a", "integer": 1, "number": 1.5, "boolean": True}


def record(_closed: bool = True, _optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object's schema with an example; a property is a type's name or a schema."""
    schemas = {name: {"type": one} if isinstance(one, str) else one for name, one in properties.items()}
    required = [name for name in schemas if name not in _optional]
    example = {
        name: schemas[name].get("default", EXAMPLES.get(str(schemas[name].get("type")))) for name in required
    }
    return {
        "type": "object",
        "properties": schemas,
        "required": required,
        **({"additionalProperties": False} if _closed else {}),
        "examples": [example],
    }


ASKED, DONE = record(id="string", n="integer"), record(id="string")
BASE = {"a.asked.v1": ASKED, "a.done.v1": DONE}


@dataclass(frozen=True)
class Broken:
    """An app's text, its contracts by type, what was released of them, and the contract that is to blame."""

    source: str
    contracts: Mapping[str, Any] = field(default_factory=dict)
    released: Mapping[str, Any] = field(default_factory=dict)
    blamed: str | None = None
    proven: bool = False


def flow(*steps: str, name: str = "a", input: str = '"a.asked.v1"', key: str = "id", **more: str) -> str:
    """The text of a flow, a line each."""
    lines = [
        f'Flow("{name}", version=1, key="{key}", input={input}, steps=[',
        *(f"    {one}" if one.endswith("# here") else f"    {one}," for one in steps),
        "]",
    ]
    return "\n".join([*lines, *(f", {key}={value}" for key, value in more.items()), ")"])


DONE_EMIT = 'emit("a.done.v1", {"id": "$.input.id"})'


def app(*steps: str, before: str = "", reactors: str = "listen", more: str = "", **options: str) -> str:
    """An app of one flow."""
    return (
        f"{before}\none = {flow(*steps, **options)}\n"
        f'app = App("broken", flows=[one], reactors=[{reactors}], contracts=HERE{more})\n'
    )


PIVOT = "step(work, pivot=True)"
SERVICE = """
pay = Service("pay")


@pay.handles("pay.take.v1"{options})
async def take(command{model}):{here}
    return {{}}
"""
TAKE = {"pay.take.v1": record(id="string")}
PAID = {"pay.took.v1": record(ref="string")}


def service(options: str = "", model: str = ": dict", here: str = "") -> str:
    return SERVICE.format(options=options, model=model, here=here)


def asking(**more: str) -> str:
    """A step at the service."""
    options = "".join(f", {name}={value}" for name, value in more.items())
    return f'step("pay", at="pay", command="pay.take.v1", data={{"id": "$.input.id"}}, pivot=True{options})'


PAYING = ", services=[pay]"


def load(broken: Broken, folder: Path) -> App:
    """The app, from files in the folder."""
    _write_contracts({**BASE, **broken.contracts}, folder / "contracts")
    if broken.released:
        _write_lock(broken.released, folder)
    path = folder / "broken_app.py"
    path.write_text(PRELUDE + broken.source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    loaded = module.app
    assert isinstance(loaded, App)
    return loaded


def place(broken: Broken, folder: Path) -> tuple[str, int | None]:
    """The file and line that has to be named."""
    if broken.blamed is not None:
        return str(folder / "contracts" / broken.blamed), None
    path = folder / "broken_app.py"
    (line,) = [n for n, text in enumerate(path.read_text().splitlines(), 1) if text.endswith("# here")]
    return str(path), line


def _write_contracts(schemas: Mapping[str, Any], folder: Path) -> None:
    for type, schema in schemas.items():
        if schema is None:
            continue
        domain, name, major = type.split(".")
        path = folder / domain / f"{name}.{major}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"$id": f"urn:test:{type}", "description": f"What {type} says.", **schema}
        path.write_text(json.dumps(document))


def _write_lock(released: Mapping[str, Any], folder: Path) -> None:
    _write_contracts({**BASE, **released}, folder / "released")
    lock = Lock({}).with_released(Registry.load(folder / "released").contracts())
    lock.write(folder / "contracts" / LOCK_FILE)
