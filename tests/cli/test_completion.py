"""Tab completion in real shells."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import pytest
from calling import nbtape
from full_matrix import first

from nbtape.cli.commands import nbtape as root

if TYPE_CHECKING:
    from collections.abc import Iterator

#: For each shell: the command that ignores the machine's settings, its settings file, and how to set a known prompt.
SHELLS = {
    "bash": (["bash", "--noprofile", "-i"], ".bashrc", "PS1='ready> '"),
    "zsh": (["zsh", "-d", "-i"], ".zshrc", "PROMPT='ready> '"),
    "fish": (["fish", "-i"], ".config/fish/config.fish", "function fish_prompt; echo -n 'ready> '; end"),
}

FILES = [
    "answer.md",
    "answer.txt.gz",
    "my notes.ipynb",
    "session.ipynb",
    "session.log",
    "runs/deep.ipynb",
    "it's.ipynb",
]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"There is no {name}: install it, as .ci/run does.")
    return name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with some files, among them notebooks."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@functools.cache
def settings_for(shell: str) -> dict[str, str]:
    """The files in a home directory, by path, that installing completion as the help describes writes."""
    with TemporaryDirectory() as home:
        told = nbtape("completion", "--help", cwd=Path(home)).stdout.splitlines()
        lines = [line for line in told if line.startswith(("  nbtape ", "  mkdir ")) and shell in line]
        subprocess.run(["sh", "-c", "\n".join(lines)], cwd=home, env=environment_in(Path(home)), check=True)
        written = [path for path in Path(home).rglob("*") if path.is_file()]
        return {str(path.relative_to(home)): path.read_text() for path in written}


def environment_in(home: Path) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ZDOTDIR", "FPATH"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**variables, "HOME": str(home), "PATH": path, "TERM": "xterm"}


def install(shell: str, home: Path) -> dict[str, str]:
    """Install completion, and return the environment for the shell."""
    (home / ".local/share/fish/generated_completions").mkdir(parents=True)  # or fish would read all manual pages
    for name, content in settings_for(shell).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    _, settings, prompt = SHELLS[shell]
    with (home / settings).open("a") as file:
        file.write(f"\n{prompt}\n")
    return environment_in(home)


def typed(shell: str, keys: str, home: Path) -> list[str]:
    """The arguments of a line after typing some keys."""
    command, _, _ = SHELLS[shell]
    environment = install(shell, home)
    process, terminal = pty.fork()  # The shell gets its own terminal: fish needs job control.
    if process == 0:
        os.chdir(home)
        os.execvpe(command[0], command, environment)
    try:
        seen = b""
        while b"ready> " not in seen:
            seen += os.read(terminal, 65536)
        # Insert a command that records its arguments before the completed line. Then press Enter and exit.
        tell = f'{sys.executable} -c \'import json, sys; open("words", "w").write(json.dumps(sys.argv[1:]))\' '
        os.write(terminal, f"{keys}\x01{tell}\rexit\r".encode())
        with contextlib.suppress(OSError):  # Linux raises this when the other end is closed.
            while os.read(terminal, 65536):
                pass
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    words: list[str] = json.loads((home / "words").read_text())
    return words


LINES = [
    ("nbtape sho\t", ["nbtape", "show"]),
    ("nbtape image bu\t", ["nbtape", "image", "build"]),
    ("nbtape run --kee\t", ["nbtape", "run", "--keep-going"]),
    ("nbtape show ses\t", ["nbtape", "show", "session.ipynb"]),
    ("nbtape replay session.ipynb my\t", ["nbtape", "replay", "session.ipynb", "my notes.ipynb"]),
    ("nbtape show my\\ no\t", ["nbtape", "show", "my notes.ipynb"]),
    ("nbtape show it\t", ["nbtape", "show", "it's.ipynb"]),
    ("nbtape show ru\tde\t", ["nbtape", "show", "runs/deep.ipynb"]),
    ("nbtape show ~/ru\tde\t", ["nbtape", "show", "{home}/runs/deep.ipynb"]),
    ("nbtape run ans\t", ["nbtape", "run", "answer.md"]),
    ("nbtape run --docker ans\t", ["nbtape", "run", "--docker", "answer.md"]),
    ("nbtape run answer.md --output-dir ru\t", ["nbtape", "run", "answer.md", "--output-dir", "runs"]),
    ("nbtape run answer.md --kernel pyth\t", ["nbtape", "run", "answer.md", "--kernel", "python3"]),
    ("nbtape export session.ipynb --to ht\t", ["nbtape", "export", "session.ipynb", "--to", "html"]),
    ("nbtape export session.ipynb --to=ht\t", ["nbtape", "export", "session.ipynb", "--to=html"]),
]


@pytest.mark.parametrize(("keys", "words"), first(6, LINES), ids=[keys.strip() for keys, _ in LINES])
def test_tab_completes_a_started_word(shell: str, keys: str, words: list[str], home: Path) -> None:
    # zsh removes the slash after a directory when nothing follows.
    completed = [word.removesuffix("/") for word in typed(shell, keys, home)]
    assert completed == [word.format(home=home) for word in words]


def test_completion_loads_nothing_heavy(home: Path) -> None:
    code = (
        "import atexit, sys; sys.argv[1:] = ['completion', 'bash', '--answer']\n"
        "heavy = {'nbformat', 'jupyter_client', 'zmq', 'nbclient', 'traitlets', 'httpx', 'docker', 'rich.console'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "import nbtape.cli\n"
        "nbtape.cli.main()"
    )
    for line, offered in (("run --kernel ", "plain\tpython3\t"), ("show ", "path\tsession.ipynb\t")):
        words = f"nbtape {line}"
        environment = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
        assert offered in done.stdout.splitlines()
        assert done.stdout.splitlines()[-1] == "[]"


def test_names_with_control_characters_are_not_offered(home: Path) -> None:
    (home / "evil\x1b]0;owned\x07.ipynb").touch()
    (home / "two\nlines.ipynb").touch()
    done = nbtape("completion", "bash", "--answer", cwd=home, COMP_WORDS="nbtape show ", COMP_CWORD="2")
    assert done.stdout == "path\tit's.ipynb\t\npath\tmy notes.ipynb\t\npath\truns/\t\npath\tsession.ipynb\t\n"


def test_every_notebook_argument_and_kernel_option_is_completed() -> None:
    """Commands added later are checked too."""
    for command in leaves(root):
        for parameter in command.params:
            begun = parameter.shell_complete(click.Context(command), "")
            if parameter.make_metavar(click.Context(command)).strip("[].").startswith("NOTEBOOK"):
                assert [item.suffixes for item in begun] == [(".ipynb",)], (command.name, parameter.name)
            if parameter.name == "kernel":
                assert "python3" in [item.value for item in begun], command.name


def leaves(command: click.Command) -> Iterator[click.Command]:
    """The commands without subcommands."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from leaves(each)
    else:
        yield command
