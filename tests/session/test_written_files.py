"""Files that a block wrote or changed are listed with size and hash; nbtape's own files are not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape import CodeBlock, CodeResult, JupyterCodeExecutor
from nbtape.session import written_files
from nbtape.session.written_files import WorkingDirectory, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = "from IPython.display import display\ndisplay({'image/png': 'AAAA', 'text/html': '<b>x</b>'}, raw=True)\n"


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[JupyterCodeExecutor]:
    directory = tmp_path / "coding"
    directory.mkdir()
    (directory / "data.csv").write_text("a,b\n1,2\n")
    with JupyterCodeExecutor(output_dir=directory) as executor:
        yield executor


def run(executor: JupyterCodeExecutor, code: str, language: str = "python") -> CodeResult:
    return executor.execute_code_blocks([CodeBlock(code, language)])


def files(executor: JupyterCodeExecutor, index: int = -1) -> list[dict[str, Any]]:
    """Return the files of a cell as the notebook on disk lists them."""
    notebook = nbformat.read(executor.notebook, 4)
    nbformat.validate(notebook)
    recorded: list[dict[str, Any]] = notebook["cells"][index]["metadata"]["nbtape"].get("files", [])
    return recorded


def names(result: CodeResult, directory: Path) -> list[str]:
    return [Path(path).relative_to(directory).as_posix() for path in result.output_files]


def described(path: Path, root: Path) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path.relative_to(root).as_posix(), "size": len(content), "sha256": digest}


# In a session


def test_files_that_a_block_wrote_are_listed_after_the_extracted_ones_with_size_and_hash(
    executor: JupyterCodeExecutor,
) -> None:
    root = executor.notebook.parent
    result = run(executor, PICTURE + "open('b.csv', 'w').write('1\\n')\nopen('a.bin', 'wb').write(bytes(1000))")
    assert names(result, root) == ["session_1_0.png", "a.bin", "b.csv"]
    assert files(executor) == [described(root / "a.bin", root), described(root / "b.csv", root)]


def test_a_file_that_a_block_changed_is_listed_and_one_that_it_read_is_not(executor: JupyterCodeExecutor) -> None:
    root = executor.notebook.parent
    assert run(executor, "text = open('data.csv').read()").output_files == []
    assert files(executor) == []
    assert names(run(executor, "open('data.csv', 'a').write('3,4\\n')"), root) == ["data.csv"]
    assert files(executor) == [described(root / "data.csv", root)]
    assert run(executor, "print(text)").output_files == []


def test_a_file_that_is_replaced_by_one_of_the_same_size_is_listed(executor: JupyterCodeExecutor) -> None:
    code = (
        "import os\nopen('new', 'w').write('a,b\\n9,9\\n')\nos.utime('new', ns=(0, os.stat('data.csv').st_mtime_ns))\n"
    )
    result = run(executor, code + "os.replace('new', 'data.csv')")
    assert names(result, executor.notebook.parent) == ["data.csv"]


def test_files_in_subdirectories_are_listed_by_their_path(executor: JupyterCodeExecutor) -> None:
    root = executor.notebook.parent
    result = run(executor, "mkdir -p plots/deep && echo x > plots/deep/é.txt && touch plots/empty", "bash")
    assert names(result, root) == ["plots/deep/é.txt", "plots/empty"]
    assert files(executor) == [described(root / "plots/deep/é.txt", root), described(root / "plots/empty", root)]


def test_files_of_a_block_that_failed_are_listed_too(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "open('partial.csv', 'w').write('x')\n1/0")
    assert result.status == "error"
    assert names(result, executor.notebook.parent) == ["partial.csv"]


def test_deleted_files_and_caches_are_not_listed(executor: JupyterCodeExecutor) -> None:
    code = (
        "import os\nos.remove('data.csv')\nopen('short-lived', 'w').close()\nos.remove('short-lived')\n"
        "for tool in ('__pycache__', '.ipynb_checkpoints', '.git'):\n"
        "    os.mkdir(tool)\n    open(f'{tool}/x', 'w').close()\n"
    )
    assert run(executor, code).output_files == []


def test_virtual_environments_are_skipped_unless_the_working_directory_is_inside_one(tmp_path: Path) -> None:
    (tmp_path / "env" / "lib").mkdir(parents=True)
    outside, inside = WorkingDirectory(tmp_path), WorkingDirectory(tmp_path / "env")
    for name in ("env/pyvenv.cfg", "env/lib/module.py", "result.csv"):
        (tmp_path / name).touch()
    assert outside.changes().paths == [tmp_path / "result.csv"]
    assert inside.changes().paths == [tmp_path / "env/lib/module.py", tmp_path / "env/pyvenv.cfg"]


def test_links_pipes_and_sockets_are_harmless(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("precious")
    code = (
        "import os, socket\n"
        "os.symlink('../outside', 'directory')\nos.symlink('../outside/secret', 'file')\nos.symlink('.', 'loop')\n"
        "os.symlink('nowhere', 'dangling')\nos.mkfifo('pipe')\nsocket.socket(socket.AF_UNIX).bind('socket')\n"
        "open('real', 'w').close()\n"
    )
    result = run(executor, code)
    assert result.status == "ok"
    assert names(result, executor.notebook.parent) == ["real"]


def test_file_names_that_are_not_text_are_harmless(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "import os\nopen(b'caf\\xe9.csv', 'w').close()\nopen('ok.csv', 'w').close()")
    assert result.status == "ok"
    assert str(executor.notebook.parent / "ok.csv") in result.output_files
    assert "ok.csv" in [file["path"] for file in files(executor)]
    assert run(executor, "print('still recorded')").output == "still recorded\n"
    assert len(nbformat.read(executor.notebook, 4)["cells"]) == 2


def test_nbtapes_own_files_are_never_listed(executor: JupyterCodeExecutor) -> None:
    root = executor.notebook.parent
    first = run(executor, PICTURE)
    assert names(first, root) == ["session_1_0.png"]
    assert files(executor) == []
    assert run(executor, "print(1)").output_files == []


def test_a_copy_of_the_notebook_made_by_the_code_is_listed(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "import shutil\nshutil.copy('session.ipynb', 'copy.ipynb')")
    assert names(result, executor.notebook.parent) == ["copy.ipynb"]


def test_the_recording_of_another_executor_in_the_directory_is_never_listed(executor: JupyterCodeExecutor) -> None:
    root = executor.notebook.parent
    with JupyterCodeExecutor(output_dir=root) as other:
        assert other.notebook != executor.notebook
        assert names(run(other, PICTURE), root) == ["session-2_1_0.png"]
        assert run(executor, PICTURE).output_files[0].endswith("session_1_0.png")
        assert files(executor) == []
        run(other, "print('more')")
        assert run(executor, "print(1)").output_files == []
        assert run(other, "print(1)").output_files == []
    assert files(executor) == files(other) == []


def test_a_draft_that_is_being_written_is_never_listed(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "open('.other.ipynb.12345.tmp', 'w').close()\nopen('result.tmp', 'w').close()")
    assert names(result, executor.notebook.parent) == ["result.tmp"]


def test_files_of_others_between_two_calls_are_not_attributed_to_the_next_block(executor: JupyterCodeExecutor) -> None:
    directory = executor.notebook.parent
    run(executor, "1")
    (directory / "upload.csv").write_text("a\n1\n")
    (directory / "data.csv").write_text("changed")
    assert run(executor, "print(1)").output_files == []
    with JupyterCodeExecutor(output_dir=directory, notebook="other") as other:
        assert names(run(other, "open('theirs', 'w').close()"), directory) == ["theirs"]
    assert names(run(executor, "open('ours', 'w').close()\nopen('upload.csv', 'a').write('2')"), directory) == [
        "ours",
        "upload.csv",
    ]


def test_files_of_a_thread_are_listed_with_the_block_that_runs_then(executor: JupyterCodeExecutor) -> None:
    thread = "import threading\nthreading.Timer(0.5, lambda: open('late', 'w').close()).start()"
    assert run(executor, thread).output_files == []
    result = run(executor, "import time\ntime.sleep(1)")
    assert names(result, executor.notebook.parent) == ["late"]


def test_files_above_the_limit_are_counted(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "for n in range(1100):\n    open(f'{n:04d}', 'w').close()")
    if "has too many files to scan" in result.output:
        pytest.fail("1,100 files are not too many to look through")
    assert len(result.output_files) == written_files.MAX_LISTED_FILES
    assert "100 more written files not listed." in result.output
    assert "100 more written files not listed." in result.cells[0].note


def test_a_directory_that_becomes_a_link_during_a_scan_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, plots = tmp_path / "outside", tmp_path / "root" / "plots"
    outside.mkdir()
    (outside / "secret").write_text("precious")
    plots.mkdir(parents=True)
    directory = WorkingDirectory(tmp_path / "root")
    really_open = os.open

    def open_late(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == plots.name:
            plots.rmdir()
            plots.symlink_to(outside)
        return really_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_late)
    assert directory.changes().paths == []
    assert plots.is_symlink()


def test_a_directory_whose_parent_becomes_a_link_during_a_scan_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, plots = tmp_path / "outside", tmp_path / "root" / "plots"
    (outside / "keys").mkdir(parents=True)
    (outside / "keys" / "secret").write_text("precious")
    (plots / "keys").mkdir(parents=True)
    directory = WorkingDirectory(tmp_path / "root")
    really_open = os.open

    def open_late(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == "keys":
            plots.rename(tmp_path / "root" / "moved")
            plots.symlink_to(outside)
        return really_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_late)
    assert directory.changes().paths == []
    assert plots.is_symlink()
    assert describe([plots / "keys" / "secret"], tmp_path / "root")[0]["sha256"] is None


def test_a_working_directory_can_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to("there")
    directory = WorkingDirectory(tmp_path / "here")
    (tmp_path / "there" / "new").touch()
    assert directory.changes().paths == [tmp_path / "here" / "new"]


# Any history

NAMES = ["a", "b", "caf\udce9", ".git", ".n.ipynb.1.tmp", ".n.ipynb.journal"]
PATHS = st.lists(st.sampled_from(["a", "b", *NAMES]), min_size=1, max_size=3).map(lambda names: str(Path(*names)))
ACTS = st.sampled_from(["write", "write", "mkdir", "link", "pipe", "remove", "rename", "age", "record", "look"])
STEPS = st.tuples(ACTS, PATHS, PATHS)


def act(root: Path, kind: str, path: Path, other: Path) -> None:
    """One step of a history."""
    match kind:
        case "write":
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK)  # a named pipe has no reader
            os.write(file, b"x")
            os.close(file)
        case "mkdir":
            path.mkdir()
        case "link":
            path.symlink_to(root)
        case "pipe":
            os.mkfifo(path)
        case "remove" if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        case "remove":
            path.unlink()
        case "rename":
            path.rename(other)
        case "age":  # as tar and cp -a restore the time of the files they write
            os.utime(path, (0, 0), follow_symlinks=False)
        case "record":
            written_files.recorded(path)


def plain_walk(root: Path, recorded: set[Path]) -> dict[Path, tuple[int, int, int]]:
    """Return what a scan must find, determined in the simplest way."""
    found = {}
    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if name != ".git"]
        for path in (Path(directory, name) for name in names if not name.startswith(".n.ipynb")):
            info = path.lstat()
            if stat.S_ISREG(info.st_mode) and path not in recorded:
                found[path] = (info.st_mtime_ns, info.st_size, info.st_ino)
    return found


@given(st.lists(STEPS, max_size=40))
@example([("mkdir", "a", "a"), ("look", "a", "a"), ("rename", "a", "b"), ("write", "b/a", "a")])
@example([("write", "a", "a"), ("record", "a", "a"), ("remove", "a", "a"), ("mkdir", "a", "a"), ("write", "a/b", "a")])
@example([("mkdir", "a", "a"), ("write", "a/b", "a"), ("look", "a", "a"), ("remove", "a", "a"), ("link", "a", "a")])
@example([("write", "a", "a"), ("look", "a", "a"), ("write", "a", "a")])
@example([("write", "a", "a"), ("look", "a", "a"), ("record", "a", "a"), ("write", "a", "a")])
def test_each_scan_finds_the_changes_since_the_last_one(steps: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        directory = WorkingDirectory(root)
        recorded: set[Path] = set()
        before = plain_walk(root, recorded)
        for kind, path, other in [*steps, ("look", "", "")]:
            with contextlib.suppress(OSError):  # a step that is not possible here
                act(root, kind, root / path, root / other)
            if kind == "record":
                recorded.add(root / path)
            if kind == "look":
                now = plain_walk(root, recorded)
                assert set(directory.changes().paths) == {
                    path for path, print_ in now.items() if before.get(path) != print_
                }
                before = now


# A directory too large


CROWD = 60_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a directory with more files than can be scanned in time."""
    root = tmp_path_factory.mktemp("crowd")
    for part in range(CROWD // 1000):
        directory = root / f"{part:03d}"
        directory.mkdir()
        for number in range(1000):
            os.close(os.open(directory / f"{number:03d}", os.O_CREAT | os.O_WRONLY))
    return root


def test_a_directory_too_large_to_scan_is_skipped_and_reported(crowd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "SCAN_CPU_SECONDS", 0.02)  # no machine is fast enough
    with JupyterCodeExecutor(output_dir=crowd, notebook="crowded") as executor:
        result = run(executor, "open('new.csv', 'w').close()\nprint('x')")
        assert result.status == "ok"
        assert result.output.startswith("x\n")
        assert "has too many files to scan" in result.output
        assert "has too many files to scan" in result.cells[0].note
        assert result.output_files == []
        assert files(executor) == []
        metadata = nbformat.read(executor.notebook, 4)["cells"][0]["metadata"]["nbtape"]
        assert "has too many files to scan" in metadata["note"]
        drawn = run(executor, PICTURE)
        assert names(drawn, crowd) == ["crowded_2_0.png"], "extracted files need no look"


def test_changes_during_failed_scans_are_reported_by_the_next_successful_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("1")
    directory = WorkingDirectory(tmp_path)
    monkeypatch.setattr(written_files, "SCAN_CPU_SECONDS", -1.0)
    (tmp_path / "new").write_text("1")
    (tmp_path / "old").write_text("22")
    blind = directory.changes()
    assert blind.paths == []
    assert "has too many files to scan" in blind.note
    monkeypatch.undo()
    assert [path.name for path in directory.changes().paths] == ["new", "old"]
    assert directory.changes().paths == []


def test_after_a_failed_first_scan_existing_files_are_not_reported_as_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("1")
    monkeypatch.setattr(written_files, "SCAN_CPU_SECONDS", -1.0)
    directory = WorkingDirectory(tmp_path)
    monkeypatch.undo()
    assert directory.changes().paths == []
    (tmp_path / "new").write_text("1")
    assert [path.name for path in directory.changes().paths] == ["new"]


# Hashes


def test_a_file_too_large_to_hash_is_recorded_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(written_files.MAX_HASHED_BYTES + 1)
    (tmp_path / "small").write_bytes(b"x")
    told = describe([tmp_path / "huge", tmp_path / "small"], tmp_path)
    assert told == [
        {"path": "huge", "size": written_files.MAX_HASHED_BYTES + 1, "sha256": None},
        described(tmp_path / "small", tmp_path),
    ]


def test_hashing_stops_at_a_total_size_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "MAX_HASHED_BYTES", 100)
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, size in zip(paths, (60, 60, 40), strict=True):
        path.write_bytes(b"x" * size)
    assert [bool(file["sha256"]) for file in describe(paths, tmp_path)] == [True, False, True]


@pytest.mark.timeout(20)
def test_a_replacement_of_a_file_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    paths = [tmp_path / name for name in ("link", "pipe", "directory", "gone")]
    assert [file["sha256"] for file in describe(paths, tmp_path)] == [None] * 4
