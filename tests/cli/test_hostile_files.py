"""Obstacles that recorded code puts at file paths: commands do not read or write elsewhere, and do not hang."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from calling import nbtape
from full_matrix import first
from nbformat.v4 import new_code_cell, new_notebook, writes

from nbtape.notebook.journal import path_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

MINE = "# mine\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """One of the user's files, outside the directory of the code."""
    (tmp_path / "home").mkdir()
    victim = tmp_path / "home" / "profile"
    victim.write_text(MINE)
    return victim


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def notebook(here: Path, *sources: str) -> Path:
    path = here / "n.ipynb"
    path.write_text(writes(new_notebook(cells=[new_code_cell(source) for source in sources])))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges files")
@pytest.mark.parametrize(
    "step",
    [
        "os.mkfifo('x'); os.rename('x', 'a.ipynb')",
        "os.path.exists('x') or os.mkfifo('x'); libc.renameat2(-100, b'x', -100, b'a.ipynb', 2)",
        "os.path.lexists('x') or os.symlink('/dev/zero', 'x'); libc.renameat2(-100, b'x', -100, b'a.ipynb', 2)",
    ],
    ids=["a FIFO again and again", "now a FIFO, now a file", "now /dev/zero, now a file"],
)
def test_a_fifo_or_device_at_the_notebooks_path_does_not_hang_a_run(here: Path, step: str) -> None:
    code = f"""
import contextlib, ctypes, os, time
libc, end = ctypes.CDLL(None), time.time() + 4
while time.time() < end:
    with contextlib.suppress(OSError):
        {step}
    time.sleep(0.0002)
with contextlib.suppress(OSError):
    stat = os.lstat('a.ipynb')
    print('done')
"""
    (here / "a.md").write_text(f"```python\n{code}```\n")
    done = nbtape("run", "a.md", "--timeout", "30", cwd=here)
    assert "done" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("report", ["report.html", "report.json", "below/report.html"])
def test_a_report_is_not_written_through_a_link_made_by_the_code(here: Path, victim: Path, report: str) -> None:
    code = f"import os\nos.symlink({str(victim)!r}, {report!r})"
    if "/" in report:
        code = f"import os\nos.symlink({str(victim.parent)!r}, 'below')"
    path = notebook(here, code)
    done = nbtape("replay", path.name, "--report", report, cwd=here)
    assert "Traceback" not in done.stderr
    assert victim.read_text() == MINE
    assert os.listdir(victim.parent) == [victim.name]  # noqa: PTH208  (names)
    if "/" in report:
        assert "below" in done.stderr
    else:
        assert stat.S_ISREG((here / report).lstat().st_mode)


LEFT_BEHIND = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3, 4096):
            try:
                os.close(descriptor)
            except OSError:
                pass
        end = time.time() + 15
        while time.time() < end:
            try:
                os.symlink({victim!r}, ".l")
                os.rename(".l", "n-replayed.ipynb")
            except OSError:
                pass
    os._exit(0)
time.sleep(0.5)
"""


def test_a_replay_is_not_written_through_a_link_made_by_a_leftover_process(here: Path, victim: Path) -> None:
    path = notebook(here, LEFT_BEHIND.format(victim=str(victim)), "print(1)")
    recorded = json.loads(path.read_text())
    recorded["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "other\n"}]
    recorded["cells"][1]["execution_count"] = 2
    path.write_text(json.dumps(recorded))
    done = nbtape("replay", path.name, "--json", cwd=here)
    assert victim.read_text() == MINE
    assert [cell["verdict"] for cell in json.loads(done.stdout)["notebooks"][0]["cells"]] == ["same", "different"]


OBSTACLES: dict[str, Callable[[Path, Path], object]] = {
    "FIFO": lambda path, _: os.mkfifo(path),
    "directory": lambda path, _: path.mkdir(),
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("nowhere")),
    "/dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "hard link": lambda path, victim: path.hardlink_to(victim),
}


@pytest.mark.parametrize("kind", first(3, list(OBSTACLES)))
@pytest.mark.parametrize("name", ["out.html", "out.md", "out_files", "below", "n.ipynb", ".n.ipynb.journal", "a.md"])
def test_an_obstacle_is_replaced_or_reported_without_a_traceback(
    here: Path, victim: Path, kind: str, name: str
) -> None:
    notebook(here, "1")
    (here / name).unlink(missing_ok=True)
    OBSTACLES[kind](here / name, victim)
    command = {
        "out.html": ("export", "n.ipynb", "-o", "out.html"),
        "below": ("export", "n.ipynb", "-o", "below/out.html"),
        "n.ipynb": ("show", "n.ipynb"),
        ".n.ipynb.journal": ("show", "n.ipynb"),
        "a.md": ("run", "a.md"),
    }.get(name, ("export", "n.ipynb", "-o", "out.md"))
    done = nbtape(*command, cwd=here)
    assert victim.read_text() == MINE
    assert os.listdir(victim.parent) == [victim.name]  # noqa: PTH208  (names)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert (done.returncode == 0) or done.stderr


def test_show_works_despite_a_huge_sparse_journal(here: Path) -> None:
    path = notebook(here, "1")
    path_of(path).touch()
    os.truncate(path_of(path), 1 << 42)
    done = nbtape("show", path.name, cwd=here)
    assert done.returncode == 0
    assert "unsaved changes in .n.ipynb.journal" in done.stderr
    assert len(done.stderr.splitlines()) == 1
