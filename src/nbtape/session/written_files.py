"""Finds the files that a block wrote or changed in its working directory."""

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

#: Time limits of one scan of the directory: CPU time, and wall time for slow network drives.
SCAN_CPU_SECONDS: Final = 0.05
SCAN_WALL_SECONDS: Final = 0.5
#: Bytes hashed after one block; of further files only the size is recorded.
MAX_HASHED_BYTES: Final = 256 << 20
#: Files listed after one block.
MAX_LISTED_FILES: Final = 1000

#: Directory entries between two checks of the time limits.
_BATCH_ENTRIES: Final = 64

_SKIPPED: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
#: Marks a virtual environment (PEP 405), whose thousands of files no block wrote.
_ENVIRONMENT: Final = "pyvenv.cfg"

#: Names of the files that the executors of this process record, by directory. Executors may share a directory, and
#: one must not report another's recording as written by its code.
_recordings: defaultdict[str, set[str]] = defaultdict(set)

#: Modification time, size and inode of a file.
Fingerprint = tuple[int, int, int]

#: Files by name, by directory.
_Files = dict[str, dict[str, Fingerprint]]


@dataclass(frozen=True, slots=True)
class Changes:
    """New and changed files since the last scan, sorted, and a note for the result if the list is incomplete."""

    paths: list[Path] = field(default_factory=list)
    note: str = ""


class WorkingDirectory:
    """A directory that is scanned after each block."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._seen = self._scan()

    def changes(self) -> Changes:
        """New and changed files since the last scan that completed."""
        now = self._scan()
        if now is None:
            return Changes(note=f"{self._root} is too large to look through: files that the code wrote are not listed.")
        before, self._seen = self._seen, now
        if before is None:
            return Changes()
        changed = sorted(_changed(before, now))
        unlisted = len(changed) - MAX_LISTED_FILES
        note = f"{unlisted:,} more files were written than are listed." if unlisted > 0 else ""
        return Changes([Path(path) for path in changed[:MAX_LISTED_FILES]], note)

    def _scan(self) -> _Files | None:
        """Fingerprints of all files; None if the scan takes too long."""
        work, deadline = time.thread_time() + SCAN_CPU_SECONDS, time.monotonic() + SCAN_WALL_SECONDS
        found: _Files = defaultdict(dict)
        for directory, entries in _walk(self._root):
            if time.thread_time() > work or time.monotonic() > deadline:
                return None
            files = found[directory]
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:  # deleted during the scan
                    continue
                if stat.S_ISREG(info.st_mode):
                    files[entry.name] = (info.st_mtime_ns, info.st_size, info.st_ino)
        return found


def recorded(path: Path) -> None:
    """Exclude a file of a recording from what executors of this process report."""
    _recordings[str(path.parent)].add(path.name)


def describe(paths: list[Path], root: Path) -> list[dict[str, Any]]:
    """Path relative to `root`, size in bytes and SHA-256 of each file. Reads the files, so it blocks."""
    described = []
    left = MAX_HASHED_BYTES
    for path in paths:
        size, digest = _digest(path, left)
        left -= size if digest else 0
        described.append({"path": Path(os.path.relpath(path, root)).as_posix(), "size": size, "sha256": digest})
    return described


def _digest(path: Path, limit: int) -> tuple[int, str | None]:
    """Size and hash of a file; does not wait for a pipe or follow a link that replaced it."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
                return info.st_size, None
            return info.st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return 0, None


def _changed(before: _Files, now: _Files) -> Iterator[str]:
    """Paths of new and changed files."""
    for directory, files in now.items():
        known = before.get(directory, {})
        if files != known:
            names = [name for name, print_ in files.items() if known.get(name) != print_ and not _is_ours(name)]
            yield from (_path(directory, name) for name in names)


def _walk(root: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """List the files of each directory from `root` down in batches, without recorded files.

    Follows no links and skips directories of tools. Entries are valid until the next batch is requested.
    """
    pending = [root]
    while pending:
        directory = pending.pop()
        ours = _recordings.get(directory, set())
        for batch in _batches(directory, os.O_NOFOLLOW if directory != root else 0):
            if directory != root and any(entry.name == _ENVIRONMENT for entry in batch):
                break
            entries = []
            # The code may have replaced a recorded file by a directory.
            for entry in [each for each in batch if each.name not in ours or each.is_dir(follow_symlinks=False)]:
                if not entry.is_dir(follow_symlinks=False):
                    entries.append(entry)
                elif entry.name not in _SKIPPED:
                    pending.append(_path(directory, entry.name))
            yield directory, entries


def _batches(directory: str, flags: int) -> Iterator[list[os.DirEntry[str]]]:
    """List a directory in batches, the last of them empty; no batches if it is not readable.

    It is read by a descriptor, which saves building and resolving a path for each entry.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | flags)
        try:
            with os.scandir(descriptor) as entries:
                batch = None
                while batch != []:
                    batch = list(itertools.islice(entries, _BATCH_ENTRIES))
                    yield batch
        finally:
            os.close(descriptor)


def _path(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _is_ours(name: str) -> bool:
    """Whether a file name is that of a draft or journal of any process."""
    return is_draft(name) or is_journal(name)
