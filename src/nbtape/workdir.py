"""Which files a block wrote or changed in its working directory."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that one look through the directory may take of a processor; and by the clock, which runs on while others
#: work, or a network drive is slow.
LOOK_LIMIT: Final = 0.05
WAIT_LIMIT: Final = 0.5
#: Bytes that are hashed after one block; files beyond that are recorded by their size alone.
HASH_LIMIT: Final = 256 << 20
#: Files that are listed after one block.
LIST_LIMIT: Final = 1000

_SKIPPED: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})

#: Files that the executors of this process record. Two of them may share a directory, and neither's notebook is a
#: work of the other's code.
_recordings: set[str] = set()

Fingerprint = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new since the last look.

    Args:
        paths: New and changed files, by name.
        note: A sentence for the result where the list is not the whole truth, else empty.
    """

    paths: list[Path] = field(default_factory=list)
    note: str = ""


class WorkingDirectory:
    """A directory that is looked at again and again.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._look()

    def changes(self) -> Changes:
        """New and changed files since the last look that went through."""
        now = self._look()
        if now is None:
            return Changes(note=f"{self._root} is too large to look through: files that the code wrote are not listed.")
        before, self._seen = self._seen, now
        if before is None:
            return Changes()
        changed = sorted(path for path, print_ in now.items() if before.get(path) != print_)
        unlisted = len(changed) - LIST_LIMIT
        note = f"{unlisted:,} more files were written than are listed." if unlisted > 0 else ""
        return Changes([Path(path) for path in changed[:LIST_LIMIT]], note)

    def _look(self) -> dict[str, Fingerprint] | None:
        """All files with what tells one state of them from another; None if that takes too long."""
        work, deadline = time.thread_time() + LOOK_LIMIT, time.monotonic() + WAIT_LIMIT
        found: dict[str, Fingerprint] = {}
        for entry in _walk(self._root):
            if time.thread_time() > work or time.monotonic() > deadline:
                return None
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:  # it went away while we looked
                continue
            if stat.S_ISREG(info.st_mode) and entry.path not in _recordings and not _is_draft(entry.name):
                found[entry.path] = (info.st_mtime_ns, info.st_size, info.st_ino)
        return found


def recorded(path: Path) -> None:
    """`path` is a recording: no executor of this process is to take it for a work of its code."""
    _recordings.add(str(path))


def describe(paths: list[Path], root: Path) -> list[dict[str, Any]]:
    """Path (relative to `root`), size in bytes and SHA-256 of each file. Reads them: not for an event loop.

    Args:
        paths: The files.
        root: The directory of the notebook.
    """
    described = []
    left = HASH_LIMIT
    for path in paths:
        size, digest = _digest(path, left)
        left -= size if digest else 0
        described.append({"path": Path(os.path.relpath(path, root)).as_posix(), "size": size, "sha256": digest})
    return described


def _digest(path: Path, limit: int) -> tuple[int, str | None]:
    """Size and hash of a file, without waiting for a pipe or following a link that took its place."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
                return info.st_size, None
            return info.st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return 0, None


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below `root`; no link is followed, no directory of tools entered."""
    pending = [str(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False) and entry.name not in _SKIPPED:
                        pending.append(entry.path)
        except OSError:  # gone, or not ours to read
            continue


def _is_draft(name: str) -> bool:
    """Whether a name is that of a notebook being written, by whichever process."""
    return name.startswith(".") and ".ipynb." in name and name.endswith(".tmp")
