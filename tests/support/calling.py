"""Run the nbtape command in tests: with captured output, on a terminal, interrupted, or next to a session."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import threading
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from reading import eventually
from warm_commands import COMMAND, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def nbtape(*arguments: object, cwd: Path, stdin: str = "", **environment: str) -> Ended:
    """Run the command and return its result."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(stdin)
        given.seek(0)
        code = start(arguments, cwd, environment, (given.fileno(), out.fileno(), err.fileno()))(120)
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read(), err.read())


def answers(lines: Sequence[Sequence[str]], cwd: Path) -> list[Ended]:
    """What commands come to, where nothing in the environment leads to a server."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JUPYTER_TOKEN", "")
        return [nbtape(*words, cwd=cwd) for words in lines]


def examples(name: str) -> list[str]:
    """Return the example lines in the help of a command."""
    command = [*COMMAND, *name.split(), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    section = told.partition("\nExamples:\n")[2].partition("\n\n")[0]
    return [line.removeprefix("  ") for line in section.splitlines()]


class Seen(NamedTuple):
    """What a user saw on the terminal."""

    text: str
    returncode: int

    @property
    def screen(self) -> list[str]:
        """The final lines on the screen."""
        import pyte

        screen = pyte.Screen(90, 500)
        pyte.Stream(screen).feed(self.text.replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


def on_a_terminal(*arguments: object, cwd: Path, **environment: str) -> Seen:
    """Run the command on a terminal of 90 columns, with stdout and stderr on it."""
    ours, its = pty.openpty()
    variables = {"COLUMNS": "90", "TERM": "xterm-256color", **environment}
    wait = start(arguments, cwd, variables, (its, its, its))
    os.close(its)
    written = bytearray()
    drain(ours, written)
    return Seen(written.decode().replace("\r\n", "\n"), wait(60))


def interrupted_when(mark: Path, *arguments: object, cwd: Path, kill: Callable[[int, int], None]) -> Ended:
    """Send SIGINT once the file `mark` exists: with `os.kill`, or with `os.killpg` as a terminal does for Ctrl-C."""
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert eventually(mark.exists, 60), "it never came so far"
            kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    return Ended(process.returncode, out, err)


def processes_in(directory: Path) -> list[int]:
    """Return the processes whose working directory is `directory` or below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(str(directory)):
                found.append(process.pid)
    return found


#: Variables that identify a terminal.
TERMINALS = {"TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX", "STY"}


class Watching:
    """`nbtape watch` in a separate process, with or without a terminal."""

    def __init__(self, *arguments: object, cwd: Path, terminal: dict[str, str] | None = None) -> None:
        ours, its = os.pipe() if terminal is None else pty.openpty()
        our_error, its_error = os.pipe()
        environment = {name: value for name, value in os.environ.items() if name not in TERMINALS}
        self.process = subprocess.Popen(
            [*COMMAND, "watch", *map(str, arguments)],
            cwd=cwd,
            stdout=its,
            stderr=its_error,
            env={**environment, "COLUMNS": "90", **(terminal or {})},
        )
        os.close(its)
        os.close(its_error)
        self._written, self._error = bytearray(), bytearray()
        self._threads = [
            threading.Thread(target=drain, args=each) for each in ((ours, self._written), (our_error, self._error))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def text(self) -> str:
        return self._written.decode(errors="replace").replace("\r\n", "\n")

    @property
    def error(self) -> str:
        return self._error.decode()

    def end(self) -> int:
        code = self.process.wait(30)
        for thread in self._threads:
            thread.join(10)
        return code


def drain(file: int, into: bytearray) -> None:
    """Read until the other end is closed everywhere; for a terminal, Linux reports that as an error."""
    with contextlib.suppress(OSError):
        while piece := os.read(file, 65536):
            into += piece
    os.close(file)
