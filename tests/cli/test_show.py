"""`nbtape show` from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape, on_a_terminal
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("session")
    with JupyterCodeExecutor(output_dir=directory) as executor:
        executor.add_markdown("# A title")
        code = ["open('table.csv', 'w').write('1')", "print('\\x1b[31mred\\x1b[0m')\n1 / 0", "print('never')"]
        executor.execute_code_blocks([CodeBlock(each, "python") for each in code])
        return executor.notebook


def test_show_prints_a_table_with_a_row_per_code_cell(session: Path) -> None:
    done = nbtape("show", session.name, cwd=session.parent)
    assert done.returncode == 0, done.stderr
    head, *told, columns, first, second, wrong, third = filter(None, done.stdout.splitlines())
    rows = [first, second, wrong, third]
    assert head == f"{session.name}: 3 code cells (1 ok, 1 error, 1 not_run)"
    assert any(line.startswith("recorded       20") for line in told)
    assert any(line.startswith("ran on         Python 3.") for line in told)
    assert columns.split() == ["block", "status", "time", "code", "files"]
    assert [row.split()[:2] for row in rows] == [
        ["1", "ok"],
        ["2", "error"],
        ["ZeroDivisionError:", "division"],
        ["3", "not_run"],
    ]
    assert rows[0].endswith("table.csv")
    assert "\x1b" not in done.stdout


def test_block_shows_one_cell_in_full(session: Path) -> None:
    done = nbtape("show", session.name, "--block", 2, cwd=session.parent)
    assert done.stdout.startswith("block 2, In [2]: error")
    assert nbtape("show", session.name, "--cell", 2, cwd=session.parent).stdout == done.stdout
    assert "print('\\x1b[31mred\\x1b[0m')\n1 / 0\n\nred\n" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "\x1b" not in done.stdout
    assert nbtape("show", session.name, "--cell", 0, cwd=session.parent).stdout == "text before block 1\n# A title\n"


def test_edits_made_after_recording_are_reported(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.execute_code_blocks([CodeBlock("x = 1", "python")])
        notebook = nbformat.read(executor.notebook, as_version=4)
        notebook["cells"][0]["source"] = "x = 2"
        nbformat.write(notebook, executor.notebook)
        executor.execute_code_blocks([CodeBlock("x", "python")])
    assert re.search(
        r"1  ok .* x = 1\n +changed after recording: source\n +2 .* x = 2\n +changed after recording: added",
        nbtape("show", executor.notebook, cwd=tmp_path).stdout,
    )
    shown = nbtape("show", executor.notebook, "--cell", 0, cwd=tmp_path).stdout
    assert "changed after recording: source" in shown
    exported = nbtape("export", executor.notebook, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "changed after recording: source" in executor.notebook.with_suffix(".html").read_text()


def test_show_uses_colors_on_terminals(session: Path) -> None:
    assert "\x1b[31merror\x1b[0m" in on_a_terminal("show", session.name, cwd=session.parent).text
    assert "\x1b[31mred\x1b[0m" in on_a_terminal("show", session.name, "--cell", 2, cwd=session.parent).text


def test_json_has_the_whole_table_or_the_whole_cell(session: Path) -> None:
    run = json.loads(nbtape("show", session.name, "--json", cwd=session.parent).stdout)
    assert (run["version"], run["notebook"]) == (1, session.name)
    assert run["counts"] == {"ok": 1, "error": 1, "not_run": 1}
    assert [cell["error"] for cell in run["cells"]] == ["", "ZeroDivisionError: division by zero", ""]
    cell = json.loads(nbtape("show", session.name, "--cell", 2, "--json", cwd=session.parent).stdout)
    assert cell["output"].startswith("red\n")
    assert cell["source"].endswith("1 / 0")


HOSTILE = "\x1b]0;title\x07\x1b[2Jx\x9b2J\x08\x07\r\u202egnp.exe\x1bc\x00"


def test_notebooks_cannot_control_the_terminal(tmp_path: Path) -> None:
    output = new_output("stream", text=HOSTILE + "\x1b[32mgreen")
    ours = {"status": "error", "note": HOSTILE, "extracted": [{"path": HOSTILE}]}
    error = new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE])
    cells = [
        new_markdown_cell(HOSTILE),
        new_code_cell(HOSTILE, execution_count=1, metadata={"nbtape": ours}, outputs=[output, error]),
    ]
    facts = {
        "kernelspec": {"name": HOSTILE, "display_name": HOSTILE},
        "nbtape": {"started": HOSTILE, "server": HOSTILE},
    }
    nbformat.write(new_notebook(cells=cells, metadata=facts), tmp_path / "evil.ipynb")
    for arguments in ([], ["--cell", 0], ["--cell", 1]):
        for text in (
            nbtape("show", "evil.ipynb", *arguments, cwd=tmp_path).stdout,
            on_a_terminal("show", "evil.ipynb", *arguments, cwd=tmp_path).text,
        ):
            assert "gnp.exe" in text
            colourless = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")
            assert not set(colourless) & set("\x1b\x9b\x07\x08\r\x00\u202e")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ipynb"], "does not exist"),
        (["."], ". is a directory. Name a notebook in it."),
        (["text.ipynb"], "invalid JSON at line 1, column 1"),
        (["list.ipynb"], "is not a notebook: its JSON is"),
        (["empty.ipynb", "--cell", "0"], "has no cells"),
    ],
)
def test_invalid_input_is_a_one_line_error(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "text.ipynb").write_text("text")
    (tmp_path / "list.ipynb").write_text("[]")
    nbformat.write(new_notebook(), tmp_path / "empty.ipynb")
    done = nbtape("show", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert words in line


def test_show_loads_nothing_heavy(session: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['show', sys.argv[1]]\n"
        "import atexit, nbtape.cli\n"
        "heavy = {'nbformat', 'jsonschema', 'nbclient', 'rich.console'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "nbtape.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(session)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
