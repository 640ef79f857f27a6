"""The command as a test calls it: its output captured, on a terminal, or stopped in the middle."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import psutil  # type: ignore[import-untyped,unused-ignore]

from reading import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMAND = [sys.executable, "-m", "nbtape"]


def nbtape(*arguments: object, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command comes to."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def examples(name: str) -> list[str]:
    """What the help of a command says under Examples."""
    command = [*COMMAND, *name.split(), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    section = told.partition("\nExamples:\n")[2].partition("\n\n")[0]
    return [line.removeprefix("  ") for line in section.splitlines()]


class Seen(NamedTuple):
    """What a person saw."""

    text: str
    returncode: int

    @property
    def screen(self) -> list[str]:
        """The lines that stand there in the end."""
        import pyte

        screen = pyte.Screen(90, 500)
        pyte.Stream(screen).feed(self.text.replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


def on_a_terminal(*arguments: object, cwd: Path, **environment: str) -> Seen:
    """What the command writes to a terminal of 90 columns, on which both its outputs are."""
    ours, its = pty.openpty()
    variables = {**os.environ, "COLUMNS": "90", "TERM": "xterm-256color", **environment}
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=cwd, stdin=its, stdout=its, stderr=its, env=variables
    ) as process:
        os.close(its)
        written = b""
        while piece := _read(ours):
            written += piece
        code = process.wait(timeout=60)
    os.close(ours)
    return Seen(written.decode().replace("\r\n", "\n"), code)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux, where nobody holds the other end any more
        return b""


class Ended(NamedTuple):
    """How a command ended that was stopped."""

    returncode: int
    stdout: str
    stderr: str


def interrupted_when(mark: Path, *arguments: object, cwd: Path, kill: Callable[[int, int], None]) -> Ended:
    """SIGINT, when the file `mark` is there: by `os.kill`, or by `os.killpg`, as a terminal does it for a Ctrl-C."""
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
    """The processes that work in a directory, or below."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(str(directory)):
                found.append(process.pid)
    return found
