"""Which files a block wrote or changed in its working directory."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.atomic_write import is_draft
from nbtape.notebook.journal import is_journal

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

#: Entries between two glances at the clock.
_BATCH: Final = 64

_SKIPPED: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
#: The file by which a virtual environment is known (PEP 405), with thousands of files that no code has written.
_ENVIRONMENT: Final = "pyvenv.cfg"

#: Names of the files that the executors of this process record, by directory: thousands of pictures may lie in one,
#: and are told by their names alone. Two executors may share a directory, and neither's notebook is a work of the
#: other's code.
_recordings: defaultdict[str, set[str]] = defaultdict(set)

#: What tells one state of a file from another: its time, its size, its inode.
Fingerprint = tuple[int, int, int]

#: Files by name, by directory.
_Files = dict[str, dict[str, Fingerprint]]


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
        self._root = str(root)
        self._seen = self._look()

    def changes(self) -> Changes:
        """New and changed files since the last look that went through."""
        now = self._look()
        if now is None:
            return Changes(note=f"{self._root} is too large to look through: files that the code wrote are not listed.")
        before, self._seen = self._seen, now
        if before is None:
            return Changes()
        changed = sorted(_changed(before, now))
        unlisted = len(changed) - LIST_LIMIT
        note = f"{unlisted:,} more files were written than are listed." if unlisted > 0 else ""
        return Changes([Path(path) for path in changed[:LIST_LIMIT]], note)

    def _look(self) -> _Files | None:
        """All files with what tells one state of them from another; None if that takes too long."""
        work, deadline = time.thread_time() + LOOK_LIMIT, time.monotonic() + WAIT_LIMIT
        found: _Files = defaultdict(dict)
        for directory, entries in _walk(self._root):
            if time.thread_time() > work or time.monotonic() > deadline:
                return None
            files = found[directory]
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:  # it went away while we looked
                    continue
                if stat.S_ISREG(info.st_mode):
                    files[entry.name] = (info.st_mtime_ns, info.st_size, info.st_ino)
        return found


def recorded(path: Path) -> None:
    """`path` is a recording: no executor of this process is to take it for a work of its code."""
    _recordings[str(path.parent)].add(path.name)


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


def _changed(before: _Files, now: _Files) -> Iterator[str]:
    """Paths of the files that are new or other than they were."""
    for directory, files in now.items():
        known = before.get(directory, {})
        if files != known:
            names = [name for name, print_ in files.items() if known.get(name) != print_ and not _is_ours(name)]
            yield from (_path(directory, name) for name in names)


def _walk(root: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """What lies in each directory from `root` down, a batch at a time, without directories and files of ours.

    No link is followed, no directory of tools entered. Entries are to be used before the next batch is asked for.
    """
    pending = [root]
    while pending:
        directory = pending.pop()
        ours = _recordings.get(directory, set())
        for batch in _batches(directory, os.O_NOFOLLOW if directory != root else 0):
            if directory != root and any(entry.name == _ENVIRONMENT for entry in batch):
                break
            entries = []
            # Where a file of ours was, the code may have made a directory.
            for entry in [each for each in batch if each.name not in ours or each.is_dir(follow_symlinks=False)]:
                if not entry.is_dir(follow_symlinks=False):
                    entries.append(entry)
                elif entry.name not in _SKIPPED:
                    pending.append(_path(directory, entry.name))
            yield directory, entries


def _batches(directory: str, flags: int) -> Iterator[list[os.DirEntry[str]]]:
    """A directory in batches, the last of them empty; none if it is gone, or not ours to read.

    It is read by a descriptor, so that no entry needs a path of its own, to be built and to be looked up.

    Args:
        directory: Its path.
        flags: For `open`, besides those that any directory needs.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | flags)
        try:
            with os.scandir(descriptor) as entries:
                batch = None
                while batch != []:
                    batch = list(itertools.islice(entries, _BATCH))
                    yield batch
        finally:
            os.close(descriptor)


def _path(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _is_ours(name: str) -> bool:
    """Whether a name is that of a recording beside its notebook, by whichever process."""
    return is_draft(name) or is_journal(name)
