"""The parameters of a replay are those of the notebook's cell, as papermill reads it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from nbtape.replay.checked_parameters import check_parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode

PATH = Path("session.ipynb")


def notebook(source: str | None, language: str = "") -> NotebookNode:
    cells = [] if source is None else [new_code_cell(source, metadata={"tags": ["parameters"]})]
    metadata = {"language_info": {"name": language}} if language else {}
    made: NotebookNode = new_notebook(cells=[new_code_cell("x = 1"), *cells], metadata=metadata)
    return made


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("n = 14\nrate: float = 0.5  # per year", ["n", "rate"]),
        ("a, (b, *c) = 1, (2, 3)\nd = e = 4", ["a", "b", "c", "d", "e"]),
        ("%matplotlib inline\nn = 3", ["n"]),
        ("if True:\n    n = 1", ["n"]),
    ],
)
def test_what_the_cell_assigns_is_a_parameter_and_nothing_else(source: str, known: list[str]) -> None:
    check_parameters(notebook(source), PATH, "python3", known)
    check_parameters(notebook(source), PATH, "python3", [])
    told = f"session.ipynb has no parameter nope, x. Its parameters: {', '.join(known)}."
    with pytest.raises(ValueError, match=re.escape(told)):
        check_parameters(notebook(source), PATH, "python3", ["nope", known[0], "x"])


def test_a_cell_that_assigns_nothing_has_no_parameters() -> None:
    with pytest.raises(ValueError, match=r"has no parameter n\. Its parameters cell assigns no variable"):
        check_parameters(notebook("# none yet"), PATH, "python3", ["n"])


def test_without_such_a_cell_the_parameters_are_set_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nbtape"):
        check_parameters(notebook(None), PATH, "python3", ["n", "m"])
    told = "session.ipynb has no cell tagged parameters, so papermill sets n, m in a new first cell; later cells may"
    assert caplog.messages == [f"{told} override that."]


@pytest.mark.parametrize("name", ["a b", "x=1;y", "", "1n"])
def test_a_name_that_no_variable_can_have_is_refused(name: str) -> None:
    for source in ("n = 1", None):
        with pytest.raises(ValueError, match="is not a name of a Python variable"):
            check_parameters(notebook(source), PATH, "python3", [name])


def test_other_languages_have_the_parameters_that_papermill_can_set() -> None:
    check_parameters(notebook("n <- 1", "R"), PATH, "ir", ["any.name"])
    with pytest.raises(ValueError, match="papermill cannot set parameters of cobol notebooks"):
        check_parameters(notebook("n", "cobol"), PATH, "cobol", ["n"])
