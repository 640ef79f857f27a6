"""Allow one writer per file, with a lock on the file itself that is released when the process exits.

Each save replaces the file, so each new file is locked before it is moved into place. No cleanup is needed.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import TYPE_CHECKING, Final, Self

from nbtape.common.untrusted_files import Directory
from nbtape.errors import NotebookInUseError

try:
    import fcntl
except ImportError:  # on Windows, an open file cannot be replaced, so nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

#: Maximum attempts to lock while others replace the file or hold a shared lock, and the time between attempts.
_MAX_ATTEMPTS: Final = 100
_ATTEMPT_SECONDS: Final = 0.001


class WriterLock:
    """The right to write one file, until `release` or process exit; made from an open, locked descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def take(cls, directory: Directory, name: str) -> Self | None:
        """Lock a file; None if that is not possible, as on some network drives, or because code keeps replacing it.

        Raises NotebookInUseError if another writer holds the lock.
        """
        for _ in range(_MAX_ATTEMPTS):
            if fcntl is None:
                return None
            try:
                # Open it read-only, so that the disk can still be remounted read-only. NFS refuses this lock.
                lock = cls(directory.open(name))
            except OSError:
                return None
            try:
                fcntl.flock(lock._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.is_on(directory, name):  # otherwise it was replaced in the meantime
                    return lock
            except BlockingIOError as exc:
                # Otherwise, another process holds a shared lock, not a writer: `is_locked` takes one briefly.
                if is_locked(lock._descriptor):
                    raise NotebookInUseError(directory.path / name) from exc
                time.sleep(_ATTEMPT_SECONDS)
            except OSError:
                return None
        return None

    def is_on(self, directory: Directory, name: str) -> bool:
        """Whether the locked file has this name."""
        with contextlib.suppress(OSError):
            found = directory.status(name)
            return found is not None and os.path.samestat(os.fstat(self._descriptor), found)
        return False

    def release(self) -> None:
        """Let others write. Unlocks explicitly, because a fork of this process may have the file open too."""
        if self._close.alive and fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._close()


def is_locked(descriptor: int) -> bool | None:
    """Whether a writer has locked an open file; None if that is unknown.

    Takes a shared lock briefly. This does not disturb a writer, which locks a file before it becomes visible.
    """
    is_free = _is_free(descriptor, exclusive=False)
    return None if is_free is None else not is_free


def is_being_written(path: Path) -> bool:
    """Whether a writer has locked the file at `path`; False if that is unknown."""
    with Directory(path.parent) as directory:
        try:
            descriptor = directory.open(path.name)
        except OSError:
            return False
    try:
        return is_locked(descriptor) is True
    finally:
        os.close(descriptor)


def can_be_locked(descriptor: int) -> bool:
    """Whether `WriterLock.take` works for an open file; it does not on some network drives."""
    return _is_free(descriptor, exclusive=True) is not None


def _is_free(descriptor: int, *, exclusive: bool) -> bool | None:
    """Whether a lock is available; None if the file system does not support it."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
