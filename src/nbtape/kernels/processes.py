"""Make private directories for sockets, connection files and logs, and kill processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How long to wait for killed processes to exit.
_KILL_TIMEOUT_SECONDS: Final = 0.3
#: Leaves room for "/nbtape-<process>-<8 letters>/socket-<port>".
_MAX_PARENT_BYTES: Final = 65


def make_private_directory() -> Path:
    """Make a directory for sockets, whose addresses are limited to 103 bytes on macOS and 107 on Linux."""
    parent = tempfile.gettempdir()
    if sys.platform != "win32" and len(os.fsencode(parent)) > _MAX_PARENT_BYTES:
        parent = "/tmp"  # noqa: S108  (the directory made in it has a random name)
    sweep(Path(parent))
    return Path(tempfile.mkdtemp(prefix=f"nbtape-{os.getpid()}-", dir=parent))


def sweep(parent: Path) -> None:
    """Remove directories that killed processes of this user left behind.

    This is harmless to a running process that is not visible (in another container): its connections stay open.
    """
    for directory in parent.glob("nbtape-*-*"):
        owner = directory.name.split("-")[1]
        with contextlib.suppress(OSError):
            if owner.isdecimal() and directory.stat().st_uid == os.getuid() and not is_running(int(owner)):
                shutil.rmtree(directory, ignore_errors=True)


def has_current_directory() -> bool:
    """Whether the current directory of this process still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def unblocking_sigint() -> dict[str, Any]:
    """Arguments for `Popen` that let the new process be interrupted although this thread blocks SIGINT.

    A process inherits the blocked signals of the thread that starts it. The thread itself keeps blocking SIGINT: its
    program may wait for it elsewhere.
    """
    if sys.platform == "win32" or signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []):
        return {}
    return {"preexec_fn": partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, [signal.SIGINT])}


def is_running(process: int) -> bool:
    """Whether a local process is running, whichever user owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_group(group: int) -> bool:
    """Kill all processes of a group; return whether any may be left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_groups(groups: Iterable[int]) -> None:
    """Kill all processes of some groups, and wait briefly for them to exit."""
    left = set(groups)
    deadline = time.monotonic() + _KILL_TIMEOUT_SECONDS
    while (left := set(filter(end_group, left))) and time.monotonic() < deadline:
        time.sleep(0.01)
