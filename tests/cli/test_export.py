"""`nbtape export` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session(output_dir: Path) -> Path:
    """A session with one failed attempt."""
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        for code in ("x = 20", "x / 0", "print(x + 1)"):
            executor.execute_code_blocks([CodeBlock(code, "python")])
        return executor.notebook


@pytest.mark.parametrize(
    ("form", "words"), [("html", "<!DOCTYPE html>"), ("py", "# %%\nx = 20"), ("md", "```python\nx = 20")]
)
def test_an_export_is_written_next_to_the_notebook_and_replaces_nothing(form: str, words: str, session: Path) -> None:
    (session.with_suffix(f".{form}")).write_text("somebody's")
    done = nbtape("export", session.name, "--to", form, cwd=session.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Exported: session-2.{form}\n"
    assert words in (session.parent / f"session-2.{form}").read_text()
    assert session.with_suffix(f".{form}").read_text() == "somebody's"


def test_a_named_output_sets_the_format_and_is_replaced(session: Path) -> None:
    (session.parent / "report.md").write_text("old")
    assert nbtape("export", session.name, "-o", "report.md", cwd=session.parent).returncode == 0
    assert (session.parent / "report.md").read_text().startswith("# session.ipynb")


def test_an_export_does_not_write_through_a_link(session: Path) -> None:
    (session.parent / "precious").write_text("precious")
    for name in ("session.html", "out.html"):
        (session.parent / name).symlink_to("precious")
    nbtape("export", session.name, cwd=session.parent)
    nbtape("export", session.name, "-o", "out.html", cwd=session.parent)
    assert (session.parent / "precious").read_text() == "precious"
    assert (session.parent / "session-2.html").exists()


def test_a_clean_export_keeps_the_cells_that_worked_and_runs(session: Path) -> None:
    done = nbtape("export", session.name, "--clean", "--to", "ipynb", cwd=session.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Exported: session-clean.ipynb\n"
    assert done.stderr.splitlines() == [
        "Block 2 is left out: it failed (error).",
        "The remaining cells work on a fresh kernel.",
    ]
    clean = nbformat.read(session.parent / "session-clean.ipynb", as_version=4)
    nbformat.validate(clean)
    assert [cell.source for cell in clean.cells] == ["x = 20", "print(x + 1)"]
    script = nbtape("export", session.name, "--clean", "-o", "clean.py", cwd=session.parent)
    assert script.returncode == 0, script.stderr
    ran = subprocess.run([sys.executable, "clean.py"], cwd=session.parent, capture_output=True, text=True, check=True)
    assert ran.stdout == "21\n"


def test_cells_that_no_longer_work_are_not_exported_and_exit_with_1(output_dir: Path) -> None:
    (output_dir / "here").write_text("")
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.execute_code_blocks([CodeBlock("open('here').close()", "python")])
    (output_dir / "here").unlink()
    done = nbtape("export", "session.ipynb", "--clean", cwd=output_dir)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "The remaining cells do not work: block 1: FileNotFoundError" in done.stderr
    assert not (output_dir / "session-clean.html").exists()
    told = json.loads(nbtape("export", "session.ipynb", "--clean", "--json", cwd=output_dir).stdout)
    assert (told["output"], told["clean"]["works"], told["clean"]["broken"]["index"]) == (None, False, 0)


def test_json_output_is_a_single_object(session: Path) -> None:
    done = nbtape("export", session.name, "--clean", "--to", "md", "--json", cwd=session.parent)
    told = json.loads(done.stdout)
    assert (told["version"], told["output"], told["files"]) == (1, "session-clean.md", [])
    assert told["clean"]["left_out"] == [{"index": 1, "block": 2, "reason": "it failed (error)"}]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ipynb"], "does not exist"),
        (["session.ipynb", "-o", "session.ipynb"], "is the recorded notebook"),
        (["session.ipynb", "-o", "nowhere/page.html"], "its directory does not exist"),
        (["session.ipynb", "-o", "page.pdf"], "--to"),
        (["session.ipynb", "--docker"], "needs --clean"),
        ([], "Missing argument"),
    ],
)
def test_an_invalid_export_reports_why_and_exits_with_2(arguments: list[str], words: str, session: Path) -> None:
    done = nbtape("export", *arguments, cwd=session.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr.splitlines()[-1]
