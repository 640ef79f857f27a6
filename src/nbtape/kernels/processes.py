"""Directories that only we can open, for sockets, connection files and logs; and those that killed processes left."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

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
