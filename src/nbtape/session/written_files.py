"""Find the files that a block wrote or changed in its working directory."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import stat
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.concurrency import offload
from nbtape.common.text import plural
from nbtape.common.tree_copy import COPY_PREFIX
from nbtape.common.untrusted_files import Directory, Tree
from nbtape.notebook.atomic_write import is_draft
from nbtape.notebook.journal import is_journal

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

#: Time limits of one scan of the directory: CPU time, and wall time for slow network drives.
SCAN_CPU_SECONDS: Final = 0.05
SCAN_WALL_SECONDS: Final = 0.5
#: Maximum bytes hashed after one block; for further files, only the size is recorded.
MAX_HASHED_BYTES: Final = 256 << 20
_CHUNK_BYTES: Final = 1 << 20
#: Maximum number of files listed after one block.
MAX_LISTED_FILES: Final = 1000

#: Directory entries between two checks of the time limits.
_BATCH_ENTRIES: Final = 64

_SKIPPED: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
#: Marks a virtual environment (PEP 405), whose thousands of files are not listed.
_ENVIRONMENT: Final = "pyvenv.cfg"

#: Names of the recording files of this process's executors, by directory. Executors may share a directory, and must
#: not report each other's recordings as files that their code wrote.
_recordings: defaultdict[str, set[str]] = defaultdict(set)

#: Modification time, size and inode of a file.
Fingerprint = tuple[int, int, int]

#: Fingerprints by file name, by directory.
_Files = dict[str, dict[str, Fingerprint]]


@dataclass(frozen=True, slots=True)
class Changes:
    """New and changed files since the last scan, sorted, and a note for the result if the list is incomplete.

    `created` has the paths, relative to the directory, of those that did not exist before: of a file, or of the topmost
    new directory above it.
    """

    paths: list[Path] = field(default_factory=list)
    note: str = ""
    created: list[str] = field(default_factory=list)


class WorkingDirectory:
    """A directory that is scanned after each block."""

    def __init__(self, root: Directory | Path) -> None:
        self.directory = Directory.of(root)
        self._seen = self._first = self._scan()

    def changes(self) -> Changes:
        """New and changed files since the last completed scan."""
        now = self._scan()
        if now is None:
            note = "The working directory has too many files to scan: files that the code wrote are not listed."
            return Changes(note=note)
        before, self._seen = self._seen, now
        if before is None:
            return Changes()
        changed = sorted(_changed(before, now))
        unlisted = len(changed) - MAX_LISTED_FILES
        note = f"{plural(unlisted, 'more written file')} not listed." if unlisted > 0 else ""
        paths = [Path(path) for path in changed[:MAX_LISTED_FILES]]
        created = dict.fromkeys(found for path in paths if (found := self._created(path, before)))
        return Changes(paths, note, [*created])

    async def facts(self, changes: Changes) -> dict[str, Any]:
        """The files of changes, for the metadata of a cell."""
        files = await offload(describe, changes.paths, self.directory) if changes.paths else []
        return {"files": files, "created": changes.created}

    def _created(self, path: Path, before: _Files) -> str:
        """The topmost part of the path of a file that did not exist before; empty if the file did.

        What was there when the recording began and was deleted since is not new.
        """
        scans = (before, self._first or {})
        if any(path.name in files.get(str(path.parent), {}) for files in scans):
            return ""
        root = self.directory.path
        while path.parent != root and not any(str(path.parent) in files for files in scans):
            path = path.parent
        return path.relative_to(root).as_posix()

    def _scan(self) -> _Files | None:
        """Fingerprints of all files; None if the scan takes too long."""
        work, deadline = time.thread_time() + SCAN_CPU_SECONDS, time.monotonic() + SCAN_WALL_SECONDS
        found: _Files = defaultdict(dict)
        for directory, entries in _walk(self.directory):
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
    """Exclude a file of a recording from the files that executors of this process report."""
    _recordings[str(path.parent)].add(path.name)


def describe(paths: list[Path], root: Directory | Path) -> list[dict[str, Any]]:
    """Path relative to `root`, size in bytes and SHA-256 of each file. Reads the files, so it blocks."""
    described = []
    left = MAX_HASHED_BYTES
    with Directory.of(root).copy() as directory:  # the caller is in another thread
        for path in paths:
            name = path.relative_to(directory.path)
            size, digest = digest_of(directory, name.parts, left)
            left -= size if digest else 0
            described.append({"path": name.as_posix(), "size": size, "sha256": digest})
    return described


def digest_of(root: Directory, parts: Sequence[str], limit: int) -> tuple[int, str | None]:
    """Size and hash of a file; no hash if it is too large, has several hard links, or is no longer a file."""
    *above, name = parts
    size = 0
    with contextlib.suppress(OSError), root.below(*above) as directory:
        found = directory.status(name)
        size = 0 if found is None else found.st_size
        with directory.reading(name, limit) as file:
            hashed = hashlib.sha256()
            size = 0
            while chunk := file.read(_CHUNK_BYTES):
                hashed.update(chunk)
                size += len(chunk)
                if size > limit:  # it grew while it was read
                    return size, None
            return size, hashed.hexdigest()
    return size, None


def _changed(before: _Files, now: _Files) -> Iterator[str]:
    """Paths of new and changed files."""
    for directory, files in now.items():
        known = before.get(directory, {})
        if files != known:
            names = [name for name, print_ in files.items() if known.get(name) != print_ and not _is_ours(name)]
            yield from (_path(directory, name) for name in names)


def _walk(root: Directory) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """List the files of each directory from `root` down in batches, without the files of recordings.

    Does not follow links, and skips directories of tools. Entries are valid until the next batch is requested.
    """
    pending: list[tuple[str, ...]] = [()]
    with contextlib.suppress(OSError), contextlib.closing(Tree(root)) as tree:
        while pending:
            parts = pending.pop()
            directory = str(root.path.joinpath(*parts))
            ours = _recordings.get(directory, set())
            for batch in _batches(tree, parts):
                if parts and any(entry.name == _ENVIRONMENT for entry in batch):
                    break
                entries = []
                # The code may have replaced a file of a recording with a directory.
                for entry in [each for each in batch if each.name not in ours or each.is_dir(follow_symlinks=False)]:
                    if not entry.is_dir(follow_symlinks=False):
                        entries.append(entry)
                    elif entry.name not in _SKIPPED and not entry.name.startswith(COPY_PREFIX):
                        pending.append((*parts, entry.name))
                yield directory, entries


def _batches(tree: Tree, parts: Sequence[str]) -> Iterator[list[os.DirEntry[str]]]:
    """List a directory in batches, ending with an empty one; no batches if it is not readable."""
    with contextlib.suppress(OSError), tree.entries(parts) as entries:
        batch = None
        while batch != []:
            batch = list(itertools.islice(entries, _BATCH_ENTRIES))
            yield batch


def _path(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _is_ours(name: str) -> bool:
    """Whether a file name is that of a draft or a journal, from any process."""
    return is_draft(name) or is_journal(name)
