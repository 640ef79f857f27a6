"""The file of a notebook that nbtape writes, with its lock and its journal. It is handed bytes and knows no cell."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from nbtape.errors import NotebookWriteError
from nbtape.notebook.atomic_write import advice, publish, version_of, writable_mode
from nbtape.notebook.external_edits import OutOfBand
from nbtape.notebook.journal import Journal
from nbtape.notebook.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.notebook.journal import Kind

#: How many replaced files, and of how many bytes, are held until there is time to close them.
_MAX_REPLACED_FILES: Final = 8
_MAX_REPLACED_BYTES: Final = 1 << 18


class NotebookFile:
    """The file at one path. Others may change it; its writer is told, and overwrites nothing unseen.

    Args:
        path: The notebook.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = Journal(path)
        self._others = OutOfBand(path)
        self._lock: WriterLock | None = None
        self._replaced: list[WriterLock] = []
        self._replaced_bytes = 0

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Lock a notebook that exists, and keep the lock unless reading it in this context fails.

        Raises:
            NotebookInUseError: Another executor writes it.
            NotebookWriteError: It is marked read-only, or cannot be written.
        """
        self._lock = WriterLock.take(self.path)
        self._others.known = version_of(self.path)
        try:
            with self.reporting():
                writable_mode(self.path)
                yield
        except BaseException:
            self._release()
            raise

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn what the operating system raises into an error that says what to do.

        Raises:
            NotebookWriteError: Something could not be written.
        """
        try:
            yield
        except OSError as exc:
            raise NotebookWriteError(self.path, advice(exc)) from exc

    def publish(self, chunks: Iterable[bytes | memoryview], size: int, move: Callable[[Path, Path], None]) -> None:
        """Replace the file by these bytes, locked; the journal is empty then.

        Args:
            chunks: The bytes.
            size: How many there are.
            move: Moves a file into place: `os.replace` or `move_to_free_place`.

        Raises:
            OSError: They cannot be written.
            ChangedError: Someone else has just saved the file.
        """

        def move_unless_changed(draft: Path, path: Path) -> None:
            self._others.check()
            move(draft, path)

        lock, self._others.known = publish(self.path, size, chunks, move_unless_changed)
        if self._lock is not None:
            self._replaced.append(self._lock)
            self._replaced_bytes += size
        self._lock = lock
        if len(self._replaced) > 2 * _MAX_REPLACED_FILES:  # no one had the time
            self.release_replaced()
        self._journal.clear()

    @property
    def has_much_replaced(self) -> bool:
        """Whether it is time for `release_replaced`."""
        return len(self._replaced) >= _MAX_REPLACED_FILES or self._replaced_bytes >= _MAX_REPLACED_BYTES

    def release_replaced(self) -> bool:
        """Close the files that saves have replaced; whether there were some.

        Freeing their blocks takes as long as writing them, and up to 1 ms on a busy disk, a third of a short cell: call
        it off the event loop.
        """
        replaced, self._replaced, self._replaced_bytes = self._replaced, [], 0
        for lock in replaced:
            lock.release()
        return bool(replaced)

    def add_to_journal(self, started: str, revision: int, entries: Iterable[tuple[Kind, bytes]]) -> None:
        """Add entries to the journal, see `Journal.add`.

        Raises:
            OSError: They cannot be written, the notebook could not be, or another executor writes it.
        """
        writable_mode(self.path)
        if self._others.is_changed:
            self._others.refuse_writer(self._lock)
        self._journal.add(started, revision, entries)

    @property
    def has_journal(self) -> bool:
        """Whether there is a journal, ours or one that another writer left behind."""
        return self._journal.is_there

    def remove_journal(self) -> None:
        """The notebook has everything, and nothing more will be added."""
        self._journal.remove()

    @property
    def is_changed(self) -> bool:
        """Whether someone else has changed the file."""
        return self._others.is_changed

    def read_changed(
        self, is_ours: Callable[[NotebookNode], bool], is_known: Callable[[NotebookNode], bool]
    ) -> NotebookNode | None:
        """Someone else's version, see `OutOfBand.read`.

        Raises:
            ChangedError: They may still be writing it.
            OSError: Another executor writes it.
        """
        self._others.refuse_writer(self._lock)
        return self._others.read(is_ours, is_known)

    def flush(self) -> None:
        """Make what is written survive a power cut. Waits for the disk: not for an event loop.

        Raises:
            OSError: The disk cannot do it, or the notebook was moved away.
        """
        self._journal.flush()
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let others write it."""
        self._release()

    def _release(self) -> None:
        self.release_replaced()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
