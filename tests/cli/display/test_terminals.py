"""Only terminals get colors and progress, and the progress is erased at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape, on_a_terminal
from nbformat.v4 import new_code_cell, new_notebook

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from pathlib import Path

COLOUR = "\x1b[31m"
SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
MESSAGE = "```python\nprint('\\x1b[31mred\\x1b[0m')\n```\n"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with one cell that failed after printing in red."""
    with JupyterCodeExecutor(output_dir=tmp_path_factory.mktemp("session")) as executor:
        executor.execute_code_blocks([CodeBlock("print('\\x1b[31mred\\x1b[0m')\n1 / 0", "python")])
        return executor.notebook


@pytest.fixture(scope="module")
def large(session: Path) -> Path:
    """A notebook that takes a while to read. Fixed IDs: among 4,000 random ones, two are sometimes equal."""
    path = session.with_name("large.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("x = 1", id=f"cell-{number}") for number in range(4000)]), path)
    return path


@pytest.mark.parametrize("arguments", [[], ["--cell", 0]])
def test_show_uses_colors_on_terminals_and_when_forced(arguments: list[object], session: Path) -> None:
    line = ["show", session.name, *arguments]
    assert COLOUR in on_a_terminal(*line, cwd=session.parent).text
    assert COLOUR in nbtape(*line, cwd=session.parent, FORCE_COLOR="1").stdout
    assert "\x1b" not in nbtape(*line, cwd=session.parent).stdout
    assert "\x1b" not in on_a_terminal(*line, cwd=session.parent, NO_COLOR="1").text
    assert "\x1b" not in nbtape(*line, cwd=session.parent, NO_COLOR="1", FORCE_COLOR="1").stdout


def test_run_uses_colors_on_terminals_and_when_forced(tmp_path: Path) -> None:
    (tmp_path / "m.md").write_text(MESSAGE)
    line = ["run", "m.md"]
    assert COLOUR in on_a_terminal(*line, cwd=tmp_path).text
    assert COLOUR in nbtape(*line, cwd=tmp_path, FORCE_COLOR="1").stdout
    assert COLOUR not in on_a_terminal(*line, cwd=tmp_path, NO_COLOR="1").text
    assert "\x1b" not in nbtape(*line, cwd=tmp_path).stdout


def test_replay_uses_colors_when_forced(session: Path) -> None:
    line = ["replay", session.name]
    assert "\x1b[" in nbtape(*line, cwd=session.parent, FORCE_COLOR="1").stdout
    assert "\x1b" not in nbtape(*line, cwd=session.parent).stdout


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (["run", "m.md"], ["[1/1] print('\\x1b[31mred\\x1b[0m')", "red", "Notebook: {}/m.ipynb"]),
        (["export", "large.ipynb", "-o", "large.py"], ["Exported: large.py"]),
        (["replay", "session.ipynb", "--json"], None),
        (["run", "m.md", "--json"], None),
    ],
)
@pytest.mark.usefixtures("large")
def test_progress_is_erased_at_the_end(line: list[str], left: list[str] | None, session: Path) -> None:
    """With --json only the document stays on the screen."""
    (session.parent / "m.md").write_text(MESSAGE)
    for earlier in session.parent.glob("m*.ipynb"):  # The tests share a directory and run in any order.
        earlier.unlink()
    seen = on_a_terminal(*line, cwd=session.parent)
    assert seen.returncode == 0, seen.text
    assert SPINNER.search(seen.text) or "━" in seen.text
    if left is None:
        assert seen.screen[0].startswith('{"version": 1')
        assert not any("━" in text or SPINNER.search(text) for text in seen.screen)
    else:
        assert "".join(seen.screen) == "".join(left).format(session.parent)


def test_progress_of_several_notebooks_does_not_mix_with_results(session: Path, tmp_path: Path) -> None:
    for name in ("a.ipynb", "b.ipynb"):
        (tmp_path / name).write_bytes(session.read_bytes())
    seen = on_a_terminal("replay", "a.ipynb", "b.ipynb", "none.ipynb", "--jobs", 2, cwd=tmp_path)
    assert "━" in seen.text
    assert not any("━" in line for line in seen.screen)
    assert {"a.ipynb: 1 same_error.", "b.ipynb: 1 same_error."} <= set(seen.screen)
    assert any(line.startswith("nbtape: ") for line in seen.screen)
    assert "none.ipynbdoesnotexist." in "".join(seen.screen).replace(" ", "")  # The line is wrapped.


def test_quick_commands_show_no_progress(session: Path) -> None:
    assert not SPINNER.search(on_a_terminal("show", session.name, cwd=session.parent).text)


@pytest.mark.parametrize(
    "line", [["run", "m.md", "--json"], ["export", "session.ipynb", "-o", "o.html"], ["replay", "session.ipynb"]]
)
def test_progress_is_not_written_to_a_pipe(line: list[str], session: Path) -> None:
    (session.parent / "m.md").write_text(MESSAGE)
    done = nbtape(*line, cwd=session.parent)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dumb_terminal_gets_no_progress(session: Path) -> None:
    seen = on_a_terminal("export", session.name, "-o", "o.html", cwd=session.parent, TERM="dumb")
    assert seen.text == "Exported: o.html\n"


def test_the_cli_loads_without_unix_modules(tmp_path: Path) -> None:
    """Windows has none of these modules."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['fcntl', 'grp', 'pty', 'pwd', 'resource', 'syslog', 'termios']))\n"
        "from nbtape.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_gets_only_ascii(session: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    watched = nbtape("watch", session.name, "--from-start", cwd=session.parent, **ascii_only)
    assert "  | 1 / 0\n" in watched.stdout
    shown = on_a_terminal("show", session.name, cwd=session.parent, **ascii_only).text
    assert "\\u" not in watched.stdout + watched.stderr + shown
    assert (watched.stdout + shown).isascii()
