"""The process groups of kernels: a kernel and what its code has started end together."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds that killed processes have to be gone.
_PATIENCE: Final = 0.3


def end_group(group: int) -> bool:
    """Kill all processes of a group; whether there may be some."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def see_groups_end(groups: Iterable[int]) -> None:
    """Kill all processes of some groups, and return when they are gone, or soon."""
    left = set(groups)
    deadline = time.monotonic() + _PATIENCE
    while (left := set(filter(end_group, left))) and time.monotonic() < deadline:
        time.sleep(0.01)
