"""The stress test finds faults in a notebook and shortens the session that shows them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbtape import CodeBlock, JupyterCodeExecutor
from stress.__main__ import Machine, StressTest, Tally
from stress.judge import Played, judge, judge_process, read_truth
from stress.sessions import PLACES, PROXIED, Session, Step
from stress.shrink import shrink
from stress.steps import KINDS, Block

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Cells = list[dict[str, Any]]

SESSION = Session("local", is_async=False, steps=(Step("print", 20), Step("error", 5), Step("picture", 2)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The files of a session without faults."""
    home = tmp_path_factory.mktemp("stressed")
    with JupyterCodeExecutor(output_dir=home, notebook="stress") as executor:
        for label, step in enumerate(SESSION.steps):
            executor.execute_code_blocks([CodeBlock(block.code, block.language) for block in step.blocks(str(label))])
        executor.execute_code_blocks([CodeBlock(block.code, block.language) for block in SESSION.last_blocks(0)])
    return Played(SESSION, 0, home / "stress.ipynb", read_truth(home))


def exchange(cell: dict[str, Any], old: str, new: str) -> None:
    """Change the stream text that a cell shows."""
    output = next(output for output in cell["outputs"] if output["output_type"] == "stream")
    text = "".join(output["text"])
    assert old in text
    output["text"] = text.replace(old, new)


def test_a_correct_notebook_has_no_breach(recorded: Played) -> None:
    assert judge(recorded) == []


ONCE = "each line is there once, in order"


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        pytest.param(lambda cells: exchange(cells[0], "@0:7@\n", ""), ONCE, id="a line is lost"),
        pytest.param(lambda cells: exchange(cells[0], "@0:19@\n", ""), "all lines are there", id="the last is lost"),
        pytest.param(lambda cells: exchange(cells[1], "@1:4@\n", ""), "all lines are there", id="the last of an error"),
        pytest.param(lambda cells: exchange(cells[0], "@0:7@", "@0:7@@0:7@"), ONCE, id="a line is doubled"),
        pytest.param(lambda cells: exchange(cells[0], "@0:7@\n@0:8@", "@0:8@@0:7@"), ONCE, id="lines are exchanged"),
        pytest.param(
            lambda cells: exchange(cells[4], "@end0=", "@0:19@@end0="),
            "no output is under the wrong cell",
            id="a line is under the wrong cell",
        ),
        pytest.param(
            lambda cells: exchange(cells[4], "=0,", "="),
            "variables live as long as the kernel",
            id="a variable is gone",
        ),
        pytest.param(lambda cells: cells[0]["metadata"]["nbtape"].update(status="timeout"), "a block ends as it must"),
        pytest.param(lambda cells: cells[4]["metadata"]["nbtape"].update(kernel_epoch=2), "news is reported"),
        pytest.param(lambda cells: cells[0]["metadata"]["nbtape"].update(outputs_incomplete=True), "no output is lost"),
        pytest.param(lambda cells: cells[3]["outputs"].pop(), "each image is there, and a file"),
        pytest.param(lambda cells: cells.pop(0), "what runs is recorded"),
        pytest.param(lambda cells: cells.insert(1, cells.pop(0)), "cells are in order"),
        pytest.param(lambda cells: cells.append(cells[4]), "one block, one cell"),
        pytest.param(lambda cells: cells[0].update(outputs="none"), "the notebook is valid"),
    ],
)
def test_each_fault_in_a_notebook_is_found(
    recorded: Played, tmp_path: Path, change: Callable[[Cells], object], promise: str
) -> None:
    shutil.copytree(recorded.notebook.parent, tmp_path, dirs_exist_ok=True)
    changed = tmp_path / recorded.notebook.name
    notebook = json.loads(changed.read_text())
    change(notebook["cells"])
    if promise == "one block, one cell":
        notebook["cells"][-1] = {**notebook["cells"][-1], "id": "another"}
    changed.write_text(json.dumps(notebook))
    assert promise in {breach.promise for breach in judge(replace(recorded, notebook=changed))}


@pytest.mark.parametrize(
    ("truth", "promise"),
    [
        ({"1": 9}, "all lines are there"),
        ({"0.runs": 2}, "a block runs once, and only if its cell says so"),
        ({"1b.runs": 1}, "a block runs once, and only if its cell says so"),
        ({"9.runs": 1}, "what runs is recorded"),
        ({"0.runs": 0}, "a block that is ok has run"),
    ],
)
def test_contradictions_with_the_facts_noted_by_the_code_are_found(
    recorded: Played, truth: dict[str, int], promise: str
) -> None:
    found = judge(replace(recorded, truth={**recorded.truth, **truth}))
    assert promise in {breach.promise for breach in found}


def test_a_result_that_differs_from_its_cell_is_found(recorded: Played) -> None:
    told = {"status": "ok", "incomplete": False, "output": "@0:0@\n"}
    found = {breach.promise for breach in judge(replace(recorded, results={"0": told, "1": told}))}
    assert found == {"a result has its cell's lines", "a result is as its cell"}


def test_errors_and_leftovers_of_a_process_are_found() -> None:
    journal: list[dict[str, Any]] = [
        {"failed": "the call of 0", "error": "KernelError: no"},
        {"left": ["a thread: nbtape"]},
    ]
    found = {breach.promise for breach in judge_process(SESSION, journal, 9)}
    assert found == {"nothing is raised", "nothing is left", "nothing hangs, nothing crashes"}


@pytest.mark.parametrize("place", PLACES)
def test_the_same_seed_gives_the_same_session(place: str) -> None:
    drawn = [Session.draw(seed, place) for seed in range(200)]
    assert drawn == [Session.draw(seed, place) for seed in range(200)]
    assert [Session.from_line(session.to_line()) for session in drawn] == drawn
    assert len(set(drawn)) == len(drawn)
    missing = KINDS.keys() - {step.name for session in drawn for step in session.steps}
    assert missing == (set() if place in PROXIED else {"cut", "away", "tear"}) | (
        {"garble"} if place == "plain" else set()
    )


@pytest.mark.parametrize("line", ["{}", "no", '{"place": "local", "async": 0, "steps": [["no"]]}'])
def test_an_invalid_session_is_rejected(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Session.from_line(line)


def test_a_session_is_shortened_to_the_steps_that_show_the_fault() -> None:
    names = ["print", "thread", "burst", "kill", "recall", "bash", "restart", "display"]
    session = Session("local", is_async=False, steps=tuple(Step(name, 1000) for name in names))

    def shows(shorter: Session) -> bool:
        left = [step.name for step in shorter.steps]
        return "thread" in left and "restart" in left[left.index("thread") :]

    assert shrink(session, shows).steps == (Step("thread", 10), Step("restart", 10))


def test_a_broken_promise_is_reported_with_the_shortest_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def promise_more(label: str, size: int) -> list[Block]:
        return [replace(block, may=size + 1) for block in write(label, size)]

    write = KINDS["print"].write
    monkeypatch.setitem(KINDS, "print", replace(KINDS["print"], write=promise_more))
    tally = Tally()
    session = Session("local", is_async=True, steps=(Step("bash", 2), Step("print", 3)))
    StressTest(Machine(tmp_path), tally).try_session(session, "--seed 1 --place local --sessions 1")
    said = capsys.readouterr().out
    shortest = Session("local", is_async=True, steps=(Step("print", 3),))
    assert "BREACH: scripts/stress-test --seed 1 --place local --sessions 1" in said
    assert f"shortest: scripts/stress-test --replay '{shortest.to_line()}'" in said
    assert "all lines are there (0, ok ): expected 4 to 4, seen 3" in said
    assert list(tmp_path.glob("*/track0/stress.ipynb")), "the notebook is kept"
    assert tally.breaches.total() == 1
