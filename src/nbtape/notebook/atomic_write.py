"""Atomic writes: a file is written beside its place and moved there, so readers see the old or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Final

from nbtape.common.new_files import create_file, draft_of
from nbtape.errors import NotebookInUseError
from nbtape.notebook.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

#: Identifies one state of a file: its inode, modification time and size.
Version = tuple[int, int, int]


class NameTakenError(Exception):
    """A file of that name exists."""


def version_of(path: Path) -> Version | None:
    """The state of a file; None if it does not exist."""
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def publish(
    path: Path, size: int, chunks: Iterable[bytes | memoryview], move: Callable[[Path, Path], None]
) -> tuple[WriterLock | None, Version | None]:
    """Write `size` bytes to a draft, lock it, and let `move` put it at `path`; return its lock, if any, and its state.

    Raises OSError if that fails, and leaves nothing behind.
    """
    draft = draft_of(path)
    mode = writable_mode(path)
    try:
        create_file(draft, chunks, size=size, mode=mode)
        lock = None
        with contextlib.suppress(NotebookInUseError):  # code that locks the draft first must not prevent saving
            lock = WriterLock.take(draft)
        version = version_of(draft)
        move(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return lock, version


def is_draft(name: str) -> bool:
    """Whether a file name is that of a notebook being written, by any process."""
    return name.startswith(".") and ".ipynb." in name and name.endswith(".tmp")


def places(directory: Path, name: str, suffix: str = ".ipynb") -> Iterator[Path]:
    """Free paths for a file: `name.ipynb`, or `name-2.ipynb` and so on if that is taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    for path in (directory / f"{each}{suffix}" for each in names):
        if not os.path.lexists(path):
            yield path


def move_to_free_place(draft: Path, path: Path) -> None:
    """Move a file to a path where there is none; raises NameTakenError if there is one."""
    try:
        os.link(draft, path)
    except FileExistsError as exc:
        raise NameTakenError from exc
    except OSError:  # a file system without hard links
        _reserve(path)
        draft.replace(path)
    else:
        draft.unlink()


def _reserve(path: Path) -> None:
    """Take a name with an empty file."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError as exc:
        raise NameTakenError from exc


def writable_mode(path: Path) -> int | None:
    """The permissions of a regular file; None if there is none. Raises PermissionError if it is marked read-only.

    Renaming ignores the permissions of the file that it replaces, but people who mark a file read-only mean it.
    """
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        return None
    mode = stat.S_IMODE(found)
    if not mode & 0o222:
        raise PermissionError(errno.EACCES, "it is marked read-only")
    return mode


_ADVICE: Final = {
    errno.ENOSPC: "the disk is full. Free some space.",
    errno.EDQUOT: "the disk quota is used up. Free some space.",
    errno.ENOENT: "its directory is gone. Make it again.",
    errno.EACCES: "permission denied (is it marked read-only?). Make it writable, for example with chmod u+w.",
    errno.EROFS: "the file system is read-only. Mount it writable.",
}


def advice(exc: OSError) -> str:
    """Why a file cannot be written, and what to do."""
    return _ADVICE.get(exc.errno or 0, f"{exc.strerror or exc}.")
