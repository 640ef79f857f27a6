"""A file that is written beside its place and moved there: a reader sees the old one or the new one, whole."""

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

#: What tells one state of a file from another: its inode, its time, its size.
Version = tuple[int, int, int]


class NameTakenError(Exception):
    """There is a file of that name."""


def version_of(path: Path) -> Version | None:
    """The state of a file; None if there is none."""
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def publish(
    path: Path, size: int, chunks: Iterable[bytes | memoryview], move: Callable[[Path, Path], None]
) -> tuple[WriterLock | None, Version | None]:
    """Write a file of our own, lock it, and move it into place; return the lock, if there are locks, and its state.

    Args:
        path: Its place.
        size: How many bytes there are.
        chunks: The bytes.
        move: What moves it there: `os.replace`, `move_to_free_place`, or what checks something before.

    Raises:
        OSError: It cannot be written; nothing is left of it then.
    """
    draft = draft_of(path)
    mode = writable_mode(path)
    try:
        create_file(draft, chunks, size=size, mode=mode)
        lock, version = _lock(draft), version_of(draft)
        move(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return lock, version


def is_draft(name: str) -> bool:
    """Whether a name is that of a notebook being written, by whichever process."""
    return name.startswith(".") and ".ipynb." in name and name.endswith(".tmp")


def places(directory: Path, name: str, suffix: str = ".ipynb") -> Iterator[Path]:
    """Where nothing of that name is now: `name.ipynb`, or `name-2.ipynb` and so on where that is taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    for path in (directory / f"{each}{suffix}" for each in names):
        if not os.path.lexists(path):
            yield path


def move_to_free_place(draft: Path, path: Path) -> None:
    """Put a file where none is.

    Raises:
        NameTakenError: There is one.
    """
    try:
        os.link(draft, path)
    except FileExistsError as exc:
        raise NameTakenError from exc
    except OSError:  # a file system without hard links: the name is taken first, empty for a moment
        _take_name(path)
        draft.replace(path)
    else:
        draft.unlink()


def writable_mode(path: Path) -> int | None:
    """The permissions of the file at `path`, None if there is none, or but a link that somebody put there.

    A rename needs no permission on the file it replaces, and root needs none at all; but who marks a file read-only
    means it.

    Raises:
        PermissionError: The file is marked read-only.
    """
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(found)
    if not stat.S_ISREG(found):
        return None
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


def _lock(draft: Path) -> WriterLock | None:
    """Lock a file before it is put into place; code that locks it first, to vex us, does not keep us from saving."""
    with contextlib.suppress(NotebookInUseError):
        return WriterLock.take(draft)
    return None


def _take_name(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError as exc:
        raise NameTakenError from exc
