"""Changes not yet in the notebook are kept in a journal that survives crashes, and every reader merges it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from reading import eventually, read_notebook, stream_text

from nbtape import AsyncJupyterCodeExecutor, CodeBlock, JupyterCodeExecutor, NotebookWriteError
from nbtape.common.untrusted_files import Directory
from nbtape.notebook.document import Notebook
from nbtape.notebook.journal import MAX_JOURNAL_BYTES, Journal, path_of, read_journal
from nbtape.notebook.read import recover_document

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
    "nbtape": {"version": 1, "started": "2026-11-22T00:00:00+00:00"},
}


def make(directory: Path, *sources: str) -> Notebook:
    notebook = Notebook.create(directory, "session", METADATA)
    for source in sources:
        notebook.add_code(source, {})
    notebook.save()
    return notebook


def sources(document: NotebookNode) -> list[str]:
    return [cell["source"] for cell in document["cells"]]


def on_disk(notebook: Notebook) -> list[str]:
    """The cells that a reader without the journal finds, after a check that the notebook is valid."""
    return sources(read_notebook(notebook.path))


def test_kept_changes_are_not_in_the_notebook_but_readers_see_them(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    notebook.add_code("second", {})
    notebook.cells[0]["metadata"]["tags"] = ["changed"]
    notebook.touch(0)
    notebook.describe({"title": "Mine"})
    notebook.keep()
    assert on_disk(notebook) == ["first"]
    read = recover_document(notebook.path)
    assert sources(read) == ["first", "second"]
    assert read["cells"][0]["metadata"]["tags"] == ["changed"]
    assert read["metadata"]["title"] == "Mine"
    notebook.save()
    assert on_disk(notebook) == ["first", "second"]
    assert read_journal(notebook.path) == b""
    notebook.close()
    assert [path.name for path in tmp_path.iterdir()] == ["session.ipynb"]


def test_the_cost_of_keeping_depends_on_the_change_only(tmp_path: Path) -> None:
    notebook = make(tmp_path, *("x" * 100_000 for _ in range(100)))
    notebook.add_code("new", {})
    before = notebook.path.stat()
    notebook.keep()
    assert path_of(notebook.path).stat().st_size < 1000
    assert notebook.path.stat() == before


def test_opening_a_notebook_merges_its_journal(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    notebook.add_code("second", {})
    notebook.keep()
    left = tmp_path / "left"  # A copy has no lock, like the files of a killed process.
    left.mkdir()
    for path in (notebook.path, path_of(notebook.path)):
        shutil.copy(path, left)
    again = Notebook.open(left / "session.ipynb")
    assert on_disk(again) == ["first", "second"]
    assert [path.name for path in left.iterdir()] == ["session.ipynb"]
    again.add_code("third", {})
    again.save()
    again.close()
    assert on_disk(again) == ["first", "second", "third"]


def test_all_complete_entries_of_a_truncated_journal_are_read(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    ends = []
    for number in range(3):
        notebook.add_code(f"{number}", {})
        notebook.keep()
        ends.append(path_of(notebook.path).stat().st_size)
    whole = read_journal(notebook.path)
    for end in range(len(whole)):
        path_of(notebook.path).write_bytes(whole[:end])
        assert len(sources(recover_document(notebook.path))) == 1 + sum(complete <= end for complete in ends)


def test_a_leftover_journal_does_not_undo_saved_changes(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    notebook.add_code("second", {})
    notebook.keep()
    left = read_journal(notebook.path)
    notebook.cells[1]["execution_count"] = 7
    notebook.touch(1)
    notebook.save()
    path_of(notebook.path).write_bytes(left)
    assert [cell["execution_count"] for cell in recover_document(notebook.path)["cells"]] == [None, 7]


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_entries_after_a_damaged_one_are_ignored(tmp_path: Path, position: float) -> None:
    notebook = make(tmp_path, "first")
    for number in range(10):
        notebook.add_code(f"{number}", {})
        notebook.keep()
    content = bytearray(read_journal(notebook.path))
    content[int(position * len(content))] ^= 1
    path_of(notebook.path).write_bytes(content)
    found = sources(recover_document(notebook.path))
    assert found == ["first", *map(str, range(len(found) - 1))]
    assert len(found) < 11


def cell_entry(source: str, **fields: Any) -> bytes:
    return json.dumps(
        {
            "cell_type": "code",
            "id": "planted",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": source,
            **fields,
        }
    ).encode()


STARTED = METADATA["nbtape"]["started"]  # type: ignore[index]
HEAD = f"nbtape journal 1 {STARTED} 9\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        HEAD + b"cell 99999999999999999999 0\n{}\n",
        HEAD + b"cell -5 0\n{}\n",
        HEAD + b"cell 2 zz\n{}\n",
        HEAD + b"\xff\xff 2 00000000\n{}\n",
        HEAD.replace(b"2026", b"2027") + b"cell 2 9a6f0f4c\n{}\n",
        HEAD.replace(b" 9", b" x") + b"cell 2 9a6f0f4c\n{}\n",
        HEAD.replace(b" 9", b"") + b"cell 2 9a6f0f4c\n{}\n",
        b"nbtape journal 2 x\n",
    ],
)
def test_an_invalid_or_foreign_journal_is_ignored(tmp_path: Path, content: bytes) -> None:
    notebook = make(tmp_path, "first")
    notebook.close()
    path_of(notebook.path).write_bytes(content)
    assert sources(recover_document(notebook.path)) == ["first"]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_an_obstacle_at_the_path_of_the_journal_is_neither_followed_nor_waited_for(tmp_path: Path, kind: str) -> None:
    notebook = make(tmp_path, "first")
    victim, place = tmp_path / "victim", path_of(notebook.path)
    victim.write_text("precious")
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    assert sources(recover_document(notebook.path)) == ["first"]
    notebook.add_code("second", {})
    notebook.keep()
    assert sources(recover_document(notebook.path)) == ["first", "second"]
    notebook.save()
    assert on_disk(notebook) == ["first", "second"]
    assert victim.read_text() == "precious"


def test_removing_the_journal_loses_nothing(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    for number in range(3):
        notebook.add_code(str(number), {})
        notebook.keep()
        path_of(notebook.path).unlink(missing_ok=True)
    notebook.add_code("last", {})
    notebook.keep()
    assert sources(recover_document(notebook.path)) == ["first", "0", "1", "2", "last"]
    notebook.close()


def test_the_journal_of_a_deleted_notebook_is_not_used_for_its_successor(tmp_path: Path) -> None:
    first = make(tmp_path, "first")
    first.add_code("of the first", {})
    first.keep()
    first.path.unlink()
    second = Notebook.create(tmp_path, "session", {**METADATA, "nbtape": {"started": "2026-11-23T00:00:00+00:00"}})
    assert sources(recover_document(second.path)) == []
    second.add_code("second", {})
    second.keep()
    assert sources(recover_document(second.path)) == ["second"]


def test_later_edits_by_a_person_are_kept(tmp_path: Path) -> None:
    notebook = make(tmp_path, "edited", "deleted", "left alone")
    for index in range(3):
        notebook.cells[index]["execution_count"] = 7
        notebook.touch(index)
    notebook.add_code("new", {})
    notebook.keep()
    document = nbformat.read(notebook.path, 4)
    document["cells"][0]["source"] = "by a person"
    del document["cells"][1]
    nbformat.write(document, notebook.path)
    read = recover_document(notebook.path)
    assert sources(read) == ["by a person", "left alone", "new"]
    assert [cell["execution_count"] for cell in read["cells"]] == [None, 7, None]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_journal_has_the_permissions_of_its_notebook(tmp_path: Path, mode: int) -> None:
    notebook = make(tmp_path, "first")
    journal = path_of(notebook.path)
    for number, each in enumerate((mode, 0o600, mode)):
        notebook.path.chmod(each)
        notebook.add_code(f"password = {number}", {})
        notebook.keep()
        assert stat.S_IMODE(journal.stat().st_mode) == each
    notebook.save()
    assert stat.S_IMODE(notebook.path.stat().st_mode) == mode


@pytest.mark.parametrize("size", [1 << 27, 1 << 30, 1 << 42])
@pytest.mark.parametrize("head", [b"", b"nbtape journal 1 ", b"nbtape journal 1 x 1\ncell 134217700 00000000\n"])
def test_a_sparse_journal_of_any_size_uses_little_memory(
    tmp_path: Path, head: bytes, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    notebook = make(tmp_path, "first")
    path_of(notebook.path).write_bytes(head)
    os.truncate(path_of(notebook.path), size)
    with caplog.at_level("WARNING", "nbtape"):
        assert len(read_journal(notebook.path)) <= (1 << 27) + 1000
        assert sources(recover_document(notebook.path)) == ["first"]
    assert ("is ignored: it has" in caplog.text) == (size > MAX_JOURNAL_BYTES)
    notebook.add_code("second", {})
    notebook.keep()
    notebook.save()
    assert on_disk(notebook) == ["first", "second"]


def test_changes_too_large_for_the_journal_are_saved_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbtape.notebook.journal.MAX_JOURNAL_BYTES", 2000)
    notebook = make(tmp_path, "first")
    for number in range(20):
        notebook.add_code(f"{number}" * 100, {})
        notebook.keep()
        assert path_of(notebook.path).stat().st_size <= 2000
        assert len(sources(recover_document(notebook.path))) == number + 2


def test_a_moved_journal_is_no_longer_written(tmp_path: Path) -> None:
    notebook = make(tmp_path, "first")
    notebook.add_code("second", {})
    notebook.keep()
    moved = path_of(notebook.path).rename(tmp_path / "moved")
    before = moved.read_bytes()
    notebook.add_code("third", {})
    notebook.keep()
    assert sources(recover_document(notebook.path)) == ["first", "second", "third"]
    assert before.startswith(moved.read_bytes())


def test_a_full_disk_does_not_damage_the_journal_and_the_next_save_writes_everything(small_disk: Path) -> None:
    notebook = make(small_disk, "first")
    notebook.add_code("kept", {})
    notebook.keep()
    notebook.add_code("y" * 600_000, {})
    with pytest.raises(NotebookWriteError, match="the disk is full"):
        notebook.keep()
    assert sources(recover_document(notebook.path)) == ["first", "kept"]
    notebook.cells[2]["source"] = "short"
    notebook.touch(2)
    notebook.keep()
    assert sources(recover_document(notebook.path)) == ["first", "kept", "short"]
    notebook.save()
    assert on_disk(notebook) == ["first", "kept", "short"]


def test_entries_are_added_completely_or_not_at_all(small_disk: Path) -> None:
    journal = Journal(Directory(small_disk), "session.ipynb")
    journal.add("now", 1, [("cell", b"{}")])
    before = read_journal(small_disk / "session.ipynb")
    with pytest.raises(OSError, match="No space left"):
        journal.add("now", 1, [("cell", b"x" * 600_000)])
    assert read_journal(small_disk / "session.ipynb") == before


# In a session


@pytest.fixture
def no_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allowance for saves is used up."""
    monkeypatch.setattr("nbtape.notebook.autosave.SAVE_CREDIT_SECONDS", 0.0)


@pytest.mark.usefixtures("no_credit")
def test_a_notebook_that_is_slow_to_write_is_saved_rarely_and_loses_no_cells(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.execute_code_blocks([CodeBlock("big = 'x' * 100_000\nfor n in range(50):\n    print(big)", "python")])
        versions = set()
        for number in range(50):
            executor.execute_code_blocks([CodeBlock(f"print({number})", "python")])
            versions.add(executor.notebook.stat().st_ino)
            cell = recover_document(executor.notebook)["cells"][number + 1]
            assert (cell["metadata"]["nbtape"]["status"], stream_text(cell)) == ("ok", f"{number}\n")
        assert len(versions) < 40
        assert eventually(lambda: len(read_notebook(executor.notebook)["cells"]) == 51)
    assert read_journal(executor.notebook) == b""
    assert sorted(path.name for path in output_dir.iterdir()) == ["session.ipynb"]


def test_a_cell_is_in_the_notebook_when_its_result_is_returned(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        for number in range(30):
            executor.execute_code_blocks([CodeBlock(f"print({number})", "python")])
            assert stream_text(read_notebook(executor.notebook)["cells"][number]) == f"{number}\n"


SESSION = """
import sys
import nbtape.notebook.autosave
from nbtape import CodeBlock, JupyterCodeExecutor

nbtape.notebook.autosave.SAVE_CREDIT_SECONDS = float(sys.argv[2])
executor = JupyterCodeExecutor(output_dir=sys.argv[1])
executor.execute_code_blocks([CodeBlock("big = 'x' * 100_000\\nfor n in range(30):\\n    print(big)", "python")])
for number in range(10_000):
    result = executor.execute_code_blocks([CodeBlock(f"print({number}, big[:50_000])", "python")])
    print(result.cells[0].index, flush=True)
"""


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 6))])
def test_no_finished_cell_is_lost_when_the_process_is_killed(output_dir: Path, seed: int) -> None:
    until = random.Random(seed).randrange(5, 60)
    ended = -1
    command = [sys.executable, "-c", SESSION, str(output_dir), str(seed % 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            ended = int(line)
            if ended == until:
                process.send_signal(signal.SIGKILL)
    path = output_dir / "session.ipynb"
    plain = read_notebook(path)
    whole = recover_document(path)
    nbformat.validate(whole)
    cells = whole["cells"]
    assert len(cells) in {ended + 1, ended + 2}, "the last one may have been running"
    for index in range(1, ended + 1):
        assert stream_text(cells[index]).split()[0] == str(index - 1)
        assert cells[index]["metadata"]["nbtape"]["status"] == "ok"
    assert len(plain["cells"]) <= len(cells)
    with JupyterCodeExecutor.resume(path) as executor:
        executor.execute_code_blocks([CodeBlock("print('on')", "python")])
    again = read_notebook(path)
    assert [cell["id"] for cell in again["cells"][:-1]] == [cell["id"] for cell in cells]
    assert sorted(left.name for left in output_dir.iterdir()) == ["session.ipynb"]


async def test_the_memory_of_a_long_session_is_bounded(output_dir: Path) -> None:
    code = (
        "import base64, os\nfrom IPython.display import display\n"
        "display({'image/png': base64.b64encode(os.urandom(75_000)).decode(), 'text/plain': 'p'}, raw=True)"
    )
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        for number in range(100):
            await executor.execute_code_blocks([CodeBlock(code, "python")])
            if number == 60:
                held = len(executor._session.recording.notebook.cells._nodes)
        cells = executor._session.recording.notebook.cells
        assert len(cells) == 100
        assert len(cells._nodes) <= held < 60
        first = recover_document(executor.notebook)["cells"][0]
        assert cells[0] == first
