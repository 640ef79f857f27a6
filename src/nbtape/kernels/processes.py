"""Directories that only we can open, for sockets, connection files and logs; and those that killed processes left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


#: Seconds that killed processes have to be gone.
_PATIENCE: Final = 0.3


#: What leaves room for "/nbtape-<process>-<8 letters>/socket-<port>".
_LONGEST_PARENT: Final = 65


def make_private_directory() -> Path:
    """A directory for sockets: an address of theirs has at most 103 bytes on macOS, 107 on Linux."""
    parent = tempfile.gettempdir()
    if sys.platform != "win32" and len(os.fsencode(parent)) > _LONGEST_PARENT:
        parent = "/tmp"  # noqa: S108  (in it, a directory of a name that nobody can guess)
    sweep(Path(parent))
    return Path(tempfile.mkdtemp(prefix=f"nbtape-{os.getpid()}-", dir=parent))


def sweep(parent: Path) -> None:
    """Remove the directories of our user's processes that were killed and could not do it themselves.

    Should one of them belong to a process that is alive where we cannot see it (another container), no harm is done:
    its connections stand.
    """
    for directory in parent.glob("nbtape-*-*"):
        owner = directory.name.split("-")[1]
        with contextlib.suppress(OSError):
            if owner.isdecimal() and directory.stat().st_uid == os.getuid() and not is_running(int(owner)):
                shutil.rmtree(directory, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether a process of this machine runs, anybody's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
