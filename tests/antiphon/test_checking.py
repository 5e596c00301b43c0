"""``antiphon check``: each thing that can be wrong is found, named and located, and nothing else is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from broken_apps import DONE_EMIT, Broken, app, load, place, record
from broken_table import ALONG, CASES, TABLE
from click.testing import CliRunner

from antiphon.checking import CODES, check_app, passes
from antiphon.cli import main
from contracts.registry import Registry
from examples.ride.app import app as ride

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("code", "index"), CASES, ids=[f"{code}-{index}" for code, index in CASES])
def test_what_is_wrong_is_found_where_it_was_written(code: str, index: int, tmp_path: Path) -> None:
    """A broken app gives its one finding, with the file and line, and with a proof where there is one."""
    broken = TABLE[code][index]
    findings = check_app(load(broken, tmp_path))
    along = [one for one in findings if one.code not in ALONG.get(code, [])]
    assert [(one.code, one.file, one.line) for one in along] == [(code, *place(broken, tmp_path))], "\n".join(
        map(str, findings)
    )
    (finding,) = along
    assert finding.level == CODES[code].level
    assert (finding.counterexample is not None) == broken.proven
    assert passes(findings) == (finding.level != "error")
    assert passes(findings, strict=True) == (finding.level == "info")


def test_every_code_has_a_broken_app() -> None:
    """No finding is promised that no app can have."""
    assert set(TABLE) == set(CODES)


def test_every_code_is_documented() -> None:
    """docs/checking.md explains each finding, and none that there is not, at the level that it has."""
    text = (ROOT / "docs" / "checking.md").read_text()
    documented = dict(re.findall(r"^### `([a-z-]+)` \((\w+)\)$", text, re.MULTILINE))
    assert documented == {code: kind.level for code, kind in CODES.items()}


def test_a_counterexample_fits_the_one_side_and_not_the_other(tmp_path: Path) -> None:
    """What is shown as proof is an instance that the contract really refuses."""
    broken = TABLE["data-mismatch"][0]
    loaded = load(broken, tmp_path)
    (finding,) = check_app(loaded)
    assert finding.counterexample is not None
    registry: Registry = loaded.registry
    with pytest.raises(Exception, match=r"a\.done\.v1"):
        registry.validate("a.done.v1", finding.counterexample["instance"])


CLEAN = {
    "a step that changes nothing": Broken(
        app('step(work, compensate="nothing")', 'step(work, name="more")', DONE_EMIT)
    ),
    "a circle that ends": Broken(
        app(
            DONE_EMIT,
            before='@reacts_to("a.done.v1", emits=["a.done.v1"], ends="n goes down")\n'
            "async def other(event: dict): ...",
            reactors="other",
        )
    ),
    "an event from outside": Broken(
        app('wait("a.came.v1", by="id", timeout="1h")', DONE_EMIT, more=', external=["a.came.v1"]'),
        contracts={"a.came.v1": record(id="string")},
    ),
    "an event that a reactor brings": Broken(
        app(
            DONE_EMIT,
            'wait("a.next.v1", by="id", timeout="1h")',
            before='@reacts_to("a.done.v1", emits=["a.next.v1"])\nasync def other(event: dict): ...',
            reactors="other",
            on_failure='[emit("a.done.v1", {"id": "$.input.id"}, name="sorry")]',
        ),
        contracts={"a.next.v1": record(id="string")},
    ),
    "a choice that makes sure": Broken(
        app(
            'when({"properties": {"input": {"required": ["note"]}}}, '
            '[emit("a.done.v1", {"id": "$.input.note"})], [emit("a.done.v1", {"id": "none"}, name="else")])'
        ),
        contracts={"a.asked.v1": record(_optional=("note",), id="string", note="string")},
    ),
    "a text that looks like a path": Broken(app('emit("a.done.v1", {"id": "$$.price"})')),
    "the key and the id of the run": Broken(
        app(
            'emit("a.done.v1", {"id": "$.run.key"})',
            on_failure='[emit("a.done.v1", {"id": "$.error.code"}, name="sorry")]',
        )
    ),
    "an array of what was asked": Broken(
        app(
            'emit("a.list.v1", {"ids": ["$.input.ids.0", "x"]})', more=', external=["a.list.v1"]', reactors=""
        ),
        contracts={
            "a.asked.v1": record(
                id="string",
                ids={"type": "array", "items": {"type": "string"}, "minItems": 1, "default": ["a"]},
            ),
            "a.list.v1": record(ids={"type": "array", "items": {"type": "string"}, "default": []}),
            "a.done.v1": None,
        },
    ),
    "references between contracts": Broken(
        app('emit("a.done.v1", {"id": "$.input.who.id"})'),
        contracts={
            "a.asked.v1": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "who": {"$ref": "urn:test:a.who.v1#/$defs/who"}},
                "required": ["id", "who"],
                "examples": [{"id": "a", "who": {"id": "b"}}],
            },
            "a.who.v1": {
                "$defs": {
                    "who": {"allOf": [{"$ref": "#/$defs/named"}, {"required": ["id"]}]},
                    "named": record(id="string"),
                },
                "examples": [1],
            },
        },
    ),
}


@pytest.mark.parametrize("what", CLEAN)
def test_what_is_right_is_left_alone(what: str, tmp_path: Path) -> None:
    """No finding where nothing is wrong, so that people go on reading them."""
    assert [str(one) for one in check_app(load(CLEAN[what], tmp_path))] == []


def test_the_ride_is_clean_in_the_strictest_form() -> None:
    """The example has nothing to be ashamed of, not even worth knowing."""
    assert [str(one) for one in check_app(ride)] == []


def test_a_machine_gets_everything_in_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--json`` has the findings and the map, and the exit code says the same as ``ok``."""
    load(TABLE["data-mismatch"][0], tmp_path)
    (tmp_path / "broken_app.py").rename(tmp_path / "shop.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    done = CliRunner().invoke(main, ["check", "shop:app", "--json"])
    document = json.loads(done.output)
    assert (done.exit_code, document["ok"]) == (1, False)
    (finding,) = document["findings"]
    assert finding["code"] == "data-mismatch"
    assert finding["file"] == "shop.py"
    assert isinstance(finding["line"], int)
    assert finding["counterexample"]["pointer"] == "/id"
    assert document["map"]["app"] == "broken"
    told = CliRunner().invoke(main, ["check", "shop:app"])
    assert told.exit_code == 1
    assert f"shop.py:{finding['line']}: error: " in told.output
    assert "to do: " in told.output


def test_a_warning_counts_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 for warnings, 1 with ``--strict``."""
    load(TABLE["no-timeout"][0], tmp_path)
    (tmp_path / "broken_app.py").rename(tmp_path / "stall.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert CliRunner().invoke(main, ["check", "stall:app"]).exit_code == 0
    assert CliRunner().invoke(main, ["check", "stall:app", "--strict"]).exit_code == 1


def test_a_finding_can_be_explained() -> None:
    """``--explain`` says what a code means; one that there is not is refused, with those that there are."""
    assert "To do: " in CliRunner().invoke(main, ["check", "--explain", "event-cycle"]).output
    refused = CliRunner().invoke(main, ["check", "--explain", "nonsense"])
    assert refused.exit_code == 2
