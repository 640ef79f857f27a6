"""A replay runs in a private copy of the notebook's directory, and recorded files stay as recorded."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from executors import record
from nbformat.v4 import new_code_cell, new_notebook
from reading import code_cells, read_notebook, stream_text

from nbtape import (
    BlockInterrupted,
    DirectoryCopyError,
    DockerJupyterServer,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    KernelPool,
    LocalJupyterServer,
    replay,
)
from nbtape.common import tree_copy
from nbtape.export.clean_run import rehearse
from nbtape.notebook.format import own_metadata
from nbtape.replay.working_copy import LeftOut, Stop, can_work_in, left_out, workplace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.kernels.sources import Server

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(directory).as_posix(): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


def copies(*directories: Path) -> list[Path]:
    return [path for directory in directories for path in directory.glob(f"{tree_copy.COPY_PREFIX}*")]


def cells(*metadata: dict[str, Any]) -> Any:
    return new_notebook(cells=[new_code_cell("1", metadata={"nbtape": each}) for each in metadata])


def written(*paths: str, created: tuple[str, ...] = ()) -> dict[str, Any]:
    files = [{"path": path, "size": 1, "sha256": "x"} for path in paths]
    return {"status": "ok", "files": files, "created": [*created]}


# The copy, without a kernel


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (directory := tmp_path / "work" / "coding").mkdir(parents=True)
    (directory / "data.csv").write_text("1\n")
    return directory


def place(directory: Path, **options: Any) -> Any:
    suitable = options.pop("suitable", functools.partial(can_work_in, options.pop("server", None), "python3"))
    defaults: dict[str, Any] = {"in_place": False, "stop": Stop(), "on_copy": None}
    return workplace(directory, LeftOut(), suitable, **(defaults | options))


def test_the_copy_is_private_next_to_the_original_and_removed_afterwards(directory: Path) -> None:
    with place(directory) as work:
        assert (work.path.parent, work.is_copy) == (directory.parent, True)
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o700
        assert (work.path / "data.csv").read_text() == "1\n"
        (work.path / "data.csv").write_text("2\n")
    assert not work.path.exists()
    assert snapshot(directory).keys() == {"data.csv"}
    assert (directory / "data.csv").read_text() == "1\n"


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Make a directory read-only; root can write in it anyway, unless it is mounted like that."""
    if os.geteuid() != 0:
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_copy_is_elsewhere_if_the_parent_is_read_only(directory: Path) -> None:
    with read_only(directory.parent), place(directory) as work:
        assert work.path.name == directory.name
        assert work.path.is_relative_to(Path(tempfile.gettempdir()).resolve())


def test_a_copy_is_in_the_temporary_directory_if_it_cannot_be_next_to_the_original(
    directory: Path,
) -> None:
    elsewhere = Path(tempfile.gettempdir()).resolve()
    with place(directory, suitable=lambda path: path == directory or path.is_relative_to(elsewhere)) as work:
        assert work.path.name == directory.name
        assert stat.S_IMODE(work.path.parent.stat().st_mode) == 0o700
        [(part, original)] = work.moved
        assert str(work.path).replace(part, original) == str(directory)
    assert not work.path.parent.exists()


def test_a_copy_is_in_the_directory_if_kernels_can_only_work_there(directory: Path) -> None:
    with LocalJupyterServer(lab=True, root_dir=directory) as server, place(directory, server=server) as work:
        assert work.path.parent == directory
        assert [path.name for path in work.path.iterdir()] == ["data.csv"]
    assert [path.name for path in directory.iterdir()] == ["data.csv"]


@pytest.mark.parametrize("server", ["http://localhost:1", JupyterConnectionInfo("localhost", use_https=False, port=1)])
def test_a_server_on_another_machine_gets_no_copy_and_the_report_says_so(directory: Path, server: Server) -> None:
    with place(directory, server=server) as work:
        assert (work.path, work.is_copy, copies(directory.parent)) == (directory, False, [])
        assert "on the machine of the server" in work.notes[0]


def test_a_directory_that_is_too_large_is_one_error_with_the_remedy(directory: Path) -> None:
    with (directory / "huge").open("wb") as file:
        file.truncate(4 << 40)
    with pytest.raises(DirectoryCopyError, match=r"it has more than 1 GB\. .* with in_place=True\.$"), place(directory):
        pass
    assert copies(directory.parent) == []


def test_a_stopped_copy_is_removed(directory: Path) -> None:
    stop = Stop()
    stop()
    with pytest.raises(BlockInterrupted), place(directory, stop=stop):
        pass
    assert copies(directory.parent) == []


def test_links_that_were_not_copied_are_in_the_report(directory: Path) -> None:
    (directory / "data").symlink_to("/mnt/data")
    with place(directory) as work:
        assert "not copied: data." in work.notes[0]


def test_earlier_replays_and_created_files_are_left_out(tmp_path: Path) -> None:
    notebook = tmp_path / "n.ipynb"
    recorded = cells(
        written("new.csv", "old.csv", "plots/a.png", created=("new.csv", "plots")),
        written("old.csv", "new.csv", created=("old.csv",)),
        written("skipped.csv", created=("skipped.csv",)),
        written("../evil", "/etc/passwd", created=("..", "/etc")),
    )
    without = left_out(recorded, {0, 1, 3}, notebook, tmp_path / "out.ipynb", tmp_path)
    names = [
        *("new.csv", "plots/a.png", "n-replayed.ipynb", "n-replayed-12.ipynb", "out.ipynb", ".n.ipynb.journal"),
        *("old.csv", "skipped.csv", "n.ipynb", "n-replayed-x.ipynb", "m-replayed.ipynb", "sub/n-replayed.ipynb"),
    ]
    assert [name for name in names if without(tuple(name.split("/")))] == names[:6]
    assert set(without.directories) == {("new.csv",), ("plots",), ("old.csv",)}


@pytest.mark.parametrize("value", ["x", [1, None], {"a": 1}, None])
def test_invalid_metadata_leaves_nothing_out(tmp_path: Path, value: Any) -> None:
    recorded = cells({"status": "ok", "files": value, "created": value})
    assert left_out(recorded, {0}, tmp_path / "n.ipynb", None, tmp_path).files == set()


# With a kernel

WRITES = (
    "import os\nos.mkdir('plots')\nopen('plots/a.txt', 'w').write('a\\n')\nopen('log.txt', 'a').write('one\\n')\n"
    "print(os.getcwd(), os.path.basename(os.getcwd()))\nopen('where.txt', 'w').write(os.getcwd())\n"
    "import helper\nprint(helper.__file__, open('../above.txt').read())"
)


def test_recorded_files_stay_and_each_gets_a_verdict(directory: Path) -> None:
    (directory / "helper.py").write_text("x = 1\n")
    (directory.parent / "above.txt").write_text("above")
    notebook = record(directory, WRITES, "open('log.txt', 'a').write('two\\n');")
    before = snapshot(directory)
    report = replay(notebook)
    assert {file.path: file.verdict for file in report.files or []} == {
        "plots/a.txt": "same",
        "log.txt": "same",
        "where.txt": "cosmetic",
    }
    assert (report.exit_code, report.in_place) == (0, False), str(report)
    assert str(report) == "session.ipynb: 1 cosmetic, 1 same; files: 2 same, 1 cosmetic."
    after = snapshot(directory)
    assert after.pop("session-replayed.ipynb")
    assert after == before
    assert copies(directory, directory.parent) == []


def test_different_and_missing_files_fail_the_replay(directory: Path) -> None:
    code = "import secrets\nopen('key.txt', 'w').write(secrets.token_hex());"
    notebook = record(directory, code, "open('gone.txt', 'w').write('x');", "open('data.csv', 'a').write('2\\n');")
    node = read_notebook(notebook)
    node.cells[1].source = "1;"
    nbformat.write(node, notebook)
    report = replay(notebook)
    assert [cell.verdict for cell in report.cells] == ["same", "same", "same"]
    assert {file.path: file.verdict for file in report.files or []} == {
        "key.txt": "different",
        "gone.txt": "missing",
        "data.csv": "different",
    }
    assert report.exit_code == 1
    told = str(report).splitlines()
    assert told[0] == "session.ipynb: 3 same; files: 2 different, 1 missing."
    assert told[1].startswith("file key.txt (block 1): different. 64 bytes both times")
    assert report.to_dict()["file_counts"] == {"different": 2, "missing": 1}
    assert [own_metadata(cell).get("created") for cell in code_cells(report.output)] == [["key.txt"], None, None]


def test_in_place_the_code_finds_the_recorded_files(directory: Path) -> None:
    notebook = record(directory, "import os\nprint(os.path.exists('a'))\nopen('a', 'w').write('x');")
    report = replay(notebook, in_place=True)
    assert ([cell.verdict for cell in report.cells], report.in_place) == (["different"], True)
    assert [file.verdict for file in report.files or []] == ["same"]


def test_a_notebook_without_digests_says_so(directory: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("open('a', 'w').close()")]), directory / "n.ipynb")
    report = replay(directory / "n.ipynb")
    assert report.files is None
    assert "has no digests" in str(report)
    assert (report.exit_code, (directory / "a").exists()) == (0, False)


def test_a_container_and_a_pool_work_in_the_copy(
    directory: Path, container: DockerJupyterServer, gateway: LocalJupyterServer
) -> None:
    notebook = record(directory, "open('a.csv', 'w').write(open('data.csv').read());")
    before = snapshot(directory)
    with KernelPool(gateway, size=1) as pool:
        for server in (container, pool):
            report = replay(notebook, directory.parent / "out.ipynb", jupyter_server=server)
            assert [file.verdict for file in report.files or []] == ["same"], str(report)
    assert snapshot(directory) == before


def test_a_clean_export_leaves_recorded_files_alone(directory: Path) -> None:
    notebook = record(directory, "open('data.csv', 'a').write('2\\n');")
    before = snapshot(directory)
    assert rehearse(notebook).broken is None
    assert snapshot(directory) == before


def test_a_replay_that_is_stopped_removes_its_copy(directory: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("import time\ntime.sleep(60)")]), directory / "n.ipynb")
    stops: list[Any] = []
    report = replay(directory / "n.ipynb", on_start=stops.append, on_cell=None, timeout=1)
    assert [cell.replayed for cell in report.cells] == ["timeout"]
    assert len(stops) == 1
    assert copies(directory.parent) == []


def test_output_of_the_code_is_in_the_new_notebook(directory: Path) -> None:
    with JupyterCodeExecutor(output_dir=directory) as executor:
        executor.run("print(open('data.csv').read())")
    assert stream_text(code_cells(replay(executor.notebook).output)[0]) == "1\n\n"
