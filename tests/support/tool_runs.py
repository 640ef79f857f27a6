"""What an agent in the tests of frameworks sends to its code tool, and what is seen of that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reading import code_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbtape import AsyncJupyterCodeExecutor, JupyterCodeExecutor

WRONG = "def fib(n):\n    return fib(n - 1) + fib(n - 2)\nseen = 'kept'\nprint(fibonacci(14))"
RIGHT = "a, b = 0, 1\nfor _ in range(14):\n    a, b = b, a + b\nprint(a, seen)"
FOREVER = "kept = 7\nprint('begun', flush=True)\nimport time\ntime.sleep(600)"
DIE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


def statuses(notebook: Path) -> list[str]:
    """Return the status of each block."""
    return [cell["metadata"]["nbtape"]["status"] for cell in code_cells(notebook)]


def telling(begun: asyncio.Event) -> Callable[[object], None]:
    """Return a listener that sets an event of this loop, from any thread."""
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        loop.call_soon_threadsafe(begun.set)

    return tell


async def stop(executor: JupyterCodeExecutor | AsyncJupyterCodeExecutor) -> None:
    """Stop either kind of executor."""
    stopping = executor.stop()
    if stopping is not None:
        await stopping
