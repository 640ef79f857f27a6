"""Work that waits for a disk, kept off the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def offload(work: Callable[[], T]) -> T:
    """Do the work in a thread, or here if the interpreter is ending and takes no more work for threads."""
    try:
        future = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        return work()
    return await future
