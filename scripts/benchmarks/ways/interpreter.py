"""An interpreter that imports a module, or nothing: from its start to its exit."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run(program: str) -> Iterator[Callable[[], dict[str, float]]]:
    """`python -c program`."""

    def step() -> dict[str, float]:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  (ours)
        return {"wall": time.perf_counter() - began}

    yield step
