"""scripts/bench measures what its rows name, and reports goals that it cannot judge."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import profiling, telling
from benchmarks.comparisons import Goal, Plan, Row, Way
from benchmarks.measuring import measure
from benchmarks.rows import rows

SCRIPTS = Path(__file__).parents[2] / "scripts"
SHORT = Plan(rounds=1, steps=2)


def row(*ways: Way, goal: Goal) -> Row:
    return Row("row", "a row", ways, [goal], full=SHORT, quick=SHORT)


@pytest.mark.parametrize("known", rows(), ids=lambda known: known.key)
def test_the_ways_and_goals_of_a_row_exist(known: Row) -> None:
    keys = {way.key for way in known.ways}
    assert {goal.way for goal in known.goals} <= keys
    assert {goal.beside for goal in known.goals if goal.beside} <= keys
    for way in known.ways:
        module, function = way.does.split(":")
        assert callable(getattr(import_module(f"benchmarks.ways.{module}"), function))


def test_a_run_prints_a_table_and_writes_every_measured_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "import", "--json", "out.json"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "over an empty interpreter" in done.stdout
    (told,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    ours, empty = told["ways"]
    assert [len(times) for times in ours["rounds"]["wall"]] == [8, 8, 8]
    assert ours["medians"]["wall"] > empty["medians"]["wall"]
    assert ours["medians"]["cpu"] > 0


@pytest.mark.parametrize("known", rows(), ids=lambda known: known.key)
def test_goals_are_set_for_nbtape_only(known: Row) -> None:
    assert all("nbtape" in known.label(goal.way) for goal in known.goals)


@pytest.mark.parametrize("key", ["import", "saves", "warm-cell"])
def test_a_profile_shows_which_code_takes_the_time(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    (known,) = (each for each in rows() if each.key == key)
    profiling.tell(known, SHORT, lambda argument: argument)
    head, cost, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{key}: ")
    assert " ms a step" in cost
    assert re.search(r"^ +\d+\.\d%  written in C$", "\n".join(lines), re.MULTILINE)
    assert "  of which" in lines


def test_a_goal_that_cannot_be_measured_is_missed_with_the_reason() -> None:
    broken = row(
        Way("broken", "a broken way", "interpreter:run", ("import nothing_of_that_name",)),
        Way("empty", "an empty interpreter", "interpreter:run", ("pass",)),
        goal=Goal("broken", 1000, "empty"),
    )
    measure(broken, SHORT, str)
    (sentence,) = telling.missed([broken], quick=True)
    assert "a broken way: " in sentence
    assert "import nothing_of_that_name" in sentence
    assert "MISSED" in telling.table([broken], quick=True)
    assert len(broken.figures("empty", "wall")[0]) == 2, "the others go on"


def test_a_goal_that_is_exceeded_is_missed() -> None:
    slow = row(
        Way("slow", "a slow one", "interpreter:run", ("import time; time.sleep(0.5)",)),
        Way("empty", "an empty interpreter", "interpreter:run", ("pass",)),
        goal=Goal("slow", 60, "empty", difference=True),
    )
    measure(slow, SHORT, str)
    assert telling.missed([slow], quick=False) == []
    slow.goals = [Goal("slow", 0, "empty", difference=True)]
    (sentence,) = telling.missed([slow], quick=False)
    assert sentence.endswith("the goal is at most +0.0 ms over an empty interpreter")


def test_a_goal_that_depends_on_the_length_is_checked_in_full_runs_only() -> None:
    long = row(Way("long", "a long one", "interpreter:run", ("pass",)), goal=Goal("long", 0.0, full=True))
    measure(long, SHORT, str)
    assert telling.missed([long], quick=True) == []
    assert len(telling.missed([long], quick=False)) == 1
