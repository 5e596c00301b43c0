"""``antiphon contracts``: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from antiphon.cli.contracts import contracts
from antiphon.cli.told import Told

BOOKED: dict[str, Any] = {
    "$id": "https://ride.example/booked",
    "description": "A ride was booked.",
    "type": "object",
    "properties": {"ride_id": {"type": "string"}},
    "examples": [{"ride_id": "r1"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one contract."""
    write(tmp_path / "ride" / "booked.v1.json", BOOKED)
    return tmp_path


def write(path: Path, document: Any) -> str:
    """Writes a JSON file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return str(path)


def run(*arguments: object) -> Result:
    """Runs the command as the command line does."""
    return CliRunner().invoke(
        Told(name="antiphon", commands={"contracts": contracts}), ["contracts", *map(str, arguments)]
    )


def test_a_folder_that_can_t_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    """Which file, and why; no traceback."""
    (tmp_path / ".contracts.lock.new").mkdir()
    done = run("lock", "--folder", tmp_path)
    told = f"antiphon: {tmp_path / '.contracts.lock.new'}: Is a directory\n"
    assert (done.exit_code, done.output) == (2, told)


def test_a_contract_is_listed_locked_and_edited(folder: Path) -> None:
    """New, then released, then edited: list tells, check fails, lock refuses."""
    assert "ride.booked.v1: new" in run("list", "--folder", folder).output
    assert "released revision 1" in run("lock", "--folder", folder).output
    assert run("lock", "--folder", folder).output == ""
    assert run("check", "--folder", folder).exit_code == 0
    write(folder / "ride" / "booked.v1.json", {**BOOKED, "required": ["ride_id"]})
    checked = run("check", "--folder", folder, "--json")
    assert checked.exit_code == 1
    assert json.loads(checked.output)[0]["state"] == "incompatible"
    assert run("lock", "--folder", folder).exit_code == 2


def test_a_contract_is_shown(folder: Path) -> None:
    """As text and as JSON; a type that is not there is an error in a line."""
    assert "A ride was booked." in run("show", "ride.booked.v1", "--folder", folder).output
    shown = json.loads(run("show", "ride.booked.v1", "--folder", folder, "--json").output)
    assert shown["schema"] == BOOKED
    missing = run("show", "ride.sold.v1", "--folder", folder)
    assert missing.exit_code == 1
    assert "no contract 'ride.sold.v1'" in missing.output
    assert "# Contracts" in run("docs", "--folder", folder).output


@pytest.mark.parametrize(
    ("old", "new", "options", "code", "said"),
    [
        ({"type": "integer"}, {"type": "number"}, [], 0, "compatible"),
        ({"type": "number"}, {"type": "integer"}, [], 1, "counterexample"),
        ({"type": "integer"}, {"type": "number"}, ["--mode", "forward"], 1, "counterexample"),
        ({"$ref": "#"}, {"type": "integer"}, [], 2, "unknown"),
        ({"type": "integer"}, {"type": "number"}, ["--mode", "full-transitive"], 1, "incompatible"),
        (
            {"type": "object"},
            {"type": "object", "properties": {"a": {"type": "null"}}},
            ["--rules", "confluent"],
            1,
            "OPEN",
        ),
        (
            {"type": "object"},
            {"type": "object", "properties": {"a": {"type": "null"}}},
            ["--rules", "confluent-lenient"],
            0,
            "",
        ),
        ({}, {}, ["--mode", "sideways"], 2, "no mode"),
    ],
)
def test_a_diff_ends_as_its_verdict_says(
    tmp_path: Path, old: Any, new: Any, options: list[str], code: int, said: str
) -> None:
    """0 is compatible, 1 incompatible with a counterexample, 2 unknown."""
    files = [write(tmp_path / "old.json", old), write(tmp_path / "new.json", new)]
    result = run("diff", *files, *options)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    if code == 1 and "--rules" not in options:
        document = json.loads(run("diff", *files, *options, "--json").output)
        assert document["verdict"] == "incompatible"
        assert "counterexample" in document


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_counterexample_may_be_a_large_number(tmp_path: Path, options: list[str]) -> None:
    """More than 64 bits are no reason for a traceback."""
    files = [
        write(tmp_path / "old.json", {"type": "integer", "minimum": 1e20}),
        write(tmp_path / "new.json", {"type": "string"}),
    ]
    result = run("diff", *files, *options)
    assert (result.exit_code, str(10**20) in result.output) == (1, True), result.exception


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"properties": []}, "/properties"),
        ({"maxLength": "a"}, "/maxLength"),
        ({"multipleOf": 0}, "/multipleOf"),
        ({"patternProperties": {"(": {}}}, "/patternProperties"),
        ({"$schema": "https://ride.example/mine"}, "drafts"),
        ({"$ref": "#/$defs/gone"}, "gone"),
        ([], "draft 2020-12"),
    ],
)
def test_the_rules_of_confluent_are_for_schemas(tmp_path: Path, wrong: Any, why: str) -> None:
    """What is none is told in a line, with its file, whichever side it is on; other documents may be away."""
    bad = write(tmp_path / "bad.json", wrong)
    good = {"properties": {"a": {"$ref": "money.json"}}, "maxLength": 3, "multipleOf": 2}
    for files in ([bad, write(tmp_path / "good.json", good)], [write(tmp_path / "good.json", good), bad]):
        result = run("diff", *files, "--rules", "confluent")
        assert (result.exit_code, why in result.output) == (2, True), result.output
        assert result.output.startswith(f"antiphon: {bad}: ")
    assert run("diff", files[0], files[0], "--rules", "confluent").exit_code == 0


def test_a_diff_needs_two_files_that_are_there(tmp_path: Path) -> None:
    """One file, a missing file and a broken file are told."""
    one = write(tmp_path / "one.json", {})
    (tmp_path / "bad.json").write_text("{")
    for arguments in ([one], [one, tmp_path / "none.json"], [one, tmp_path / "bad.json"]):
        assert run("diff", *arguments).exit_code == 2


def test_the_documents_say_who_emits_and_who_reads() -> None:
    """With an app, each contract names its flows and reactors."""
    folder = "examples/ride/contracts"
    told = run("docs", "--folder", folder, "--app", "examples.ride.app:app").output
    chapter = told.partition("## ride.booked.v1")[2].partition("\n## ")[0]
    assert "Emitted by flow ride v1" in chapter
    assert "Read by reactor notify" in chapter
    shown = json.loads(
        run("show", "trip.ended.v1", "--folder", folder, "--app", "examples.ride.app:app", "--json").output
    )
    assert (shown["emitted_by"], len(shown["read_by"])) == ([], 1)
