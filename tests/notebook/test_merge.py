"""Another program saves the notebook while it is recorded: its changes are kept, and no recorded cell is lost."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from executors import blocks, run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from nbformat.v4 import new_code_cell, new_markdown_cell
from reading import code_cells, eventually, read_notebook, stream_text

from nbtape import JupyterCodeExecutor
from nbtape.common.untrusted_files import Directory
from nbtape.notebook import agent_edits
from nbtape.notebook.document import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
    "nbtape": {"started": "2026-01-01T00:00:00+00:00"},
}


class Person:
    """A person with the notebook open, as in JupyterLab: each save writes all cells as they were opened and edited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        self.notebook = nbformat.read(self.path, as_version=4)

    @property
    def cells(self) -> list[Any]:
        cells: list[Any] = self.notebook["cells"]
        return cells

    def save(self) -> None:
        nbformat.validate(self.notebook)
        self.path.write_text(nbformat.writes(self.notebook) + "\n")


def sources(path: Path) -> list[str]:
    return [cell["source"] for cell in read_notebook(path)["cells"]]


def is_other(path: Path, content: bytes) -> bool:
    return path.read_bytes() != content


def is_saved(notebook: Notebook) -> bool:
    notebook.save()
    return notebook.is_saved


def touched(path: Path) -> dict[str, list[str]]:
    cells = read_notebook(path)["cells"]
    marks = {cell["source"]: cell["metadata"].get("nbtape", {}).get("touched") for cell in cells}
    return {source: mark for source, mark in marks.items() if mark}


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    for source in "abcd":
        notebook.add_code(source, {"nbtape": {"status": "ok"}})
    notebook.save()
    yield notebook
    notebook.close()


# A session and a person


def test_a_persons_changes_are_kept_and_the_agent_continues(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        for code in ("x = 1", "x = 2", "print(x)", "print(x + 1)"):
            run(executor, code)
        person = Person(executor.notebook)
        person.cells[0]["source"] = "x = 1  # mine"
        person.cells[3]["outputs"] = []
        del person.cells[1]
        person.cells.insert(1, new_markdown_cell("a remark"))
        person.save()
        result = run(executor, "print(x + 2)")
        assert (result.status, result.output) == ("ok", "4\n")
    recorded = ["x = 1", "x = 2", "print(x)", "print(x + 1)", "print(x + 2)"]
    assert sources(executor.notebook) == ["x = 1", "x = 1  # mine", "x = 2", "a remark", *recorded[2:]]
    assert touched(executor.notebook) == {
        "x = 1": ["source"],
        "x = 1  # mine": ["added"],
        "x = 2": ["deleted"],
        "a remark": ["added"],
        "print(x + 1)": ["outputs"],
    }
    first, mine, *_, changed, _ = read_notebook(executor.notebook)["cells"]
    assert mine["metadata"]["nbtape"]["version_of"] == first["id"]
    assert stream_text(changed) == "3\n"


def test_editing_the_running_cell_loses_no_output(output_dir: Path) -> None:
    code = (
        "import time, os\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
    )
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "'earlier'")
        running = threading.Thread(target=executor.execute_code_blocks, args=[blocks(code)])
        running.start()
        path = executor.notebook
        assert eventually(lambda: "begun" in stream_text(code_cells(path)[-1]))
        person = Person(path)
        person.cells[1]["source"] += "  # a remark"
        person.cells[1]["outputs"] = []
        del person.cells[0]
        person.save()
        assert eventually(lambda: len(read_notebook(path)["cells"]) == 3)
        (output_dir / "go").touch()
        running.join()
        earlier, cell, theirs = read_notebook(path)["cells"]
        assert earlier["metadata"]["nbtape"]["touched"] == ["deleted"]
        assert stream_text(cell) == "begun\ndone\n"
        assert cell["source"] == code
        assert cell["metadata"]["nbtape"]["status"] == "ok"
        assert theirs["source"].endswith("# a remark")


def test_a_cell_deleted_while_it_runs_is_kept_with_its_whole_result(output_dir: Path) -> None:
    code = (
        "import time, os\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
    )
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        results: list[Any] = []
        running = threading.Thread(target=lambda: results.append(run(executor, code)))
        running.start()
        assert eventually(lambda: "begun" in "".join(map(stream_text, code_cells(executor.notebook))))
        person = Person(executor.notebook)
        person.cells.clear()
        person.save()
        (output_dir / "go").touch()
        running.join()
        assert results[0].output == "begun\ndone\n"
        assert run(executor, "print(1)").output == "1\n"
    first, last = read_notebook(executor.notebook)["cells"]
    assert stream_text(first) == "begun\ndone\n"
    assert first["metadata"]["nbtape"]["touched"] == ["deleted"]
    assert last["source"] == "print(1)"


ERASE = """
import json
document = json.load(open("session.ipynb"))
document["cells"] = [cell for cell in document["cells"] if "deed" not in "".join(cell["source"])]
for cell in document["cells"]:
    cell["metadata"] = {"tags": ["nbval-ignore-output"], "nbtape": {"status": "ok", "replay": {"extra": [".*"]}}}
    cell["outputs"], cell["execution_count"] = [], 9
document["cells"].append({"id": "forged", "cell_type": "code", "source": "good()", "execution_count": 7, "outputs": [],
                          "metadata": {"nbtape": {"status": "ok", "kernel_epoch": 1}}})
document["metadata"] = {"kernelspec": {"name": "other", "display_name": "x"}, "nbtape": {"started": "x"}}
json.dump(document, open("session.ipynb", "w"))
"""


def test_code_that_rewrites_its_notebook_changes_no_recorded_cell(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        for code in ("print('the deed')", "open('/nowhere')", ERASE, "print('after')"):
            run(executor, code)
    notebook = read_notebook(executor.notebook)
    recorded = [cell for cell in notebook["cells"] if cell["metadata"]["nbtape"].get("status")]
    assert [cell["source"] for cell in recorded] == ["print('the deed')", "open('/nowhere')", ERASE, "print('after')"]
    assert [cell["metadata"]["nbtape"]["status"] for cell in recorded] == ["ok", "error", "ok", "ok"]
    assert [cell["execution_count"] for cell in recorded] == [1, 2, 3, 4]
    assert stream_text(recorded[0]) == "the deed\n"
    assert recorded[1]["outputs"][0]["output_type"] == "error"
    assert "raises-exception" in recorded[1]["metadata"]["tags"]
    assert not any("replay" in cell["metadata"]["nbtape"] for cell in notebook["cells"])
    assert "deleted" in recorded[0]["metadata"]["nbtape"]["touched"]
    (forged,) = (cell for cell in notebook["cells"] if cell["source"] == "good()")
    assert forged["metadata"]["nbtape"] == {"touched": ["added"]}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["nbtape"]["version"] == 1


def test_saving_an_old_version_loses_nothing_even_when_idle(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "print('seen')")
        person = Person(executor.notebook)
        person.cells.append(new_markdown_cell("mine"))
        run(executor, "print('not seen')")
        person.save()
        assert "print('not seen')" not in sources(executor.notebook)
        assert eventually(lambda: sources(executor.notebook) == ["print('seen')", "mine", "print('not seen')"])
    assert touched(executor.notebook) == {"mine": ["added"]}


def test_added_cells_do_not_cause_a_save_while_idle(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "print(1)")
        person = Person(executor.notebook)
        for number in range(2):
            person.cells.append(new_code_cell(str(number)))
            person.save()
            before = executor.notebook.read_bytes()
            assert not eventually(partial(is_other, executor.notebook, before), 1.5)
        del person.cells[1]
        person.save()
        run(executor, "print(2)")
    assert sources(executor.notebook) == ["print(1)", "1", "print(2)"]


def test_editing_a_recorded_cell_repeatedly_keeps_one_version_of_it(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "print(1)")
        person = Person(executor.notebook)
        for number in range(3):
            person.cells[0]["source"] = f"print({number})  # mine"
            person.save()
            before = executor.notebook.read_bytes()
            assert eventually(partial(is_other, executor.notebook, before))
        assert sources(executor.notebook) == ["print(1)", "print(2)  # mine"]
        person.open()
        person.cells[1]["source"] = "print(3)  # mine"
        person.save()
        run(executor, "print(2)")
        assert sources(executor.notebook) == ["print(1)", "print(3)  # mine", "print(2)"]


def test_updating_a_cleared_display_is_harmless(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "handle = display('first', display_id='x')")
        person = Person(executor.notebook)
        person.cells[0]["outputs"] = []
        person.save()
        result = run(executor, "handle.update('second')\nprint('goes on')")
        assert (result.status, result.output) == ("ok", "goes on\n")
        assert code_cells(executor.notebook)[0]["outputs"][0]["data"]["text/plain"] == "'second'"


# The notebook alone


def test_a_save_without_a_change_marks_nothing(notebook: Notebook) -> None:
    notebook.touch(0)
    Person(notebook.path).save()
    notebook.add_markdown("more", {})
    notebook.save()
    assert touched(notebook.path) == {}


def test_view_settings_are_kept_and_do_not_count_as_changes(notebook: Notebook) -> None:
    person = Person(notebook.path)
    person.cells[1]["metadata"]["collapsed"] = True
    person.notebook["metadata"]["theme"] = "dark"
    person.save()
    notebook.add_markdown("more", {})
    notebook.save()
    saved = read_notebook(notebook.path)
    assert saved["cells"][1]["metadata"]["collapsed"] is True
    assert saved["metadata"]["theme"] == "dark"
    assert touched(notebook.path) == {}


def test_moved_cells_stay_where_the_person_put_them(notebook: Notebook) -> None:
    person = Person(notebook.path)
    person.cells.reverse()
    person.save()
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == [*"dcba", "more"]
    assert [notebook.cells.place(number) for number in range(5)] == [3, 2, 1, 0, 4]
    assert sum(mark == ["moved"] for mark in touched(notebook.path).values()) == 3
    notebook.touch(0)
    notebook.save()
    assert sources(notebook.path) == [*"dcba", "more"]


def test_a_half_written_save_is_awaited_and_recorded_cells_go_to_the_journal(notebook: Notebook) -> None:
    person = Person(notebook.path)
    person.cells.append(new_markdown_cell("mine"))
    text = nbformat.writes(person.notebook)
    notebook.path.write_text(text[: len(text) // 2])
    notebook.add_markdown("ours", {})
    notebook.save()
    assert not notebook.is_saved
    assert notebook.path.read_text() == text[: len(text) // 2]
    person.save()
    assert [cell["source"] for cell in reread(notebook.path)] == [*"abcd", "mine", "ours"]
    notebook.save()
    assert notebook.is_saved
    assert sources(notebook.path) == [*"abcd", "mine", "ours"]


def reread(path: Path) -> list[Any]:
    """The cells as nbtape reads them: with the changes in the journal."""
    from nbtape.notebook.read import recover_document

    cells: list[Any] = recover_document(path)["cells"]
    return cells


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"cells": []}', json.dumps({"cells": [{}], "nbformat": 4})])
def test_a_file_that_is_not_a_notebook_is_moved_aside(notebook: Notebook, content: str) -> None:
    notebook.path.write_text(content)
    notebook.add_markdown("more", {})
    assert eventually(lambda: is_saved(notebook))
    assert sources(notebook.path) == [*"abcd", "more"]
    assert notebook.path.with_name("session-2.ipynb").read_text() == content


def test_another_notebook_at_the_path_is_moved_aside(notebook: Notebook, tmp_path: Path) -> None:
    other = Notebook.create(tmp_path, "other", {**METADATA, "nbtape": {"started": "2025-01-01T00:00:00+00:00"}})
    other.add_markdown("another", {})
    other.save()
    other.path.replace(notebook.path)
    other.close()
    notebook.add_markdown("more", {})
    assert eventually(lambda: is_saved(notebook))
    assert sources(notebook.path) == [*"abcd", "more"]
    assert sources(tmp_path / "session-2.ipynb") == ["another"]


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_fifo_or_device_at_the_path_does_not_block_a_save(notebook: Notebook, put: Callable[[Path], None]) -> None:
    notebook.path.unlink()
    put(notebook.path)
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == [*"abcd", "more"]


def test_a_save_during_our_save_is_not_overwritten(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person(notebook.path)
    person.cells[0]["source"] = "mine"
    saves = iter([person.save])

    def write_and_be_late(*arguments: Any, **options: Any) -> Any:
        written = write_new(*arguments, **options)
        next(saves, lambda: None)()
        return written

    write_new = Directory.write_new
    monkeypatch.setattr(Directory, "write_new", write_and_be_late)
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == ["a", "mine", *"bcd", "more"]


def test_any_value_of_the_revision_is_tolerated(notebook: Notebook) -> None:
    revisions: tuple[Any, ...] = (-1, 1 << 80, "7", None, True, [], {})
    for revision in revisions:
        person = Person(notebook.path)
        person.notebook["metadata"]["nbtape"]["revision"] = revision
        del person.cells[0]
        person.save()
        notebook.add_markdown("more", {})
        notebook.save()
    assert set("abcd") < set(sources(notebook.path))


def test_a_notebook_stripped_of_metadata_is_still_recognized(notebook: Notebook) -> None:
    person = Person(notebook.path)
    person.notebook["metadata"] = {}
    person.cells.append(new_markdown_cell("mine"))
    person.save()
    notebook.add_markdown("more", {})
    notebook.save()
    assert sources(notebook.path) == [*"abcd", "mine", "more"]
    assert read_notebook(notebook.path)["metadata"]["nbtape"]["started"] == METADATA["nbtape"]["started"]


def test_edits_too_large_for_a_person_are_moved_aside(notebook: Notebook) -> None:
    for number in range(3):  # Each of them fits.
        person = Person(notebook.path)
        person.cells[number]["source"] = "x" * 9_000_000
        person.save()
        notebook.merge_changes()
        notebook.save()
    assert [len(source) for source in sources(notebook.path)] == [1, 9_000_000, 1, 1, 1]
    assert len(sources(notebook.path.with_name("session-2.ipynb"))) == 5
    assert notebook.recorded_bytes < 10_000


def test_a_person_can_delete_their_own_cells_in_a_resumed_notebook(notebook: Notebook) -> None:
    person = Person(notebook.path)
    person.cells.append(new_code_cell("mine"))
    person.save()
    notebook.close()
    again = Notebook.open(notebook.path)
    person.open()
    del person.cells[4], person.cells[0]
    person.save()
    again.add_markdown("more", {})
    again.save()
    assert sources(again.path) == [*"abcd", "more"]
    again.close()


class TwoWriters(RuleBasedStateMachine):
    """Each recorded cell stays as written; each cell of the person stays as last saved, with a version of each edit."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.notebook = Notebook.create(Path(self.directory.name), "session", METADATA)
        self.person = Person(self.notebook.path)
        self.ours: dict[str, str] = {}
        self.theirs: dict[str, str] = {}
        self.count = itertools.count()

    @rule()
    def we_add(self) -> None:
        source = f"ours {next(self.count)}"
        number = self.notebook.add_code(source, {"nbtape": {"status": "ok"}})
        self.ours[self.notebook.cells.ids[number]] = source

    @rule(choice=st.integers(0, 99))
    def we_change(self, choice: int) -> None:
        if cells := self.notebook.cells:
            cell = cells[choice % len(cells)]
            cell["execution_count"] = next(self.count)
            self.notebook.touch(choice % len(cells))

    @rule(choice=st.integers(0, 99))
    def we_edit(self, choice: int) -> None:
        if order := self.notebook.cells.order:
            source = f"our version {next(self.count)}"
            number = agent_edits.add_version(self.notebook, order[choice % len(order)], source, "")
            self.ours[self.notebook.cells.ids[number]] = source

    @rule(choice=st.integers(0, 99), place=st.integers(0, 99))
    def we_move(self, choice: int, place: int) -> None:
        if order := self.notebook.cells.order:
            self.notebook.move(order[choice % len(order)], place)

    @rule()
    def we_save(self) -> None:
        self.notebook.save()

    @rule()
    def we_merge(self) -> None:
        self.notebook.merge_changes()

    @rule()
    def they_open(self) -> None:
        self.person.open()

    @rule(choice=st.integers(0, 99))
    def they_edit(self, choice: int) -> None:
        if cells := self.person.cells:
            cells[choice % len(cells)]["source"] = f"edited {next(self.count)}"

    @rule(choice=st.integers(0, 99))
    def they_add(self, choice: int) -> None:
        self.person.cells.insert(choice % (len(self.person.cells) + 1), new_code_cell(f"his {next(self.count)}"))

    @rule(choice=st.integers(0, 99))
    def they_delete(self, choice: int) -> None:
        if cells := self.person.cells:
            cells.pop(choice % len(cells))

    @rule()
    def they_save(self) -> None:
        self.person.save()
        self.theirs = {cell["id"]: cell["source"] for cell in self.person.cells}

    def teardown(self) -> None:
        self.notebook.save()
        self.notebook.close()
        cells = read_notebook(self.notebook.path)["cells"]
        saved = {cell["id"]: cell["source"] for cell in cells}
        assert len(saved) == len(cells)
        assert self.ours.items() <= saved.items()
        for name, source in self.theirs.items():
            versions = {cell["source"] for cell in cells if cell["metadata"]["nbtape"].get("version_of") == name}
            assert source == saved[name] or source in versions
        self.directory.cleanup()


TestTwoWriters = TwoWriters.TestCase
TestTwoWriters.settings = settings(stateful_step_count=30)
