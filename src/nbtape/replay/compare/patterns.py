"""Apply user-supplied patterns in a process that can be killed, because Python's `re` cannot be interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from nbtape.common.finalizers import when_forgotten

if TYPE_CHECKING:
    import weakref
    from collections.abc import Sequence

#: Time limit of the patterns for all lines of one cell.
TIMEOUT_SECONDS: Final = 5.0

MASK: Final = "⟦extra⟧"

#: Reads the patterns and the mask, then lines, and writes each line masked. It exits at the end of its input, when a
#: line grows too long (a pattern may match between any two characters), and when it needs more than 1 GiB.
_PROGRAM: Final = """
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
except (ImportError, OSError, ValueError):
    pass
patterns, mask = json.loads(sys.stdin.readline())
compiled = [re.compile(pattern) for pattern in patterns]
for line in sys.stdin:
    text = json.loads(line)
    for pattern in compiled:
        text = pattern.sub(lambda _: mask, text)
        if len(text) > 2_000_000:
            sys.exit(1)
    print(json.dumps(text), flush=True)
"""


class PatternsError(Exception):
    """The patterns cannot be applied: they took too long, or too much memory."""


class Patterns:
    """Masks the matches of patterns. Starts its process with the first line; `close` it when the cell is judged."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._end: weakref.finalize[..., Patterns] | None = None
        self._timer: threading.Timer | None = None

    def mask(self, patterns: Sequence[str], line: str) -> str:
        """Mask the matches of all patterns in a line; raises PatternsError if that takes too long for this cell."""
        process = self._process or self._start(patterns)
        assert process.stdin is not None, "it has pipes"
        assert process.stdout is not None, "it has pipes"
        try:
            process.stdin.write(f"{json.dumps(line)}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        if not answer.endswith("\n"):
            raise PatternsError(
                f"the patterns in extra= took more than {TIMEOUT_SECONDS:g} s or too much memory. Simplify them."
            )
        return str(json.loads(answer))

    def _start(self, patterns: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
        )
        self._process = process
        self._end = when_forgotten(self, _kill, process)
        self._timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
        self._timer.daemon = True
        self._timer.start()
        assert process.stdin is not None, "it has pipes"
        process.stdin.write(f"{json.dumps([list(patterns), MASK])}\n")
        return process

    def close(self) -> None:
        """Kill the process."""
        if self._timer is not None:
            self._timer.cancel()
        if self._end is not None:
            self._end()
        self._process = self._end = self._timer = None


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # unsent data
                continue
