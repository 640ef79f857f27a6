"""Takes steps of one way, in the environment of a peer, as requested on its standard input.

Usage: python probe.py MODULE:FUNCTION [ARGUMENT]...

It prints `0` once it is ready. Each input line is a number of steps, answered by a line with their measurements. At the
end of the input it finishes the way and prints how many seconds that took. It imports only modules that an empty
interpreter has loaded anyway: a step may measure imports.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module


def main() -> None:
    """Take the steps."""
    # Output of kernels and libraries goes to stderr.
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
    """Take as many steps as each line requests."""
    while line := sys.stdin.readline():
        answers.write(f"{[step() for _ in range(int(line))]!r}\n")


if __name__ == "__main__":
    main()
