"""A session of another process is followed through its notebook file."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.common.untrusted_files import Directory
from nbtape.errors import NotebookReadError
from nbtape.notebook import lock
from nbtape.notebook.journal import read_journal
from nbtape.notebook.lock import WriterLock, is_locked
from nbtape.watch.events import CellBegun, CellEnded, EventTracker, OutputShown, StreamGrown
from nbtape.watch.follow import Session, Writer, await_session, newest_notebook
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape.watch.events import Event


def block(code: str) -> list[CodeBlock]:
    return [CodeBlock(code, "python")]


class Follower:
    """Follows a notebook in a thread."""

    def __init__(self, path: Path) -> None:
        self.session = Session(path)
        self.events: list[Event] = []
        self.seen = threading.Condition()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        tracker = EventTracker()
        try:
            for snapshot in self.session.follow():
                with self.seen:
                    self.events += tracker.events(snapshot) if snapshot else []
                    self.seen.notify_all()
        except NotebookReadError as exc:
            self.error = exc

    def await_(self, holds: Callable[[list[Event]], object]) -> None:
        with self.seen:
            assert self.seen.wait_for(lambda: holds(self.events), 20), self.events

    def end(self) -> list[Event]:
        self._thread.join(20)
        assert not self._thread.is_alive(), self.events
        return self.events


def told(events: list[Event]) -> list[str]:
    """The events in short form, with stream growth joined."""
    lines: list[str] = []
    for event in events:
        match event:
            case CellBegun(index, kind, source):
                lines.append(f"{index} {kind} {source}")
            case StreamGrown(index, position, text) if lines and lines[-1].startswith(f"{index}.{position} "):
                lines[-1] += text
            case StreamGrown(index, position, text):
                lines.append(f"{index}.{position} {text}")
            case OutputShown(index, position, output):
                lines.append(f"{index}.{position} {output['output_type']}")
            case CellEnded(about):
                lines.append(f"{about.index} {about.status}")
    return lines


def printed(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, StreamGrown))


def test_a_session_is_followed_while_it_runs_until_it_ends(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        follower = Follower(executor.notebook)
        executor.add_markdown("Now *this*.")
        gate = tmp_path / "gate"
        code = f"import os, time\nprint('one', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(.01)\n"
        runner = threading.Thread(
            target=executor.execute_code_blocks, args=([CodeBlock(code + "print('two')\n40 + 2", "python")],)
        )
        runner.start()
        follower.await_(lambda events: "one\n" in printed(events))
        assert not any(isinstance(event, CellEnded) for event in follower.events)
        gate.touch()
        runner.join()
        executor.execute_code_blocks(block("1 / 0"))
        follower.await_(lambda events: told(events)[-1:] == ["2 error"])
        assert follower.session.ending is None
    assert told(follower.end()) == [
        "0 markdown Now *this*.",
        f"1 code {code}print('two')\n40 + 2",
        "1.0 one\ntwo\n",
        "1.1 execute_result",
        "1 ok",
        "2 code 1 / 0",
        "2.0 error",
        "2 error",
    ]
    assert follower.session.ending == "ended"


def test_following_stops_when_the_session_is_killed(tmp_path: Path) -> None:
    code = (
        "from nbtape import *\nexecutor = JupyterCodeExecutor(output_dir='.')\n"
        "executor.execute_code_blocks([CodeBlock('import time\\nprint(1, flush=True)\\ntime.sleep(100)', 'python')])"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as process:
        path = next(each for each in await_session(tmp_path) if each)
        follower = Follower(path)
        follower.await_(lambda events: printed(events) == "1\n")
        process.send_signal(signal.SIGKILL)
    assert told(follower.end())[-1] == "0.0 1\n"
    assert follower.session.ending == "ended"


def test_a_progress_bar_rewrites_its_line(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        follower = Follower(executor.notebook)
        code = "import time\nprint('start')\nfor n in range(5):\n    print(f'\\r{n}0%', end='', flush=True)\n"
        executor.execute_code_blocks(block(code + "    time.sleep(.3)\nprint()"))
    events = follower.end()
    chunks = [event.text for event in events if isinstance(event, StreamGrown)]
    assert any(chunk.startswith("\r") and chunk.endswith("0%") for chunk in chunks), chunks
    shown = ""
    for chunk in chunks:
        shown = shown[: shown.rfind("\n") + 1] + chunk[1:] if chunk.startswith("\r") else shown + chunk
    assert shown == "start\n40%\n"


def test_changes_in_the_journal_are_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbtape.notebook.autosave.MAX_SAVE_SHARE", 0.001)
    monkeypatch.setattr("nbtape.notebook.autosave.SAVE_CREDIT_SECONDS", 0.0)
    with JupyterCodeExecutor(output_dir=tmp_path, timeout=100) as executor:
        executor.execute_code_blocks(block("print('x' * 3_000_000)"))
        follower = Follower(executor.notebook)
        kept = set()
        for number in range(40):
            executor.execute_code_blocks(block(f"print({number})"))
            kept.add(len(read_journal(executor.notebook)) > 0)
        assert True in kept
        follower.await_(lambda events: told(events)[-1:] == ["40 ok"])
    lines = told(follower.end())
    assert [line for line in lines if " code " in line] == [
        "0 code print('x' * 3_000_000)",
        *(f"{number + 1} code print({number})" for number in range(40)),
    ]
    assert [line for line in lines if line.endswith(" ok")] == [f"{number} ok" for number in range(41)]


def test_a_notebook_that_is_not_being_recorded_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "old.ipynb"
    cells = [new_code_cell("x", execution_count=1, outputs=[new_output("stream", text="1\n")]), new_code_cell("y")]
    nbformat.write(new_notebook(cells=cells), path)
    session = Session(path)
    tracker = EventTracker()
    events = [event for snapshot in session.follow() if snapshot for event in tracker.events(snapshot)]
    assert told(events) == ["0 code x", "0.0 1\n", "0 ok", "1 code y", "1 not_run"]
    assert session.ending == "not written"


def test_saves_by_another_program_lose_no_events(tmp_path: Path) -> None:
    """JupyterLab without atomic writes, an editor that moves files, a careless script: following continues."""
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        path = executor.notebook
        executor.execute_code_blocks(block("print('first')"))
        follower = Follower(path)
        follower.await_(lambda events: told(events)[-1:] == ["0 ok"])
        content = path.read_bytes()
        for half in (content[: len(content) // 2], b"", content):
            path.write_bytes(half)
            time.sleep(0.15)
        (draft := tmp_path / "draft").write_text(json.dumps(json.loads(content)))
        draft.replace(path)
        time.sleep(0.3)
        path.rename(tmp_path / "away.ipynb")
        time.sleep(3)
        assert follower.session.ending is None, "its writer lives"
        executor.execute_code_blocks(block("print('second')"))
        follower.await_(lambda events: told(events)[-1:] == ["1 ok"])
    assert told(follower.end()) == [
        "0 code print('first')",
        "0.0 first\n",
        "0 ok",
        "1 code print('second')",
        "1.0 second\n",
        "1 ok",
    ]
    assert follower.session.ending == "ended"


def test_following_stops_when_notebook_and_writer_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "old.ipynb"
    nbformat.write(new_notebook(), path)
    looks = Session(path)
    for _ in looks.follow():
        path.unlink(missing_ok=True)
    assert looks.ending in {"gone", "not written"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"nbformat": 3}', '{\n "cells": [\n  {\n x\n  }\n ],\n "nbformat": 4}']
)
def test_a_notebook_that_stays_broken_is_reported(content: str, tmp_path: Path) -> None:
    (path := tmp_path / "broken.ipynb").write_text(content)
    follower = Follower(path)
    follower.end()
    assert isinstance(follower.error, NotebookReadError)


def test_checking_for_a_writer_does_not_block_the_lock(tmp_path: Path) -> None:
    (path := tmp_path / "x.ipynb").write_text("{}")
    done = threading.Event()

    def look() -> None:
        writer = Writer(path)
        while not done.is_set():
            writer.lives()

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(2000):
            lock = WriterLock.take(Directory(tmp_path), path.name)
            assert lock is not None
            lock.release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_without_file_locks_a_session_never_counts_as_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat.write(new_notebook(), path := tmp_path / "x.ipynb")
    with path.open("rb") as file:
        assert is_locked(file.fileno()) is False
        monkeypatch.setattr(lock, "fcntl", None)  # As on Windows.
        assert is_locked(file.fileno()) is None
        assert WriterLock.take(Directory(tmp_path), path.name) is None
    session = Session(path)
    looks = session.follow()
    assert next(looks) is not None
    assert [next(looks) for _ in range(3)] == [None] * 3
    assert session.lives is None


def test_a_drive_with_read_locks_only_does_not_show_if_the_writer_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, a file that is open for reading cannot be locked for writing."""
    flock = fcntl.flock

    def refuse(file: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            raise OSError(9, os.strerror(9))
        flock(file, operation)

    (path := tmp_path / "x.ipynb").write_text("{}")
    assert Writer(path).lives() is False
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Writer(path).lives() is None


def test_each_poll_parses_only_changed_cells(tmp_path: Path) -> None:
    cells = [new_code_cell(f"x{number}", id=f"c{number}") for number in range(50)]
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "x.ipynb")
    reader = SnapshotReader(path)
    first = reader.read()
    assert first is not None
    assert list(first.changed) == list(range(50))
    assert reader.read() is None
    cells[7]["outputs"] = [new_output("stream", text="more")]
    cells.insert(3, new_code_cell("new"))
    nbformat.write(new_notebook(cells=cells), path)
    second = reader.read()
    assert second is not None
    assert list(second.changed) == [3, 8]
    assert second.cells[9].outline is first.cells[8].outline


LAYOUTS: dict[str, Callable[[Any], str]] = {
    "nbformat's": nbformat.writes,
    "on one line": json.dumps,
    "wider": lambda node: json.dumps(node, indent=4),
    "unsorted": lambda node: json.dumps({"metadata": {}, "nbformat": 4, "nbformat_minor": 5, "cells": node["cells"]}),
    "with line ends of Windows": lambda node: str(nbformat.writes(node)).replace("\n", "\r\n"),
    "with a mark of byte order": lambda node: "\ufeff" + str(nbformat.writes(node)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_layout_is_read(layout: str, count: int, tmp_path: Path) -> None:
    source = '{\n "cells": [\n  {\n  },\n  {\n  }\n ]'
    metadata = {"x": [[{}], [{"cells": [{}, {}]}]]}
    node = new_notebook(cells=[new_code_cell(source, metadata=metadata) for _ in range(count)])
    (path := tmp_path / "x.ipynb").write_text(LAYOUTS[layout](node))
    snapshot = SnapshotReader(path).read()
    assert snapshot is not None
    assert [cell.outline["source"] for cell in snapshot.cells] == [source] * count
    assert [cell.load()["metadata"] for cell in snapshot.cells] == [metadata] * count


def test_a_directory_means_the_notebook_being_recorded_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no notebook"):
        newest_notebook(tmp_path)
    nbformat.write(new_notebook(), tmp_path / "old.ipynb")
    assert newest_notebook(tmp_path).name == "old.ipynb"
    waiting: Iterator[Path | None] = await_session(tmp_path)
    assert next(waiting) is None
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.execute_code_blocks(block("1"))
        shutil.copy(tmp_path / "old.ipynb", tmp_path / "newer.ipynb")
        assert newest_notebook(tmp_path) == executor.notebook
        assert next(waiting) == executor.notebook
    assert newest_notebook(tmp_path).name in {"newer.ipynb", executor.notebook.name}


def test_the_newest_notebook_is_not_a_replay_or_an_export_of_another(tmp_path: Path) -> None:
    cells = [new_code_cell("1")]
    made = {"version": 1, "derived_from": "first.ipynb"}
    for age, name in enumerate(("first-replayed", "first", "older")):
        metadata = {"nbtape": made} if name == "first-replayed" else {}
        nbformat.write(new_notebook(cells=cells, metadata=metadata), path := tmp_path / f"{name}.ipynb")
        os.utime(path, (path.stat().st_mtime, path.stat().st_mtime - age))
    assert newest_notebook(tmp_path).name == "first.ipynb"
    (tmp_path / "first.ipynb").unlink()
    assert newest_notebook(tmp_path).name == "first-replayed.ipynb"
