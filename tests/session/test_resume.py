"""Recorded notebooks that are resumed: stopped, killed or edited by a user, locally and on servers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

import nbformat
import pytest
from executors import SHOW_IMAGE, blocks, record, run
from jupyter_servers import ask, kernels_of
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from reading import code_cells, descendants, eventually, kernel_id_in, read_notebook, stream_text

import nbtape.notebook.document
from nbtape import (
    AsyncJupyterCodeExecutor,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    NotebookInUseError,
    NotebookReadError,
    NotebookWriteError,
    ResumedCell,
    Resumption,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape import DockerJupyterServer, LocalJupyterServer
    from nbtape.kernels.sources import Server

pytestmark = pytest.mark.usefixtures("leaves_nothing")

BOTH = pytest.mark.parametrize("face", [AsyncJupyterCodeExecutor, JupyterCodeExecutor])

#: Code that succeeds once in a directory.
ONCE = "import os\nassert not os.path.exists('once'), 'again'\nopen('once', 'w').close()"
#: Code that ends its kernel the second time.
DEADLY = "import os\nif os.path.exists('once'):\n    os._exit(7)\nopen('once', 'w').close()"
#: Code that runs until it is interrupted.
FOREVER = "print('begun', flush=True)\nimport time\nwhile True:\n    time.sleep(0.1)"


def resumed(executor: JupyterCodeExecutor) -> Resumption:
    assert executor.resumption is not None
    return executor.resumption


def encoded_cells(path: Path) -> list[str]:
    """Return the cells as they are in the file, byte for byte."""
    text = path.read_text()
    body = text[: text.index('\n ],\n "metadata"')]
    return [part.removesuffix(",") for part in body.split("\n  {\n")[1:]]


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Edit a notebook as a user does in JupyterLab, and save it."""
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


class _Resuming:
    """What holds on every kind of kernel."""

    @pytest.fixture
    def source(self) -> Server:
        raise NotImplementedError

    def test_successful_cells_run_again_and_the_session_continues(self, source: Server, output_dir: Path) -> None:
        path = record(output_dir, "x = 20\nprint('twenty')", "1/0", "y = x + 1", source=source)
        before = encoded_cells(path)
        with JupyterCodeExecutor.resume(path, source, timeout=30) as executor:
            report = resumed(executor)
            assert [cell.recorded for cell in report.cells] == ["ok", "error", "ok"]
            assert [cell.status for cell in report.cells] == ["ok", None, "ok"]
            assert not report.attached
            assert report.differing == []
            result = run(executor, "print(x, y)")
            assert (result.output, result.cells[0].index) == ("20 21\n", 3)
            assert executor.kernel_epoch == 2
            assert executor.notebook == path
        assert encoded_cells(path)[:3] == before
        assert [cell["metadata"]["nbtape"]["kernel_epoch"] for cell in code_cells(path)] == [1, 1, 1, 2]
        assert path.read_text() == nbformat.writes(read_notebook(path)) + "\n"

    def test_a_notebook_can_be_resumed_repeatedly(self, source: Server, output_dir: Path) -> None:
        path = record(output_dir, "trace = [1]", source=source)
        for number in (2, 3):
            with JupyterCodeExecutor.resume(path, source, timeout=30) as executor:
                assert run(executor, f"trace.append({number})\nprint(trace)").status == "ok"
        assert stream_text(code_cells(path)[-1]) == "[1, 2, 3]\n"
        entries = read_notebook(path)["metadata"]["nbtape"]["resumed"]
        assert [entry["kernel_epoch"] for entry in entries] == [2, 3]
        assert [entry["restored_epochs"] for entry in entries] == [[1], [1, 2]]

    def test_a_cell_that_fails_on_the_second_run_is_reported_and_the_rest_runs(
        self, source: Server, output_dir: Path
    ) -> None:
        path = record(output_dir, "x = 1", ONCE, "y = 2", source=source)
        with JupyterCodeExecutor.resume(path, source, timeout=30) as executor:
            (differing,) = resumed(executor).differing
            assert (differing.index, differing.recorded, differing.status) == (1, "ok", "error")
            assert "AssertionError: again" in differing.reason
            told = run(executor, "print(x + y)")
            assert told.output.endswith("\n3\n")
            assert "Not as recorded: block 2." in told.output
            assert run(executor, "print(x)").output == "1\n"
        assert code_cells(path)[1]["metadata"]["nbtape"]["status"] == "ok"

    def test_a_kernel_that_dies_during_the_resumption_is_reported(self, source: Server, output_dir: Path) -> None:
        path = record(output_dir, "x = 1", DEADLY, "y = 2", source=source)
        with JupyterCodeExecutor.resume(path, source, timeout=30) as executor:
            report = resumed(executor)
            assert [cell.status for cell in report.cells] == ["ok", "kernel_died", None]
            assert [cell.differs for cell in report.cells] == [False, True, True]
            assert "exited in block 2" in report.note
            result = run(executor, "print('x' in globals())")
            assert result.output.endswith("\nFalse\n")
            assert "exited in block 2" in result.output
            assert executor.kernel_epoch == 3
        with JupyterCodeExecutor.resume(path, source, timeout=30) as executor:
            assert [cell.index for cell in resumed(executor).cells if cell.status] == [3], "the state was lost"

    def test_a_fork_begins_with_the_first_cells_and_does_not_change_its_origin(
        self, source: Server, output_dir: Path
    ) -> None:
        path = record(output_dir, "x = 1", "x = 2", "x = 3", source=source)
        before = path.read_bytes()
        with JupyterCodeExecutor.resume(path, source, timeout=30, until=2) as executor:
            assert executor.notebook == output_dir / "session-fork.ipynb"
            assert run(executor, "print(x)").output == "2\n"
        assert path.read_bytes() == before
        fork = read_notebook(executor.notebook)
        assert [cell["source"] for cell in fork["cells"]] == ["x = 1", "x = 2", "print(x)"]
        assert encoded_cells(executor.notebook)[:2] == encoded_cells(path)[:2]
        assert fork["metadata"]["nbtape"]["origin"] == {
            "notebook": "session.ipynb",
            "until": 2,
            "sha256": hashlib.sha256(before).hexdigest(),
        }


class TestHere(_Resuming):
    @pytest.fixture
    def source(self) -> Server:
        return None


class TestOurServer(_Resuming):
    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway


class TestContainer(_Resuming):
    @pytest.fixture
    def source(self, container: DockerJupyterServer) -> Server:
        return container


# It stores and checks; it starts nothing


@BOTH
def test_nothing_is_started_or_written_before_the_start(face: Any, output_dir: Path) -> None:
    path = record(output_dir, "x = 1")
    before, processes = path.read_bytes(), descendants()
    executor = face.resume(path)
    assert (executor.notebook, executor.resumption, executor.kernel_epoch) == (path, None, 0)
    assert (path.read_bytes(), descendants()) == (before, processes)
    assert [file.name for file in output_dir.iterdir()] == ["session.ipynb"]


@BOTH
def test_an_executor_that_was_not_resumed_has_no_resumption(face: Any, output_dir: Path) -> None:
    assert face(output_dir=output_dir).resumption is None


EMPTY: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
UNREADABLE = {
    "no json": ('{"cells": [', "invalid JSON at line 1, column 12"),
    "no utf-8": (b"\xff\xfe{", "invalid UTF-8 at byte 0"),
    "half a pair": (json.dumps({**EMPTY, "metadata": {"title": "\ud800"}}), "lone surrogate"),
    "bottomless": ("[" * 100_000, "nested more than 128 levels"),
    "a list": ("[]", "not a notebook"),
    "an object": ("{}", "not a notebook"),
    "nbformat 9": (json.dumps({**EMPTY, "nbformat": 9}), "Save it as nbformat 4"),
    "no cells": (json.dumps({**EMPTY, "cells": {}}), "cells is {}, not a list"),
    "invalid": (json.dumps({**EMPTY, "cells": [{"cell_type": "code"}]}), "not a valid notebook"),
    "newer": (json.dumps({**EMPTY, "metadata": {"nbtape": {"version": 99}}}), "newer nbtape"),
}


@BOTH
@pytest.mark.parametrize(("content", "told"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_not_a_notebook_is_rejected(face: Any, tmp_path: Path, content: str | bytes, told: str) -> None:
    path = tmp_path / "session.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NotebookReadError, match=told) as caught:
        face.resume(path)
    assert isinstance(caught.value, ValueError)


@BOTH
def test_a_path_that_is_not_a_notebook_file_is_rejected(face: Any, tmp_path: Path) -> None:
    (tmp_path / "directory.ipynb").mkdir()
    (tmp_path / "notebook.txt").write_text(json.dumps(EMPTY))
    for name, told in [
        ("none.ipynb", "not exist"),
        ("directory.ipynb", "directory.ipynb is a directory. Name a notebook in it"),
        ("notebook.txt", "not end in"),
    ]:
        with pytest.raises(NotebookReadError, match=told):
            face.resume(tmp_path / name)


@BOTH
@pytest.mark.parametrize("until", [-1, 2])
def test_a_fork_of_more_cells_than_the_notebook_has_is_rejected(face: Any, tmp_path: Path, until: int) -> None:
    (tmp_path / "session.ipynb").write_text(json.dumps({**EMPTY, "cells": [new_markdown_cell("one")]}))
    with pytest.raises(ValueError, match="from 0 to 1"):
        face.resume(tmp_path / "session.ipynb", until=until)


@BOTH
def test_the_default_kernel_is_the_notebooks_own(face: Any, tmp_path: Path) -> None:
    path = tmp_path / "session.ipynb"
    spec = {"kernelspec": {"name": "nokernel", "display_name": "None"}}
    path.write_text(json.dumps({**EMPTY, "metadata": spec}))
    with pytest.raises(ValueError, match="Kernel nokernel is not installed"):
        face.resume(path)
    assert face.resume(path, kernel_name="python3").notebook == path


# Processes that were killed


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Start processes that record, each in a given directory."""
    with contextlib.ExitStack() as stack:

        def start(directory: Path, *codes: str, info: JupyterConnectionInfo | None = None) -> Recorder:
            (tmp_path / "info").write_bytes(pickle.dumps(info))
            command = [sys.executable, "-c", RECORDER, str(tmp_path / "info"), str(directory), *codes]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return Recorder(process)

        yield start


RECORDER = """
import pickle, signal, sys
from nbtape import CodeBlock, JupyterCodeExecutor
_, info, directory, *codes = sys.argv
show = lambda output: print(output.get("text", ""), end="", flush=True)
info = pickle.load(open(info, "rb"))
executor = JupyterCodeExecutor(info, output_dir=directory, timeout=100, on_output=show)
for code in codes:
    executor.execute_code_blocks([CodeBlock(code, "python")])
print("recorded", flush=True)
signal.pause()
"""


class Recorder:
    """A process that records."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout
        self._stdout: IO[str] = process.stdout

    def wait_for(self, word: str) -> None:
        """Return when it has printed a line; the timeout of the test is the deadline."""
        while (line := self._stdout.readline()) != f"{word}\n":
            assert line, "the process ended"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def test_a_killed_recording_can_be_resumed(output_dir: Path, recorder: Callable[..., Recorder]) -> None:
    process = recorder(output_dir, "x = 5", FOREVER)
    process.wait_for("begun")
    path = output_dir / "session.ipynb"
    assert eventually(lambda: stream_text(code_cells(path)[-1]) == "begun\n")
    process.kill()
    with JupyterCodeExecutor.resume(path) as executor:
        assert [(cell.recorded, cell.status) for cell in resumed(executor).cells] == [("ok", "ok"), ("running", None)]
        assert run(executor, "print(x)").output == "5\n"
    _, cut, _ = code_cells(path)
    assert cut["metadata"]["nbtape"]["status"] == "interrupted"
    assert "cut off here" in cut["metadata"]["nbtape"]["note"]
    assert cut["metadata"]["tags"] == ["raises-exception"]
    assert stream_text(cut) == "begun\n"
    assert stream_text(cut, "stderr") == "\n[nbtape: the recording was cut off here]\n"


def test_a_notebook_cannot_be_resumed_while_another_process_writes_it(
    output_dir: Path, recorder: Callable[..., Recorder]
) -> None:
    process = recorder(output_dir, "x = 5")
    process.wait_for("recorded")
    path = output_dir / "session.ipynb"
    before = path.read_bytes()
    executor = JupyterCodeExecutor.resume(path)
    with pytest.raises(NotebookInUseError, match="still being written"):
        executor.start()
    assert path.read_bytes() == before
    with JupyterCodeExecutor.resume(path, until=1) as fork:
        assert run(fork, "print(x)").output == "5\n"
    process.kill()
    with executor:
        assert run(executor, "print(x)").output == "5\n"


# Two writers in one process, and a user


def test_a_stopped_executor_releases_its_notebook(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as first:
        run(first, "x = 1")
        with pytest.raises(NotebookInUseError):
            JupyterCodeExecutor.resume(first.notebook).start()
    with JupyterCodeExecutor.resume(first.notebook) as second:
        run(second, "y = 2")
        before = first.notebook.read_bytes()
        with pytest.raises(NotebookWriteError, match="another executor is recording into it"):
            run(first, "z = 3")
        assert first.notebook.read_bytes() == before
        with pytest.raises(NotebookWriteError):
            first.stop()
        assert run(second, "print(x + y)").output == "3\n"


def test_changes_saved_by_a_user_before_the_first_block_are_kept(output_dir: Path) -> None:
    path = record(output_dir, "x = 1")
    with JupyterCodeExecutor.resume(path) as executor:
        edit(path, lambda notebook: notebook["cells"].append(new_markdown_cell("mine")))
        assert run(executor, "print(x)").output == "1\n"
    assert [cell["source"] for cell in read_notebook(path)["cells"]] == ["x = 1", "mine", "print(x)"]


def test_changes_saved_by_a_user_while_cells_run_again_are_kept(output_dir: Path) -> None:
    path = record(output_dir, "x = 1")

    def save(_: str) -> None:
        edit(path, lambda notebook: notebook["cells"].append(new_markdown_cell("mine")))

    with JupyterCodeExecutor.resume(path, on_progress=save) as executor:
        assert run(executor, "print(x)").output == "1\n"
    sources = [cell["source"] for cell in read_notebook(path)["cells"]]
    assert sources[0] == "x = 1"
    assert set(sources[1:-1]) == {"mine"}
    assert sources[-1] == "print(x)"


def test_a_notebook_marked_read_only_is_not_resumed(output_dir: Path) -> None:
    path = record(output_dir, "x = 1")
    path.chmod(0o444)
    with pytest.raises(NotebookWriteError, match="chmod u\\+w"):
        JupyterCodeExecutor.resume(path).start()
    with JupyterCodeExecutor.resume(path, until=1) as fork:
        assert run(fork, "print(x)").output == "1\n"


def test_a_link_to_a_notebook_is_rejected_because_code_may_have_created_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path = record(tmp_path / "there", "x = 1")
    before = path.read_bytes()
    link = tmp_path / "link.ipynb"
    link.symlink_to(path)
    with pytest.raises(NotebookReadError, match="is a link, not a regular file: name the file it leads to"):
        JupyterCodeExecutor.resume(link)
    assert link.is_symlink()
    assert path.read_bytes() == before


# Notebooks that a user has edited


def test_changes_by_a_user_are_kept_and_used(output_dir: Path) -> None:
    path = record(output_dir, "a = 1", "b = broken", "gone = True", "d = 4", "%%bash\necho shell > made")

    def work(notebook: Any) -> None:
        first, failed, _, fourth, shell = notebook["cells"]
        first["source"] = "a = 10"
        failed["source"] = "b = 2"
        failed["outputs"], failed["execution_count"] = [], 9
        mine = new_code_cell("c = a + b", execution_count=10, metadata={"mine": {"deep": [1]}, "tags": ["kept"]})
        failing = new_code_cell("1/0", execution_count=11)
        failing["outputs"] = [new_output("error", ename="E", evalue="", traceback=[])]
        never = new_code_cell("never = True")
        picture = new_markdown_cell("![x](attachment:x.svg)", attachments={"x.svg": {"image/svg+xml": "<svg>\n</svg>"}})
        notebook["cells"] = [picture, shell, first, failed, mine, failing, never, new_raw_cell("raw"), fourth]
        notebook["metadata"]["title"] = "Mine"

    edit(path, work)
    (output_dir / "made").unlink()
    before, theirs = encoded_cells(path), read_notebook(path)
    with JupyterCodeExecutor.resume(path) as executor:
        report = resumed(executor)
        assert [cell.index for cell in report.cells] == [1, 2, 3, 4, 5, 6, 8]
        assert [cell.recorded for cell in report.cells] == ["ok", "ok", "ok", "ok", "error", "not_run", "ok"]
        assert [cell.status for cell in report.cells] == ["ok", "ok", "ok", "ok", None, None, "ok"]
        assert run(executor, "print(a, b, c, d, 'gone' in globals())").output == "10 2 12 4 False\n"
    assert (output_dir / "made").read_text() == "shell\n"
    assert encoded_cells(path)[:9] == before
    ours = read_notebook(path)
    assert ours["cells"][:9] == theirs["cells"]
    assert ours["metadata"]["title"] == "Mine"
    assert path.read_text() == nbformat.writes(ours) + "\n"


def test_a_notebook_that_nbclient_ran_can_be_resumed(output_dir: Path) -> None:
    path = output_dir / "plain.ipynb"
    sources = ["import os\nx = 40", "x + 2", "print('never')"]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook["cells"][2]["metadata"]["tags"] = ["skip-execution"]
    NotebookClient(notebook).execute()
    nbformat.write(notebook, path)
    before = encoded_cells(path)
    with JupyterCodeExecutor.resume(path) as executor:
        assert [cell.status for cell in resumed(executor).cells] == ["ok", "ok", None]
        assert run(executor, "print(x)").output == "40\n"
        assert executor.kernel_epoch == 1
    assert encoded_cells(path)[:3] == before
    ours = read_notebook(path)["metadata"]["nbtape"]
    assert {"version", "recorded_by", "started", "directory", "resumed"} <= ours.keys()


@pytest.mark.parametrize("minor", range(5))
def test_an_older_notebook_is_upgraded(output_dir: Path, minor: int) -> None:
    path = output_dir / "old.ipynb"
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "outputs": [],
        "source": ["x = 1"],
    }
    words = {"cell_type": "markdown", "metadata": {"mine": 1}, "source": ["a\n", "b"]}
    path.write_text(json.dumps({**EMPTY, "nbformat_minor": minor, "cells": [cell, words, cell]}))
    with JupyterCodeExecutor.resume(path) as executor:
        assert run(executor, "print(x)").output == "1\n"
    ours = read_notebook(path)
    assert (ours["nbformat"], ours["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in ours["cells"]}) == 4
    assert ours["cells"][1]["source"] == "a\nb"
    assert "orig_nbformat_minor" not in ours["metadata"]


# What is run again


def test_cells_of_an_earlier_kernel_are_not_run_again(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "x = 1")
        executor.restart()
        run(executor, "y = 2")
    with JupyterCodeExecutor.resume(executor.notebook) as executor:
        first, second = resumed(executor).cells
        assert (first.status, first.differs, second.status) == (None, False, "ok")
        assert "earlier kernel" in first.reason
        assert run(executor, "print('x' in globals(), y)").output == "False 2\n"


def test_running_cells_again_leaves_only_the_files_they_write(output_dir: Path) -> None:
    path = record(output_dir, SHOW_IMAGE, "open('made', 'a').write('x')\nprint('y' * 10_000)")
    before = encoded_cells(path)
    heard: list[Any] = []
    with JupyterCodeExecutor.resume(path, on_output=heard.append) as executor:
        assert heard == []
        result = run(executor, "print('next')")
        assert (result.output, result.output_files) == ("next\n", [])
    assert encoded_cells(path)[:2] == before
    assert {file.name for file in output_dir.iterdir()} == {"session.ipynb", "session_1_0.png", "made"}
    assert (output_dir / "made").read_text() == "xx"


def test_a_cell_has_the_timeout_that_it_was_recorded_with(output_dir: Path) -> None:
    path = record(output_dir, "import time\ntime.sleep(1.5)")
    with JupyterCodeExecutor.resume(path, timeout=1) as executor:
        assert [cell.status for cell in resumed(executor).cells] == ["ok"]


@pytest.mark.parametrize(
    ("cell", "notebook"),
    [
        ("nbtape", ["nbtape"]),
        ({"status": ["ok"], "kernel_epoch": True, "timeout": "long"}, {"resumed": {}, "kernel_id": {}}),
        ({"status": "fine", "kernel_epoch": 10**30, "timeout": 10**400}, {"resumed": [7, {"restored_epochs": 7}]}),
        (
            {"status": "ok", "kernel_epoch": -1, "timeout": -1},
            {"resumed": [{"kernel_epoch": [], "restored_epochs": [[]]}]},
        ),
    ],
)
def test_a_notebook_with_any_metadata_can_be_resumed(output_dir: Path, cell: Any, notebook: Any) -> None:
    path = output_dir / "odd.ipynb"
    odd = new_code_cell("x = 1", execution_count=1, metadata={"nbtape": cell})
    nbformat.write(new_notebook(cells=[odd], metadata={"nbtape": notebook}), path)
    for until in (None, 1):
        with JupyterCodeExecutor.resume(path, until=until) as executor:
            assert run(executor, "print(x)").output == "1\n"


def test_progress_is_reported_for_each_cell(output_dir: Path) -> None:
    path = record(output_dir, "x = 1\ny = 2", "1/0", "z = 3")
    told: list[str] = []
    with JupyterCodeExecutor.resume(path, on_progress=told.append) as executor:
        assert told == ["[1/3] x = 1", "[3/3] z = 3"]
        assert str(executor.resumption) == "Resumed: reran 2 of 3 blocks."


def test_a_fork_before_any_code_reports_that_there_is_nothing_to_rerun() -> None:
    assert str(Resumption([])) == "Resumed: there are no code cells to rerun."
    assert str(Resumption([ResumedCell(0, "a", "ok", "ok")])) == "Resumed: reran 1 of 1 block."


def test_an_interrupt_stops_the_resumption_and_is_reported(output_dir: Path) -> None:
    waits = "import os, time\nif os.path.exists('again'):\n    time.sleep(60)\nopen('again', 'w').close()"
    path = record(output_dir, "x = 1", waits, "y = 2")
    told: list[str] = []
    executor = JupyterCodeExecutor.resume(path, on_progress=told.append)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(executor.start)
        assert eventually(lambda: len(told) == 2)
        executor.interrupt()
        starting.result(30)
    assert [cell.status for cell in resumed(executor).cells] == ["ok", "interrupted", None]
    assert [cell.differs for cell in resumed(executor).cells] == [False, True, True]
    assert run(executor, "print(x, 'y' in globals())").output.endswith("\n1 False\n")
    executor.stop()


async def test_a_cancelled_start_leaves_no_kernel_and_can_be_repeated(output_dir: Path) -> None:
    waits = "import os, time\nif os.path.exists('once'):\n    time.sleep(60)\nopen('once', 'w').close()"
    path = await asyncio.to_thread(record, output_dir, "x = 1", waits)
    before, processes = path.read_bytes(), descendants()
    begun = asyncio.Event()
    executor = AsyncJupyterCodeExecutor.resume(path, on_progress=lambda line: begun.set() if "[2" in line else None)
    starting = asyncio.ensure_future(executor.start())
    await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert executor.resumption is None
    assert eventually(lambda: descendants() == processes)
    assert json.loads(before)["cells"] == json.loads(path.read_bytes())["cells"]
    (output_dir / "once").unlink()
    async with executor:
        assert (await executor.execute_code_blocks(blocks("print(x)"))).output == "1\n"


async def test_the_first_use_of_an_async_executor_resumes_the_notebook(output_dir: Path) -> None:
    path = await asyncio.to_thread(record, output_dir, "x = 1")
    executor = AsyncJupyterCodeExecutor.resume(path)
    try:
        assert (await executor.execute_code_blocks(blocks("print(x)"))).output == "1\n"
        assert executor.resumption is not None
    finally:
        await executor.stop()


def test_a_fork_that_gets_no_kernel_leaves_no_notebook(output_dir: Path) -> None:
    path = record(output_dir, "x = 1")
    with pytest.raises(ServerError, match="cannot be reached"):
        JupyterCodeExecutor.resume(path, "http://127.0.0.1:1/", until=1).start()
    assert [file.name for file in output_dir.iterdir()] == ["session.ipynb"]


def test_a_fork_of_a_fork_keeps_its_state(output_dir: Path) -> None:
    path = record(output_dir, "x = 1", "x = 2")
    with JupyterCodeExecutor.resume(path, until=1) as fork:
        run(fork, "y = x + 10")
    with JupyterCodeExecutor.resume(fork.notebook, until=2) as again:
        assert again.notebook.name == "session-fork-fork.ipynb"
        assert run(again, "print(x, y)").output == "1 11\n"


def test_every_key_that_a_resumption_writes_is_documented(output_dir: Path) -> None:
    documented = set(re.findall(r"^ {4,6}([a-z_0-9]+)  ", nbtape.notebook.document.__doc__ or "", re.MULTILINE))
    path = record(output_dir, "x = 1")
    with JupyterCodeExecutor.resume(path, until=1) as fork:
        ours = read_notebook(fork.notebook)["metadata"]["nbtape"]
    assert {*ours, *ours["origin"], *ours["resumed"][0]} <= documented


# Kernels on servers, which outlive the process that started them


class _Attaching:
    """What holds on servers."""

    @pytest.fixture
    def info(self) -> JupyterConnectionInfo:
        raise NotImplementedError

    @pytest.fixture
    def path(self, output_dir: Path) -> Path:
        return output_dir / "session.ipynb"

    @pytest.fixture(autouse=True)
    def no_kernel_is_left(self, info: JupyterConnectionInfo) -> Iterator[None]:
        before = kernels_of(info)
        yield
        assert eventually(lambda: kernels_of(info) <= before)

    def test_a_kernel_that_is_still_alive_is_reused(
        self, info: JupyterConnectionInfo, path: Path, recorder: Callable[..., Recorder]
    ) -> None:
        process = recorder(path.parent, "x = object()\nprint(id(x), flush=True)", info=info)
        process.wait_for("recorded")
        process.kill()
        told: list[str] = []
        with JupyterCodeExecutor.resume(path, info, on_progress=told.append) as executor:
            report = resumed(executor)
            assert (report.attached, report.note, told) == (True, "", [])
            assert [cell.status for cell in report.cells] == [None]
            assert run(executor, "print(id(x), flush=True)").output == stream_text(code_cells(path)[0])
            assert executor.kernel_epoch == 1
            executor.restart()
            assert executor.kernel_epoch == 2
        (entry,) = read_notebook(path)["metadata"]["nbtape"]["resumed"]
        assert (entry["attached"], entry["kernel_epoch"]) == (True, 1)

    def test_a_block_that_still_runs_there_is_interrupted_and_reported(
        self, info: JupyterConnectionInfo, path: Path, recorder: Callable[..., Recorder]
    ) -> None:
        process = recorder(path.parent, "x = 5", FOREVER, info=info)
        process.wait_for("begun")
        process.kill()
        with JupyterCodeExecutor.resume(path, info) as executor:
            report = resumed(executor)
            assert report.attached
            assert report.note == "A block was still running and was interrupted."
            assert run(executor, "print(x)").output.endswith("\n5\n")
        cut = code_cells(path)[1]["metadata"]["nbtape"]
        assert cut["status"] == "interrupted"
        assert cut["note"].endswith(report.note)

    def test_a_missing_kernel_is_replaced_and_cells_run_again(
        self, info: JupyterConnectionInfo, path: Path, recorder: Callable[..., Recorder]
    ) -> None:
        process = recorder(path.parent, "x = 5", info=info)
        process.wait_for("recorded")
        process.kill()
        ask(info, f"kernels/{kernel_id_in(path)}", "DELETE")
        with JupyterCodeExecutor.resume(path, info) as executor:
            assert not resumed(executor).attached
            assert run(executor, "print(x)").output == "5\n"
            assert kernel_id_in(path) in kernels_of(info)

    def test_a_kernel_in_use_is_left_alone(self, info: JupyterConnectionInfo, path: Path) -> None:
        with JupyterCodeExecutor(info, output_dir=path.parent) as owner:
            run(owner, "x = 5")
            shutil.copy(path, path.with_name("copy.ipynb"))
            with JupyterCodeExecutor.resume(path.with_name("copy.ipynb"), info) as executor:
                assert not resumed(executor).attached
                assert run(executor, "x += 1\nprint(x)").output == "6\n"
            assert run(owner, "print(x)").output == "5\n"
            with JupyterCodeExecutor.resume(path, info, until=1) as fork:
                assert not resumed(fork).attached


class TestAttachingToOurServer(_Attaching):
    @pytest.fixture
    def info(self, gateway: LocalJupyterServer) -> JupyterConnectionInfo:
        return gateway.connection_info

    def test_a_kernel_that_ignores_interrupts_is_killed_and_replaced(
        self, info: JupyterConnectionInfo, path: Path, recorder: Callable[..., Recorder]
    ) -> None:
        stubborn = (
            "print('begun', flush=True)\nimport time\nwhile True:\n    try:\n        time.sleep(60)\n"
            "    except KeyboardInterrupt:\n        pass"
        )
        process = recorder(path.parent, "x = 5", stubborn, info=info)
        process.wait_for("begun")
        process.kill()
        old = kernel_id_in(path)
        with JupyterCodeExecutor.resume(path, info, interrupt_grace=1, startup_timeout=8) as executor:
            assert not resumed(executor).attached
            assert run(executor, "print(x)").output == "5\n"
            assert eventually(lambda: old not in kernels_of(info))

    @pytest.mark.parametrize("kernel_id", ["../kernelspecs", "", 7, "é", "a" * 32])
    def test_an_invalid_kernel_id_is_not_requested(
        self, info: JupyterConnectionInfo, path: Path, kernel_id: object
    ) -> None:
        record(path.parent, "x = 5", source=info)
        edit(path, lambda notebook: notebook["metadata"]["nbtape"].update(kernel_id=kernel_id))
        with JupyterCodeExecutor.resume(path, info) as executor:
            assert run(executor, "print(x)").output == "5\n"

    def test_a_notebook_has_the_kernels_id_and_its_server_and_never_the_token(
        self, info: JupyterConnectionInfo, path: Path
    ) -> None:
        with JupyterCodeExecutor(info, output_dir=path.parent) as executor:
            assert kernel_id_in(path) in kernels_of(info)
            run(executor, "x = 1")
            executor.restart()
            run(executor, "y = 1")
            assert kernel_id_in(path) in kernels_of(info)
            assert read_notebook(path)["metadata"]["nbtape"]["kernel_epoch"] == 2
        assert str(info.token) not in path.read_text()
        assert read_notebook(path)["metadata"]["nbtape"]["server"] == info.url
        with JupyterCodeExecutor.resume(path) as here:
            assert run(here, "print(y)").output == "1\n"
        assert not {"kernel_id", "kernel_epoch", "server"} & read_notebook(path)["metadata"]["nbtape"].keys()


class TestAttachingToAFarServer(_Attaching):
    @pytest.fixture
    def info(self, far_server: JupyterConnectionInfo) -> JupyterConnectionInfo:
        return far_server
