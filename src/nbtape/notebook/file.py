"""The file of a notebook that nbtape writes, with its lock and its journal. It handles bytes, not cells."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import Directory
from nbtape.errors import NotebookWriteError
from nbtape.notebook.atomic_write import advice, publish, version, writable_mode
from nbtape.notebook.external_edits import OutOfBand
from nbtape.notebook.journal import Journal
from nbtape.notebook.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nbtape.notebook.journal import Kind

#: Number and bytes of replaced files from which closing them is worthwhile.
_MAX_REPLACED_FILES: Final = 8
_MAX_REPLACED_BYTES: Final = 1 << 18


class NotebookFile:
    """The file at one path, its `journal`, and changes by `others`; writing it never overwrites unseen changes.

    For `untrusted`, see `Directory`.
    """

    def __init__(self, path: Path, untrusted: Iterable[Path] = ()) -> None:
        self.path = path
        self.directory = Directory(path.parent, untrusted)
        self.journal = Journal(self.directory, path.name)
        self.others = OutOfBand(self.directory, path)
        self._lock: WriterLock | None = None
        self._replaced: list[WriterLock] = []
        self._replaced_bytes = 0

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Lock an existing notebook; unlock it if the body of the `with` block fails.

        Raises NotebookInUseError if another executor writes it, NotebookWriteError if it is read-only.
        """
        with self.reporting():
            self.directory.refresh()
        self._lock = WriterLock.take(self.directory, self.path.name)
        try:
            with self.reporting():
                self.others.known = version(self.directory.status(self.path.name))
                self.others.own_bytes = self.others.known[2] if self.others.known else 0
                writable_mode(self.directory, self.path.name)
                yield
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn an OSError into a NotebookWriteError with a remedy."""
        try:
            yield
        except OSError as exc:
            raise NotebookWriteError(self.path, advice(exc)) from exc

    def publish(self, chunks: Iterable[bytes | memoryview], size: int, *, is_new: bool = False) -> None:
        """Replace the file with `size` bytes, locked, and empty the journal.

        Raises OSError if they cannot be written, FileExistsError if the file `is_new` and its name is taken, and
        ChangedError if someone else has just saved it.
        """
        self.directory.refresh()
        move = self.directory.publish_new if is_new else self.directory.rename

        def move_unless_changed(draft: str, name: str) -> None:
            self.others.check()
            move(draft, name)

        lock, self.others.known = publish(self.directory, self.path.name, size, chunks, move_unless_changed)
        self.others.own_bytes = size
        if self._lock is not None:
            self._replaced.append(self._lock)
            self._replaced_bytes += size
        self._lock = lock
        if len(self._replaced) > 2 * _MAX_REPLACED_FILES:  # the caller has not released them
            self.release_replaced()
        self.journal.clear()

    @property
    def has_much_replaced(self) -> bool:
        """Whether it is time for `release_replaced`."""
        return len(self._replaced) >= _MAX_REPLACED_FILES or self._replaced_bytes >= _MAX_REPLACED_BYTES

    def release_replaced(self) -> bool:
        """Close the files that saves have replaced, in any thread; return whether there were any.

        Freeing their blocks takes up to 1 ms on a busy disk, a third of a short cell: call it off the event loop.
        """
        replaced, self._replaced, self._replaced_bytes = self._replaced, [], 0
        for lock in replaced:
            lock.release()
        return bool(replaced)

    def add_to_journal(self, started: str, revision: int, entries: Iterable[tuple[Kind, bytes]]) -> None:
        """Add entries to the journal; raises OSError if they or the notebook cannot be written by this process."""
        self.directory.refresh()
        mode = writable_mode(self.directory, self.path.name)
        if self.others.is_changed:
            self.others.refuse_writer(self._lock)
        self.journal.add(started, revision, entries, mode)

    def refuse_writer(self) -> None:
        """Raise OSError if another executor writes the file."""
        self.others.refuse_writer(self._lock)

    def flush(self) -> None:
        """Flush file and journal to disk, so that they survive a power cut. Blocks; raises OSError on failure."""
        self.journal.flush()
        with self.directory.copy() as directory:  # the caller is in another thread
            descriptor = directory.open(self.path.name)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let others write it."""
        self.release_replaced()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self.directory.close()
