"""A clean export leaves out failures and noise, still works, and keeps what it needs of a failed cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.export.clean import cleaned, left_out, needed
from nbtape.export.clean_run import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode


def code(source: str, status: str = "ok") -> NotebookNode:
    count = None if status == "not_run" else 1
    failed = [new_output("error", ename="E", evalue="", traceback=[])] if status == "error" else []
    ours = {"nbtape": {"status": status}}
    cell: NotebookNode = new_code_cell(source, execution_count=count, outputs=failed, metadata=ours)
    return cell


def sources(notebook: NotebookNode) -> list[str]:
    return [cell["source"] for cell in notebook["cells"]]


@pytest.mark.parametrize("status", ["error", "timeout", "interrupted", "kernel_died", "not_run", "running"])
def test_cells_that_did_not_succeed_are_left_out(status: str) -> None:
    notebook = new_notebook(cells=[code("a"), code("b", status), code("c")])
    assert sources(cleaned(notebook, ())) == ["a", "c"]
    assert [cell.index for cell in left_out(notebook)] == [1]


def test_prose_that_only_led_to_a_failure_is_left_out() -> None:
    cells = [
        new_markdown_cell("First, the data."),
        code("a"),
        new_markdown_cell("Let me try this."),
        code("b", "error"),
        new_markdown_cell("## The result"),
        new_markdown_cell("It failed, once more."),
        code("c"),
        code("d", "error"),
        new_markdown_cell("All is well."),
    ]
    kept = sources(cleaned(new_notebook(cells=cells), ()))
    assert kept == ["First, the data.", "a", "## The result", "It failed, once more.", "c", "All is well."]


def test_a_heading_is_kept_when_its_code_failed() -> None:
    cells = [
        new_markdown_cell("# A title\nand more"),
        code("a", "error"),
        code("b", "error"),
        new_markdown_cell("x"),
        code("c"),
    ]
    assert sources(cleaned(new_notebook(cells=cells), ())) == ["# A title\nand more", "x", "c"]


def test_only_the_failed_cell_that_defines_a_missing_name_is_put_back() -> None:
    cells = [code("import os as x\n1/0", "error"), code("y = 1\n1/0", "error"), code("x, y"), code("z = 1", "error")]
    notebook = new_notebook(cells=cells)
    ids = [cell["id"] for cell in cells]
    assert needed(notebook, ids[2], "NameError: name 'x' is not defined", ()) == [ids[0]]
    assert needed(notebook, ids[2], "NameError: name 'y' is not defined", {ids[0]}) == [ids[1]]
    assert needed(notebook, ids[2], "FileNotFoundError: data.csv", ()) == ids[:2]
    assert needed(notebook, ids[2], "FileNotFoundError: data.csv", ids[:2]) == []


def test_cells_that_killed_a_kernel_or_never_ran_are_not_put_back() -> None:
    cells = [code("x = 1", "kernel_died"), code("x = 2", "not_run"), code("x = 3", "running"), code("x")]
    assert needed(new_notebook(cells=cells), cells[3]["id"], "NameError: name 'x' is not defined", ()) == []


def record(directory: Path, *blocks: str) -> Path:
    with JupyterCodeExecutor(output_dir=directory) as executor:
        for block in blocks:
            executor.execute_code_blocks([CodeBlock(block, "python")])
        return executor.notebook


def test_the_remaining_cells_work_on_a_fresh_kernel(output_dir: Path) -> None:
    path = record(output_dir, "x = 2", "x / 0", "import sys\nprint(x)\nprint('hint', file=sys.stderr)")
    before = path.read_bytes()
    rehearsal = rehearse(path)
    assert rehearsal.broken is None
    assert [(cell.index, cell.reason) for cell in rehearsal.left_out] == [(1, "it failed (error)")]
    assert (rehearsal.put_back, rehearsal.changes) == ([], [])
    last = rehearsal.document["cells"][-1]
    assert [output["text"] for output in last["outputs"]] == ["2\n"], "without what was said on stderr"
    assert "papermill" not in last["metadata"]
    assert path.read_bytes() == before
    assert list(output_dir.iterdir()) == [path]


def test_a_failed_cell_that_the_rest_needs_is_kept(output_dir: Path) -> None:
    path = record(output_dir, "x = 2\nx / 0", "1 / 0", "print(x + 1)")
    rehearsal = rehearse(path)
    assert rehearsal.broken is None
    assert [cell.block for cell in rehearsal.put_back] == [1]
    assert [cell.index for cell in rehearsal.left_out] == [1]
    assert [cell["metadata"]["nbtape"]["status"] for cell in rehearsal.document["cells"]] == ["error", "ok"]


def test_a_cell_that_no_longer_works_is_reported(output_dir: Path) -> None:
    path = record(output_dir, "1 / 0", "import os\nprint(os.environ.pop('NBTAPE_TEST', 'gone'))", "open('here').read()")
    (output_dir / "here").write_text("")
    path = record(output_dir, "open('here').read()", "1 / 0", "open('here').close()")
    (output_dir / "here").unlink()
    rehearsal = rehearse(path)
    assert rehearsal.broken is not None
    assert rehearsal.broken.index == 0
    assert "FileNotFoundError" in rehearsal.broken.reason


def test_a_cell_with_a_different_output_is_reported(output_dir: Path) -> None:
    path = record(output_dir, "x = 1", "x = 5\n1 / 0", "print(x)")
    (change,) = rehearse(path).changes
    assert change.index == 2


def test_a_notebook_without_successful_cells_is_an_error(output_dir: Path) -> None:
    with pytest.raises(ValueError, match="nothing would be left"):
        rehearse(record(output_dir, "1 / 0"))
