"""``antiphon simulate``: what it says, what it ends with, and that its replay is the same again."""

from __future__ import annotations

import shlex
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from antiphon.cli import main
from antiphon.testing import FAULTS, narrow, simulate
from antiphon.testing.chance import MEANING
from antiphon.testing.world import World
from tests.simulation.shop import careless_simulation

SHOP = "tests.simulation.shop:simulation"
WRONG = "tests.simulation.shop:wrong_simulation"
CARELESS = "tests.simulation.shop:careless_simulation"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_seeds_that_keep_every_promise_end_with_0_and_a_summary() -> None:
    """Also an app that sleeps for hours is played in a moment."""
    result = run(SHOP, "--seeds", "1..6,9", "--processes", "1")
    assert result.exit_code == 0, result.output
    assert "7 seeds" in result.stdout
    assert "every promise held" in result.stdout
    assert "21 completed" in result.stdout


def test_a_seed_that_fails_ends_with_1_its_story_and_how_to_play_it_again() -> None:
    """The command that is printed fails with the same story, byte for byte."""
    result = run(CARELESS, "--seeds", "1..30", "--processes", "2")
    assert result.exit_code == 1, result.output
    assert "was charged 2 times" in result.stdout
    story, told = result.stdout.split("\nseed ", 1)
    assert "BROKEN" in story
    replay = shlex.split(told.split("to play it again:\n")[1].splitlines()[0])
    assert replay[:3] == ["antiphon", "simulate", CARELESS]
    again = CliRunner().invoke(main, replay[1:])
    assert again.exit_code == 1
    assert again.stdout.split("\nseed ", 1)[0] == story


def test_a_seed_that_fails_with_fewer_faults_says_with_which() -> None:
    """The fewest of them: none at all for what is always wrong, one for what a crash brings out."""
    result = run(WRONG, "--seeds", "3", "--json")
    failed = orjson.loads(result.stdout)["failed"][0]
    assert shlex.split(failed["narrowed"])[-4:] == ["--faults", "none", "--runs", "3"]
    assert failed["narrowed"] in run(WRONG, "--seeds", "3").stdout
    found = next(
        seed for seed in range(1, 60) if not simulate(careless_simulation, seeds=[seed], faults=["crash"]).ok
    )
    assert narrow(careless_simulation, found, faults=("delay", "crash")) == ("crash",)
    assert narrow(careless_simulation, found, faults=("crash",)) == ("crash",)


def test_json_is_one_object_with_every_failed_seed() -> None:
    """A machine gets counts of all faults, and each failure with its story and its replay."""
    result = run(CARELESS, "--seeds", "1..16", "--keep-going", "--json", "--processes", "1")
    document = orjson.loads(result.stdout)
    assert result.exit_code == 1
    assert document["ok"] is False
    assert document["seeds"] == 16
    assert list(document["faults"]) == list(FAULTS)
    assert len(document["failed"]) > 1
    for failed in document["failed"]:
        assert "charged" in failed["broken"][0]
        assert any("BROKEN" in line for line in failed["story"])
        assert f"--seeds {failed['seed']}" in failed["replay"]


def test_the_outcomes_are_the_same_in_one_process_and_in_three() -> None:
    """Who plays a seed changes nothing."""
    documents = [
        orjson.loads(run(SHOP, "--seeds", "1..21", "--runs", "1", "--json", "--processes", processes).stdout)
        for processes in ("1", "3")
    ]
    for document in documents:
        del document["seconds"]
    assert documents[0] == documents[1]


def test_faults_can_be_chosen_and_the_others_do_not_happen() -> None:
    """With --faults none nothing goes wrong; with two of them the other six stay away."""
    quiet = orjson.loads(run(SHOP, "--seeds", "1..5", "--faults", "none", "--json").stdout)
    assert set(quiet["faults"].values()) == {0}
    two = orjson.loads(run(SHOP, "--seeds", "1..12", "--faults", "crash,delay", "--json").stdout)
    assert {fault for fault, count in two["faults"].items() if count} == {"crash", "delay"}


def test_the_story_of_a_good_seed_is_told_when_asked_for() -> None:
    """Line by line, with the time, who, and what."""
    result = run(SHOP, "--seeds", "4", "--story")
    assert result.exit_code == 0
    assert "caller" in result.stdout
    assert "step_completed ship" in result.stdout


def test_help_explains_every_fault() -> None:
    """By name and meaning."""
    text = run("--help").output
    for fault in FAULTS:
        assert f"{fault} " in text
        assert MEANING[fault] in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([SHOP, "--seeds", "1..x"], "'1..x' is no seed"),
        ([SHOP, "--seeds", "9..1"], "its end comes before its beginning"),
        ([SHOP, "--faults", "flood"], "there is no fault 'flood'"),
        (["tests.simulation.shop:charges"], "is a list, not an antiphon.App"),
        (["tests.simulation.nowhere:app"], "there is no module"),
    ],
)
def test_what_can_not_be_played_is_said_before_anything_is(arguments: list[str], said: str) -> None:
    """With the reason, and nothing on stdout."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_an_app_without_examples_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract that lacks one is named."""
    (tmp_path / "bare_app.py").write_text(
        "from pydantic import BaseModel\n"
        "from antiphon import App, Flow, step\n"
        "class Order(BaseModel):\n    id: str\n"
        "async def pick(ctx):\n    return {}\n"
        "app = App('bare', flows=[Flow('order', version=1, key='id', input=Order, "
        "steps=[step(pick, compensate='nothing')])])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = run("bare_app:app", "--seeds", "1")
    assert result.exit_code == 2
    assert '"examples"' in result.stderr
    assert "order" in result.stderr


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('half written')\n", "RuntimeError: half written"),
        (
            "from antiphon.testing import Simulation\n"
            "from tests.simulation.shop import app as shop\n"
            "def prepare(stage):\n    raise LookupError('no till')\n"
            "app = Simulation(shop, prepare=prepare)\n",
            "LookupError: no till",
        ),
    ],
)
def test_a_module_that_raises_is_no_broken_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str
) -> None:
    """It could not be played: the traceback says where, and the exit code is not that of a failed seed."""
    name = f"raising_{len(module)}"
    (tmp_path / f"{name}.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    result = run(f"{name}:app", "--seeds", "1", "--processes", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert f"{name}.py" in result.stderr


def test_who_interrupts_gets_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """130, as a shell says it; 1 would be a promise that was broken."""

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(World, "run", interrupted)
    assert run(SHOP, "--seeds", "1", "--processes", "1").exit_code == 130
