"""A person edits and saves the notebook in JupyterLab while it is recorded: neither side loses anything.

Their version of a recorded cell is kept in a cell of its own after it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from executors import run
from jupyterlab_pages import opened
from playwright.sync_api import expect
from reading import eventually, read_notebook, stream_text

from nbtape import JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyterlab_pages import Lab, NotebookPage
    from playwright.sync_api import Browser

#: The agent's cells before the person opens the notebook.
FIRST = ("x = 1", "import pandas as pd\npd.DataFrame({'x': [1, 2]})", "1 / 0", "print(x)")

#: A block that waits until a file exists.
WAITING = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({!r}): time.sleep(0.01)\nprint('done')"

#: JupyterLab's question when a file has changed since it was opened.
QUESTION = "has changed on disk since the last time it was opened or saved"


@pytest.fixture
def executor(lab: Lab) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(lab.info, output_dir=lab.files / "saves") as executor:
        for code in FIRST:
            run(executor, code)
        yield executor


@pytest.fixture
def page(browser: Browser, lab: Lab, executor: JupyterCodeExecutor) -> Iterator[NotebookPage]:
    with opened(browser, lab.link(executor.notebook)) as page:
        yield page


def sources(path: Path) -> list[str]:
    return [cell["source"] for cell in read_notebook(path)["cells"]]


def touched(path: Path) -> dict[str, list[str]]:
    """The changes noted for each cell that another program edited, by its source."""
    marks = {cell["source"]: cell["metadata"].get("nbtape", {}).get("touched") for cell in read_notebook(path)["cells"]}
    return {source: mark for source, mark in marks.items() if mark}


def test_a_persons_edits_and_cells_are_kept_next_to_the_recorded_ones(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    page.write(0, "x = 1  # mine")
    page.add(1, "y = 2")
    page.delete(3)
    page.save()
    page.expect_saved()
    expect(page.dialogs).to_have_count(0)
    assert run(executor, "print(x + 1)").output == "2\n"
    kept = ["x = 1", "x = 1  # mine", FIRST[1], FIRST[2], "y = 2", FIRST[3]]
    assert sorted(sources(executor.notebook)) == sorted([*kept, "print(x + 1)"])
    assert sources(executor.notebook)[:2] == kept[:2]
    assert touched(executor.notebook) == {
        "x = 1": ["source"],
        "x = 1  # mine": ["added"],
        FIRST[2]: ["deleted"],
        "y = 2": ["added"],
    }


def test_saving_added_cells_again_shows_no_dialog_while_no_block_runs(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    page.add(1, "y = 0")
    for number in range(3):
        page.write(2, f"y = {number}")
        page.save()
        page.expect_saved()
    expect(page.dialogs).to_have_count(0)
    run(executor, "print('later')")
    assert sources(executor.notebook) == [*FIRST[:2], "y = 2", *FIRST[2:], "print('later')"]
    assert touched(executor.notebook) == {"y = 2": ["added"]}


def test_editing_a_recorded_cell_again_keeps_one_version_of_it(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    for number in range(2):
        page.write(0, f"x = {number}  # mine")
        page.save()
        page.answer_if_asked(QUESTION, "Overwrite")
        page.expect_saved()
        mine = f"x = {number}  # mine"
        assert eventually(lambda mine=mine: sources(executor.notebook)[:3] == ["x = 1", mine, FIRST[1]])  # type: ignore[misc]
    page.command("File", "Reload Notebook from Disk")
    expect(page.cells).to_have_count(5)


def test_a_save_while_a_block_runs_loses_neither_the_edit_nor_the_output(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    go = executor.notebook.with_name("go")
    code = WAITING.format(str(go))
    with ThreadPoolExecutor() as threads:
        block = threads.submit(run, executor, code)
        assert eventually(lambda: stream_text(read_notebook(executor.notebook)["cells"][-1]) == "begun\n")
        page.write(0, "x = 1  # mine")
        page.save()
        page.answer_if_asked(QUESTION, "Overwrite")
        page.expect_saved()
        go.touch()
        assert block.result(60).output == "begun\ndone\n"
    go.unlink()
    assert sources(executor.notebook) == ["x = 1", "x = 1  # mine", *FIRST[1:], code]
    assert stream_text(read_notebook(executor.notebook)["cells"][-1]) == "begun\ndone\n"
    assert touched(executor.notebook) == {"x = 1": ["source"], "x = 1  # mine": ["added"]}


class TestAnUnsavedBuffer:
    """The person has unsaved edits, and the agent has recorded more cells."""

    @pytest.fixture(autouse=True)
    def _question(self, executor: JupyterCodeExecutor, page: NotebookPage) -> None:
        page.write(0, "x = 1  # mine")
        page.expect_unsaved()
        run(executor, "print('meanwhile')")
        page.save()
        expect(page.dialogs).to_contain_text(QUESTION)

    def test_overwrite_loses_none_of_the_agents_cells(self, executor: JupyterCodeExecutor, page: NotebookPage) -> None:
        page.answer("Overwrite")
        page.expect_saved()
        both = ["x = 1", "x = 1  # mine", *FIRST[1:], "print('meanwhile')"]
        assert eventually(lambda: sources(executor.notebook) == both)
        run(executor, "print('after')")
        assert sources(executor.notebook) == [*both, "print('after')"]
        assert touched(executor.notebook) == {"x = 1": ["source"], "x = 1  # mine": ["added"]}
        page.command("File", "Reload Notebook from Disk")
        expect(page.cells).to_have_count(7)

    def test_revert_shows_the_agents_cells(self, executor: JupyterCodeExecutor, page: NotebookPage) -> None:
        page.answer("Revert")
        expect(page.cells).to_have_count(5)
        page.expect_saved()
        run(executor, "print('after')")
        assert sources(executor.notebook) == [*FIRST, "print('meanwhile')", "print('after')"]
        assert touched(executor.notebook) == {}

    def test_cancel_keeps_the_unsaved_edit(self, executor: JupyterCodeExecutor, page: NotebookPage) -> None:
        page.answer("Cancel")
        page.expect_unsaved()
        expect(page.cells.nth(0)).to_contain_text("# mine")
        assert sources(executor.notebook) == [*FIRST, "print('meanwhile')"]


def test_a_reload_shows_new_cells_and_keeps_the_kernel(executor: JupyterCodeExecutor, page: NotebookPage) -> None:
    """JupyterLab does not detect on its own that the file of an open notebook has changed."""
    run(executor, "secret = 41")
    expect(page.cells).to_have_count(4)
    page.command("File", "Reload Notebook from Disk")
    expect(page.cells).to_have_count(5)
    page.expect_saved()
    page.expect_output(page.run_code("print(secret + 1)"), "42\n")
