"""Commands of ours in processes of their own, as a person or a program runs them."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Variables by which a terminal is known.
TERMINALS = {"TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX", "STY"}


class Watching:
    """`nbtape watch` in a process of its own, on a terminal or not."""

    def __init__(self, *arguments: object, cwd: Path, terminal: dict[str, str] | None = None) -> None:
        ours, its = os.pipe() if terminal is None else pty.openpty()
        our_error, its_error = os.pipe()
        environment = {name: value for name, value in os.environ.items() if name not in TERMINALS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nbtape", "watch", *map(str, arguments)],
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
    """Read what is written until nobody holds the other end; Linux tells that of a terminal by an error."""
    with contextlib.suppress(OSError):
        while piece := os.read(file, 65536):
            into += piece
    os.close(file)
