"""`nbtape watch` from the command line, next to a running session."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import Watching, examples
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reading import eventually

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.execute_code_blocks(block("1"))
        yield executor


def block(code: str) -> list[CodeBlock]:
    return [CodeBlock(code, "python")]


BAR = (
    "import os, time\nprint('begin')\nfor n in range(4):\n    print(f'\\r{n * 25} %', end='', flush=True)\n"
    "while not os.path.exists('gate'): time.sleep(.01)\nprint('\\r100 %')"
)


def test_watch_prints_a_session_while_it_runs(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    watching = Watching(executor.notebook.name, cwd=tmp_path)
    assert eventually(lambda: "Following session.ipynb" in watching.error)
    runner = threading.Thread(target=executor.execute_code_blocks, args=(block(BAR),))
    runner.start()
    assert eventually(lambda: watching.text.endswith("begin\n")), watching.text
    (tmp_path / "gate").touch()
    runner.join()
    executor.execute_code_blocks(block("print('\\x1b[31mred\\x1b[0m')\n1 / 0"))
    executor.stop()
    assert watching.end() == 0
    first, bar, wrong = re.split(r"\n\n?(?=block \d\n)", watching.text)[1:]
    assert re.fullmatch(r"block 1\n  │ 1\n1\nblock 1: ok, .*s", first)
    assert bar.startswith("block 2\n  │ import os, time\n")
    assert re.search(r"\nbegin\n100 %\nblock 2: ok, .*s\n    file: gate$", bar)
    assert wrong.startswith("block 3\n  │ print(")
    assert "\nred\n" in wrong
    assert "ZeroDivisionError: division by zero\nblock 3: error, " in wrong
    assert "\x1b" not in watching.text
    assert watching.error.endswith("The session of session.ipynb has ended: 3 code cells (2 ok, 1 error).\n")


def test_watch_shows_colors_and_progress_on_a_terminal(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    watching = Watching(executor.notebook.name, cwd=tmp_path, terminal={"TERM": "xterm"})
    assert eventually(lambda: "block 1" in watching.text)
    runner = threading.Thread(target=executor.execute_code_blocks, args=(block(BAR),))
    runner.start()
    assert eventually(lambda: "\r\x1b[2K\x1b[2m75 %\x1b[0m" in watching.text), watching.text
    (tmp_path / "gate").touch()
    runner.join()
    executor.execute_code_blocks(block("import time; time.sleep(.5); print('\\x1b[31mred\\x1b[0m')"))
    executor.stop()
    assert watching.end() == 0
    assert "\r\x1b[2K100 %\x1b[0m\n" in watching.text
    assert "block 3 is running, " in watching.text
    assert "\x1b[31mred\x1b[0m" in watching.text
    assert "\x1b[32mok\x1b[0m" in watching.text


def test_updated_displays_show_their_final_state(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    watching = Watching("session.ipynb", cwd=tmp_path)
    assert eventually(lambda: "Following" in watching.error)
    code = (
        "import time\nfrom IPython.display import display\nhandle = display('first', display_id=True)\ntime.sleep(.5)\n"
        "for n in range(4):\n    time.sleep(.2)\n    handle.update(f'state {n}')"
    )
    executor.execute_code_blocks(block(code))
    executor.stop()
    assert watching.end() == 0
    assert "'first'\n'state 3'\nblock 2: ok" in watching.text


@pytest.mark.parametrize("line", [line for line in examples("watch") if "--web" not in line and "ssh" not in line])
def test_examples_in_the_help_follow_a_session_to_its_end(line: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with JupyterCodeExecutor(output_dir=tmp_path / "coding") as executor:
        executor.execute_code_blocks(block("print('here')"))
        watching = subprocess.Popen(
            ["sh", "-c", line], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        assert any(line == "here\n" for line in watching.stdout)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "The session of session.ipynb has ended: 1 code cell (1 ok)." in told


def test_ctrl_c_stops_watch_quietly_and_not_the_session(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    watching = Watching("session.ipynb", cwd=tmp_path)
    assert eventually(lambda: "block 1: ok" in watching.text)
    watching.process.send_signal(signal.SIGINT)
    assert watching.end() == 130
    assert watching.error == "Following session.ipynb until its session ends. Press Ctrl-C to stop.\n"
    assert executor.execute_code_blocks(block("print(2)")).output == "2\n"


def test_wait_waits_for_a_session(tmp_path: Path) -> None:
    watchings = [Watching(place, "--wait", cwd=tmp_path) for place in ("s.ipynb", ".")]
    assert eventually(lambda: all(each.error.startswith("Waiting for a session in ") for each in watchings))
    with JupyterCodeExecutor(output_dir=tmp_path, notebook="s") as executor:
        executor.execute_code_blocks(block("print('here')"))
        assert eventually(lambda: all("here\nblock 1: ok" in each.text for each in watchings))
    assert [each.end() for each in watchings] == [0, 0]


def test_options_choose_the_first_cell_that_is_shown(tmp_path: Path) -> None:
    cells = [new_code_cell(f"cell_{number}", execution_count=1) for number in range(6)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "old.ipynb")
    for arguments, first in (([], 3), (["--cells", 1], 5), (["--from-start"], 0), (["--cells", 0], 6)):
        watching = Watching(".", *arguments, cwd=tmp_path)
        assert watching.end() == 0
        shown = re.findall(r"│ cell_(\d)", watching.text)
        assert shown == [str(number) for number in range(first, 6)]
        assert "old.ipynb is not being recorded: 6 code cells (6 ok)." in watching.error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.ipynb", "does not exist"),
        (".", "contains no notebook"),
        ("text.ipynb", "invalid JSON"),
        ("x.txt", ".ipynb"),
    ],
)
def test_invalid_input_is_a_one_line_error(name: str, words: str, tmp_path: Path) -> None:
    if name == "text.ipynb":
        (tmp_path / name).write_text("text")
    (tmp_path / "x.txt").write_text("text")
    watching = Watching(name, cwd=tmp_path)
    assert watching.end() == 2
    (line,) = watching.error.splitlines()
    assert words in line


HOSTILE = "\x1b]0;title\x07\x1b[2Jx\x9b2J\x08\x07\r\u202egnp.exe\x1bc\x00\x1b_Ga=d\x1b\\\x1bPq#0\x1b\\"


def test_notebooks_cannot_control_the_terminal(tmp_path: Path) -> None:
    outputs = [
        new_output("stream", text=HOSTILE + "\n" + HOSTILE),
        new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE]),
        new_output("display_data", {"text/plain": HOSTILE, "image/png": HOSTILE}),
    ]
    ours = {"status": "error", "note": HOSTILE, "extracted": [{"path": HOSTILE}], "touched": [HOSTILE]}
    cells = [
        new_markdown_cell(HOSTILE),
        new_code_cell(HOSTILE, execution_count=1, metadata={"nbtape": ours}, outputs=outputs),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "evil.ipynb")
    for terminal in (None, {"TERM": "xterm-kitty"}):
        watching = Watching("evil.ipynb", cwd=tmp_path, terminal=terminal)
        assert watching.end() == 0
        assert watching.text.count("gnp.exe") >= 9
        colourless = re.sub(r"\x1b\[[0-9;]*m|\r\x1b\[2K", "", watching.text)
        assert not set(colourless) & set("\x1b\x9b\x07\x08\r\x00\u202e")


def test_watch_loads_nothing_heavy(tmp_path: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("1", execution_count=1)]), tmp_path / "x.ipynb")
    code = (
        "import sys; sys.argv[1:] = ['watch', 'x.ipynb']\n"
        "import atexit, nbtape.cli\n"
        "heavy = {'nbformat', 'jsonschema', 'nbclient', 'rich.console', 'PIL', 'lxml', 'http.server'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "nbtape.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
