"""The agent edits, deletes and moves cells that it has recorded: the record stays, and each change is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from executors import run
from nbformat.v4 import new_markdown_cell
from reading import read_notebook

from nbtape import JupyterCodeExecutor
from nbtape.notebook import agent_edits
from nbtape.notebook.document import Notebook
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import changes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
    "nbtape": {"started": "2026-01-01T00:00:00+00:00"},
}


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    for source in "abcd":
        notebook.add_code(source, {"nbtape": {"status": "ok", "language": "python"}})
    notebook.save()
    yield notebook
    notebook.close()


def sources(path: Path) -> list[str]:
    return [cell["source"] for cell in read_notebook(path)["cells"]]


def marks(path: Path) -> dict[str, Any]:
    """What the agent has done to cells, by their sources."""
    cells = read_notebook(path)["cells"]
    ours = {cell["source"]: cell["metadata"].get("nbtape", {}) for cell in cells}
    return {source: [edit["action"] for edit in of["edits"]] for source, of in ours.items() if "edits" in of}


def touched(path: Path) -> list[Any]:
    cells = read_notebook(path)["cells"]
    return [mark for cell in cells if (mark := cell["metadata"].get("nbtape", {}).get("touched"))]


def test_an_agent_edits_deletes_and_moves_cells_and_the_record_stays(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, agent="ada") as executor:
        first, second, third = (run(executor, code).cells[0].cell_id for code in ("x = 1", "1 / 0", "print(x)"))
        executor.add_markdown("# Title")
        version = executor.edit_cell(second, "1 / 1")
        executor.delete_cell(third)
        executor.move_cell(first, -1)
        assert run(executor, "print(x + 1)").output == "2\n"
        with pytest.raises(ValueError, match=r"The notebook has no cell with the id 'nothing'\. Read its cells"):
            executor.edit_cell("nothing", "")
        with pytest.raises(ValueError, match="There is no position 6 in a notebook of 6 cells"):
            executor.move_cell(first, 6)
    notebook = read_notebook(executor.notebook)
    assert sources(executor.notebook) == ["1 / 0", "1 / 1", "print(x)", "# Title", "x = 1", "print(x + 1)"]
    assert marks(executor.notebook) == {
        "1 / 0": ["source"],
        "1 / 1": ["added"],
        "print(x)": ["deleted"],
        "x = 1": ["moved"],
    }
    failed, edited, deleted, *_ = notebook["cells"]
    assert failed["outputs"][0]["ename"] == "ZeroDivisionError"
    assert deleted["outputs"][0]["text"] == "1\n"
    assert (edited["id"], edited["metadata"]["nbtape"]["version_of"]) == (version, second)
    assert edited["metadata"]["nbtape"]["status"] == "not_run"
    assert edited["metadata"]["tags"] == ["skip-execution"]
    assert edited["metadata"]["nbtape"]["edits"][0]["agent"] == "ada"
    assert changes_of(summarise(notebook)) == (
        "4 cells were changed after recording: block 1 (source by the agent), block 2 (added by the agent, version of "
        "a recorded cell), block 3 (deleted by the agent), block 4 (moved by the agent)"
    )


def test_versions_follow_a_cell_in_their_order(notebook: Notebook) -> None:
    for source in ("a2", "a3"):
        agent_edits.add_version(notebook, 0, source, "")
    notebook.save()
    assert sources(notebook.path) == ["a", "a2", "a3", *"bcd"]
    assert marks(notebook.path)["a"] == ["source", "source"]


def test_a_markdown_cell_has_versions_too(notebook: Notebook) -> None:
    number = notebook.add_markdown("# Titel", {})
    version = agent_edits.add_version(notebook, number, "# Title", "")
    assert notebook.cells[version]["cell_type"] == "markdown"
    assert notebook.cells[version]["metadata"]["nbtape"]["version_of"] == notebook.cells[number]["id"]


def test_a_person_who_has_not_seen_a_move_does_not_undo_it(notebook: Notebook) -> None:
    person = nbformat.read(notebook.path, as_version=4)
    notebook.move(0, 3)
    agent_edits.mark(notebook, 0, "moved", "")
    agent_edits.add_version(notebook, 1, "b2", "")
    notebook.save()
    person["cells"].insert(1, new_markdown_cell("mine"))
    notebook.path.write_text(nbformat.writes(person) + "\n")
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == ["b", "b2", "c", "d", "a", "mine", "more"]
    assert touched(notebook.path) == [["added"]]
    assert marks(notebook.path) == {"b": ["source"], "b2": ["added"], "a": ["moved"]}


def test_a_person_who_has_seen_a_move_may_move_the_cell_again(notebook: Notebook) -> None:
    notebook.move(0, 3)
    notebook.save()
    person = nbformat.read(notebook.path, as_version=4)
    person["cells"].insert(0, person["cells"].pop())
    notebook.path.write_text(nbformat.writes(person) + "\n")
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == [*"abcd", "more"]
    assert touched(notebook.path) == [["moved"]]
