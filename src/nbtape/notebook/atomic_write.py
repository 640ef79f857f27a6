"""Write files atomically: write a draft and rename it, so that readers see the whole old or the whole new file."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import draft_of, status_of
from nbtape.errors import NotebookInUseError
from nbtape.notebook.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from nbtape.common.untrusted_files import Directory

#: Identifies one state of a file: its inode, modification time and size.
Version = tuple[int, int, int]


def version_of(path: Path) -> Version | None:
    """The state of the file or other entry at a path; None if it is missing."""
    return version(status_of(path))


def version(status: os.stat_result | None) -> Version | None:
    """The state of an entry with this status."""
    return None if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)


def publish(
    directory: Directory,
    name: str,
    size: int,
    chunks: Iterable[bytes | memoryview],
    move: Callable[[str, str], None],
) -> tuple[WriterLock | None, Version | None]:
    """Write `size` bytes to a draft, lock it, and rename it to `name` with `move`; return its lock, if any, and state.

    Raises OSError if that fails, and leaves nothing behind.
    """
    draft = draft_of(name)
    mode = writable_mode(directory, name)
    try:
        written = directory.write_new(draft, chunks, size=size, mode=mode)
        lock = None
        with contextlib.suppress(NotebookInUseError):  # code must not prevent saving by locking the draft first
            lock = WriterLock.take(directory, draft)
        found = _unchanged(directory.status(draft), written)
        move(draft, name)
    except BaseException:
        with contextlib.suppress(OSError):
            directory.remove(draft)
        raise
    return lock, version(found)


def _unchanged(found: os.stat_result | None, written: os.stat_result) -> os.stat_result:
    """The status of a draft; raises OSError if something has replaced it, which may even have the same inode."""
    if found is None or (found.st_ino, found.st_mode, found.st_size) != (
        written.st_ino,
        written.st_mode,
        written.st_size,
    ):
        raise OSError(errno.EBUSY, "another process replaces its temporary files. Stop that process")
    return found


def is_draft(name: str) -> bool:
    """Whether a file name is that of a notebook being written, by any process."""
    return name.startswith(".") and ".ipynb." in name and name.endswith(".tmp")


def places(directory: Path, name: str, suffix: str = ".ipynb") -> Iterator[Path]:
    """Free paths for a file: `name.ipynb`, then `name-2.ipynb` and so on."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    for path in (directory / f"{each}{suffix}" for each in names):
        if not os.path.lexists(path):
            yield path


def writable_mode(directory: Directory, name: str) -> int | None:
    """The permissions of a regular file; None if it is missing. Raises PermissionError if it is read-only.

    A rename would ignore the permissions of the replaced file, but a read-only file must not be changed.
    """
    found = directory.status(name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o222:
        raise PermissionError(errno.EACCES, "it is marked read-only")
    return mode


_ADVICE: Final = {
    errno.ENOSPC: "the disk is full. Free some space.",
    errno.EDQUOT: "the disk quota is used up. Free some space.",
    errno.ENOENT: "its directory does not exist. Create it.",
    errno.EACCES: "permission denied. Make the file and its directory writable, for example with chmod u+w.",
    errno.EISDIR: "it is a directory. Rename or remove that directory.",
    errno.ENOTDIR: "its parent is a file, not a directory. Create the directory.",
    errno.EROFS: "the file system is read-only. Mount it writable.",
}


def advice(exc: OSError) -> str:
    """The cause of a failed write, and the remedy."""
    return _ADVICE.get(exc.errno or 0, f"{exc.strerror or exc}.")
