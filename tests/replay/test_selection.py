"""Which notebooks are replayed: those of a directory or pattern, without what was made from another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from nbtape.notebook.read import read_content
from nbtape.replay import selection
from nbtape.replay.selection import expanded, first_recording, is_plural, made_from_others


def write(path: Path, *sources: str, derived_from: Any = None) -> Path:
    ours = {"version": 1} if derived_from is None else {"version": 1, "derived_from": derived_from}
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in sources]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"nbtape": ours}, "cells": cells}))
    return path


def test_a_directory_stands_for_its_notebooks_and_a_pattern_for_what_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = Path("runs")
    (runs / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("b.ipynb", "a.ipynb", ".hidden.ipynb", "notes.txt"):
        write(runs / name)
    both = [runs / "a.ipynb", runs / "b.ipynb"]
    for name in ("runs", "runs/*.ipynb", "runs/*", "**/*.ipynb"):
        assert expanded([name]) == both
        assert is_plural([name])
    assert expanded(["runs/b.ipynb", "runs", "none.ipynb"]) == [both[1], both[0], Path("none.ipynb")]
    assert not is_plural(["runs/b.ipynb"])
    write(runs / "a[1].ipynb")
    assert expanded(["runs/a[1].ipynb"]) == [runs / "a[1].ipynb"]


@pytest.mark.parametrize(("name", "told"), [("empty", "contains no notebook"), ("*.ipynb", "No notebook matches")])
def test_a_name_that_stands_for_nothing_is_refused(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(ValueError, match=told):
        expanded([name])


def test_what_was_made_from_another_of_the_notebooks_is_known_by_its_metadata(tmp_path: Path) -> None:
    origin = write(tmp_path / "a.ipynb", "x = 1", "x")
    replayed = write(tmp_path / "out.ipynb", "x = 1", "x", derived_from="a.ipynb")
    again = write(tmp_path / "again.ipynb", "x = 1", "x", derived_from="out.ipynb")
    clean = write(tmp_path / "clean.ipynb", "x = 1", derived_from="a.ipynb")
    named = write(tmp_path / "a-replayed.ipynb", "x = 1", "x")
    everything = [origin, replayed, again, clean, named]
    assert made_from_others(everything) == {replayed: origin, again: replayed, clean: origin}
    assert made_from_others([replayed]) == {}
    assert made_from_others([replayed, clean, named]) == {}


def test_a_notebook_cannot_evade_its_replay_by_naming_an_origin(tmp_path: Path) -> None:
    origin = write(tmp_path / "a.ipynb", "x = 1")
    other_code = write(tmp_path / "b.ipynb", "x = 2", derived_from="a.ipynb")
    circle = [write(tmp_path / f"{name}.ipynb", "y", derived_from=f"{of}.ipynb") for name, of in ("cd", "dc")]
    itself = write(tmp_path / "e.ipynb", "y", derived_from="e.ipynb")
    odd = [write(tmp_path / f"odd{n}.ipynb", derived_from=value) for n, value in enumerate([7, [], {"a": 1}, ""])]
    (broken := tmp_path / "broken.ipynb").write_text("{")
    missing = tmp_path / "missing.ipynb"
    assert made_from_others([origin, other_code, *circle, itself, *odd, broken, missing]) == {}


def test_the_first_recording_is_found_without_reading_all_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = write(tmp_path / "a.ipynb", "x = 1", "x")
    replayed = write(tmp_path / "out.ipynb", "x = 1", "x", derived_from="a.ipynb")
    again = write(tmp_path / "again.ipynb", "x = 1", "x", derived_from="out.ipynb")
    other_code = write(tmp_path / "b.ipynb", "x = 2", derived_from="a.ipynb")
    circle = [write(tmp_path / f"{name}.ipynb", "y", derived_from=f"{of}.ipynb") for name, of in ("cd", "dc")]
    (broken := tmp_path / "broken.ipynb").write_text("{")
    more = [write(tmp_path / f"more{n}.ipynb", "x = 1") for n in range(20)]
    rest = [origin, *more]
    for first in ([again, replayed], [other_code], circle, [broken], []):
        everything = [*first, *rest]
        made = made_from_others(everything)
        assert first_recording(everything) == next(path for path in everything if path not in made)
    read = Mock(side_effect=read_content)
    monkeypatch.setattr(selection, "read_content", read)
    assert first_recording([again, replayed, *rest]) == origin
    assert {call.args[0] for call in read.call_args_list} == {again, replayed, origin}
