"""Text from any source is inert on a terminal and in a pipe, whichever command prints it."""

from __future__ import annotations

import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape, on_a_terminal
from full_matrix import first
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Sets the clipboard and the title, fakes a line (also with C1 controls), adds a link, a bell, and bidirectional text.
HOSTILE = (
    "\x1b]52;c;ZXZpbA==\x07\x1b]0;PWNED\x1b\\\x1b[1A\x1b[2Kfaked\x9d0;PWNED\x9c\x9b2J"
    "\x1b]8;;https:evil.example\x1b\\link\x1b]8;;\x1b\\\x07\u202etxt\u2066\u200b"
)
#: What rich and `watch` write themselves: colors, and cursor movement on their own lines.
OURS = re.compile(r"\x1b\[[0-9;]*m|\r?\x1b\[2K|\x1b\[\?25[lh]|\x1b\[1A|\r")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066\u200b]|PWNED\x07")


def assert_inert(text: str) -> None:
    assert "\x1b[1A\x1b[2Kfaked" not in text
    assert OBEYED.findall(OURS.sub("", text)) == []


def assert_harmless(*arguments: object, cwd: Path, seen: str = "", **environment: str) -> None:
    """Run a command on a terminal and in a pipe, and check that both show `seen` and no control codes."""
    on_terminal = on_a_terminal(*arguments, cwd=cwd, **environment).text
    piped = nbtape(*arguments, cwd=cwd, **environment)
    for text in (on_terminal, piped.stdout, piped.stderr):
        assert_inert(text)
    for text in (on_terminal, piped.stdout + piped.stderr):
        assert seen in text.replace("\n", "")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with control codes in every text field."""
    ours = {
        "status": "error",
        "note": HOSTILE,
        "touched": [HOSTILE],
        "kernel_epoch": 1,
        "extracted": [{"path": HOSTILE}],
        "files": [{"path": HOSTILE}],
    }
    outputs = [
        new_output("stream", text=f"{HOSTILE}\n"),
        new_output("display_data", {"text/plain": HOSTILE, HOSTILE: HOSTILE}),
        new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE]),
    ]
    cells = [
        new_markdown_cell(HOSTILE),
        new_code_cell(
            f"# {HOSTILE}\n", execution_count=1, metadata={"nbtape": ours, "tags": [HOSTILE]}, outputs=outputs
        ),
    ]
    environment = {
        "python": HOSTILE,
        "platform": HOSTILE,
        "packages": {"evil": "1"},
        "local": [],
        "directory": HOSTILE,
        "utc_offset": 0,
    }
    facts = {
        "started": HOSTILE,
        "recorded_by": HOSTILE,
        "server": HOSTILE,
        "image": HOSTILE,
        "environment": environment,
    }
    metadata = {
        "kernelspec": {"name": "python3", "display_name": HOSTILE},
        "language_info": {"name": "python"},
        "nbtape": facts,
    }
    path = tmp_path_factory.mktemp("hostile") / f"{HOSTILE.replace('/', '')}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


@pytest.mark.parametrize(
    "arguments",
    first(
        10,
        [
            ["show"],
            ["show", "--cell", "1"],
            ["show", "--json"],
            ["watch", "--from-start"],
            ["environment"],
            ["export", "--to", "md"],
            ["export", "--clean"],
            ["replay", "--debug"],
            ["replay", "--kernel", HOSTILE],
            ["run", "--resume"],
            ["show", "--cell", "0"],
            ["show", "--cell", "99"],
            ["environment", "--json"],
            ["export", "--to", "py"],
            ["export", "--to", "html", "--debug"],
            ["replay", "--json"],
            ["replay", "--report", "none/report.html"],
            ["run", "--output-dir"],
        ],
    ),
    ids=" ".join,
)
def test_notebooks_and_their_names_cannot_control_the_terminal(arguments: list[str], notebook: Path) -> None:
    if arguments[0] == "run":
        (notebook.parent / "m.md").write_text("```python\n1\n```\n")
        arguments = ["run", "m.md", *arguments[1:]]
    assert_harmless(*arguments, notebook.name, cwd=notebook.parent)


@pytest.mark.parametrize("kind", first(1, ["no notebook", "missing"]))
@pytest.mark.parametrize("command", ["show", "watch", "environment", "export", "replay", "run"])
def test_errors_escape_control_characters_in_file_names(command: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a\x1b]0;PWNED\x07{HOSTILE}.ipynb"
    if kind == "no notebook":
        path.write_text(json.dumps({HOSTILE: HOSTILE}))
    assert_harmless(command, path.name, cwd=tmp_path, seen="" if command == "run" else "a\\x1b]0;PWNED\\x07")


def test_printed_raised_and_written_text_cannot_control_the_terminal(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    code = (
        f"import sys, warnings\nevil = {HOSTILE!r}\nopen({name!r}, 'w').close()\nprint(evil)\n"
        "print(evil, end='')\nprint(evil, file=sys.stderr)\ndisplay(evil)\nwarnings.warn(evil)\n"
        "raise type(evil, (Exception,), {})(evil)\n"
    )
    message = f"{HOSTILE}\n\n```python\n# {HOSTILE}\n{code}```\n\n```{HOSTILE}\nx\n```\n"
    (tmp_path / "m.md").write_text(message)
    assert_harmless("run", "m.md", "--keep-going", cwd=tmp_path, seen="file: ")
    assert_harmless("run", "m.md", "--debug", "--keep-going", cwd=tmp_path)


def test_the_log_of_a_dying_kernel_cannot_control_the_terminal(tmp_path: Path) -> None:
    """The error shows the end of the kernel's log, after a run, a resume and a replay."""
    code = (
        "import os\n"
        "for number in os.listdir('/proc/self/fd'):\n"
        "    try:\n"
        "        if os.readlink(f'/proc/self/fd/{number}').endswith('kernel.log'):\n"
        f"            os.write(int(number), {HOSTILE!r}.encode())\n"
        "    except OSError:\n"
        "        pass\n"
        f"os.write(2, {HOSTILE!r}.encode())\n"
        "os._exit(3)"
    )
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(code, execution_count=1)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), tmp_path / "n.ipynb")
    (tmp_path / "m.md").write_text(f"```python\n{code}\n```\n")
    (tmp_path / "next.md").write_text("```python\n1\n```\n")
    assert_harmless("run", "m.md", cwd=tmp_path)
    assert_harmless("run", "next.md", "--resume", "n.ipynb", cwd=tmp_path)
    assert_harmless("replay", "n.ipynb", cwd=tmp_path)


class _Hostile(BaseHTTPRequestHandler):
    """A server that answers every request with a hostile message."""

    def _answer(self) -> None:
        content = json.dumps({"message": HOSTILE, "reason": HOSTILE, "version": HOSTILE}, ensure_ascii=False).encode()
        self.send_response(200 if self.path.endswith("version") else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "m.md", "--server", "http://{}"],
        ["run", "m.md", "--server", "http://{}/" + HOSTILE],
        ["run", "m.md", "--server", HOSTILE],
        ["run", "m.md", "--docker"],
        ["run", "m.md", "--docker", HOSTILE],
        ["run", "m.md", "--kernel", HOSTILE],
        ["run", HOSTILE],
        ["image", "build", "--tag", HOSTILE, "--package", HOSTILE],
        ["mcp", "--docker", HOSTILE, "--server", HOSTILE],
        ["mcp", "--http", HOSTILE],
        [HOSTILE],
        ["show", "--cell", HOSTILE],
        ["completion", HOSTILE],
    ],
    ids=ascii,
)
def test_servers_docker_and_arguments_cannot_control_the_terminal(
    arguments: list[str], server: str, tmp_path: Path
) -> None:
    (tmp_path / "m.md").write_text("```python\n1\n```\n")
    line = [argument.replace("{}", server) for argument in arguments]
    assert_harmless(*line, cwd=tmp_path, DOCKER_HOST=f"tcp://{server}")


def test_completion_skips_names_with_control_characters(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels" / HOSTILE.replace("/", "")
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text("{}")
    (tmp_path / f"{HOSTILE}.ipynb").touch()
    for words in ("nbtape run --kernel ", "nbtape show "):
        told = nbtape(
            *("completion", "bash", "--answer"),
            cwd=tmp_path,
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
            JUPYTER_PATH=os.fspath(tmp_path),
        )
        assert told.returncode == 0
        assert_inert(told.stdout)
