"""One writer for a file: a lock that lies on the file itself, and ends with the process that has it.

The writer of a notebook replaces it at each save. So each new file is locked before it is put into place, and whoever
opens the notebook finds a lock on what is there. Nothing lies beside it that would have to be cleaned up.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Self

from nbtape.errors import NotebookInUseError

try:
    import fcntl
except ImportError:  # Windows: there a file that is open cannot be replaced, and nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    """The right to write one file, until `release` or the end of the process.

    Args:
        descriptor: The file, open and locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock the file that is at `path`; None where that cannot be done, as on some network drives.

        Raises:
            NotebookInUseError: Somebody else has it locked.
        """
        while fcntl is not None:
            try:
                # Open for reading alone, so that the disk can still be mounted read-only; NFS has no such locks then.
                lock = cls(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
                fcntl.flock(lock._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock._descriptor), path.stat()):  # else it was replaced meanwhile
                    return lock
            except BlockingIOError as exc:
                if is_locked(lock._descriptor):  # else somebody only looks whether it is, and is done in a moment
                    raise NotebookInUseError(path) from exc
            except OSError:
                return None
        return None

    def is_on(self, path: Path) -> bool:
        """Whether it is the file at `path` that is locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Let others write. A fork of ours may have the file open as well: it is unlocked, and not only closed."""
        if self._close.alive and fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._close()


def is_locked(descriptor: int) -> bool | None:
    """Whether somebody has the right to write a file; None where nobody can tell.

    It is asked with a lock that any number may have at once, and given back in the same moment. A writer has its own by
    then: it locks a file before that is to be seen.

    Args:
        descriptor: The file, open for reading.
    """
    is_free = _is_free(descriptor, exclusive=False)
    return None if is_free is None else not is_free


def can_be_locked(descriptor: int) -> bool:
    """Whether `WriterLock.take` could lock such a file, where nobody has: not on some network drives.

    Args:
        descriptor: The file, open for reading.
    """
    return _is_free(descriptor, exclusive=True) is not None


def _is_free(descriptor: int, *, exclusive: bool) -> bool | None:
    """Whether a lock can be had, for a moment; None where there are none of its kind."""
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
