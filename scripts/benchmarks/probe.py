"""Takes steps of one way, in the environment of a peer, as often as it is told to on its standard input.

Usage: python probe.py MODULE:FUNCTION [ARGUMENT]...

It says `0` once it is ready. Each line that it reads is a number of steps, and is answered by a line with what they
measured. At the end of the input it ends the way and says how many seconds that took. Nothing is imported here that
an empty interpreter does not have anyway: a step may measure imports.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module


def main() -> None:
    """Take the steps."""
    # Kernels and libraries print, too. That goes where errors go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    module, function = sys.argv[1].split(":")
    way = getattr(import_module(f"benchmarks.ways.{module}"), function)(*sys.argv[2:])
    step = next(way)
    answers.write("0\n")
    if "NBTAPE_BENCH_PROFILE" in os.environ:
        from benchmarks.profiling import profiled

        with profiled():
            take(step, answers)
    else:
        take(step, answers)
    began = time.perf_counter()
    next(way, None)
    answers.write(f"{time.perf_counter() - began!r}\n")


def take(step, answers) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  (typing is not imported here)
    """Take as many steps as each line says."""
    while line := sys.stdin.readline():
        answers.write(f"{[step() for _ in range(int(line))]!r}\n")


if __name__ == "__main__":
    main()
