"""Handle out-of-band changes to a notebook: read someone else's version, and move any other file aside."""

from __future__ import annotations

import contextlib
import errno
import logging
import stat
import time
from typing import TYPE_CHECKING, Final

from nbtape.errors import NotebookInUseError, NotebookReadError
from nbtape.notebook.atomic_write import places, version
from nbtape.notebook.lock import WriterLock
from nbtape.notebook.read import parse_saved, read_content

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.common.untrusted_files import Directory
    from nbtape.notebook.atomic_write import Version

logger = logging.getLogger(__name__)

#: What someone else's version may have in addition to twice our own: bytes, and cost of its values (see `json_cost`).
MAX_ADDED_BYTES: Final = 16 << 20
_MAX_ADDED_COST: Final = 8_000_000
#: Maximum cost per byte of our own version: an empty list on its own line.
_COST_PER_BYTE: Final = 8

#: How long an unreadable file is treated as one that is still being written.
PARTIAL_WRITE_SECONDS: Final = 1.0


class ChangedError(Exception):
    """The file has changed since it was checked, or is being written."""


class OutOfBand:
    """Checks the file of a notebook that nbtape writes; `known` is its last known state, None before the first."""

    def __init__(self, directory: Directory, path: Path) -> None:
        self._directory = directory
        self._path = path
        self.known: Version | None = None
        self.own_bytes = 0  # size of our last version
        self._unread_since: float | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the file exists and is not in the known state."""
        return self.known is not None and self._version() not in {self.known, None}

    def _version(self) -> Version | None:
        return version(self._directory.status(self._path.name))

    def check(self) -> None:
        """Raise ChangedError unless the file is in the known state or missing."""
        if self.is_changed and self._is_file():
            raise ChangedError

    def refuse_writer(self, lock: WriterLock | None) -> None:
        """Raise OSError if another executor writes the file; `lock` is ours, if any."""
        if lock is not None and lock.is_on(self._directory, self._path.name):
            return
        try:
            taken = WriterLock.take(self._directory, self._path.name)
        except NotebookInUseError as exc:
            raise OSError(
                errno.EBUSY,
                "another executor is recording into it. Stop that executor and resume the notebook, or move the file "
                "away so that this record can be saved",
            ) from exc
        if taken is not None:
            taken.release()

    def read(
        self, is_ours: Callable[[NotebookNode], bool], is_known: Callable[[NotebookNode], bool]
    ) -> NotebookNode | None:
        """Read their version of the notebook, which becomes the known state; None if the path can be written.

        Raises ChangedError if they may still be writing it. For `is_known`, see `parse_saved`.
        """
        found = self._version()
        if found is None or not self._is_file():
            return None
        try:
            theirs = self._read(found[2], is_ours, is_known)
        except NotebookReadError as exc:
            if self._version() != found or self._may_be_half_written():
                raise ChangedError from exc
            self.set_aside()
            return None
        if self._version() != found:
            raise ChangedError
        self.known, self._unread_since = found, None
        return theirs

    def _read(
        self, size: int, is_ours: Callable[[NotebookNode], bool], is_known: Callable[[NotebookNode], bool]
    ) -> NotebookNode:
        if size > (most := 2 * self.own_bytes + MAX_ADDED_BYTES):
            raise NotebookReadError(self._path, f"it has {size:,} bytes, more than the limit of {most:,}.")
        max_cost = _COST_PER_BYTE * self.own_bytes + _MAX_ADDED_COST
        theirs = parse_saved(self._path, read_content(self._path, self._directory), is_known, max_cost)
        if not is_ours(theirs):
            raise NotebookReadError(self._path, "it is a different notebook.")
        return theirs

    def _is_file(self) -> bool:
        """Whether there is a regular file. Links are replaced; directories become an error when saving."""
        with contextlib.suppress(OSError):
            found = self._directory.status(self._path.name)
            return found is not None and stat.S_ISREG(found.st_mode)
        return False

    def _may_be_half_written(self) -> bool:
        now = time.monotonic()
        if self._unread_since is None:
            self._unread_since = now
        return now - self._unread_since < PARTIAL_WRITE_SECONDS

    def set_aside(self) -> None:
        """Move the file to a free name, so that it is not lost."""
        for place in places(self._path.parent, self._path.stem):
            with contextlib.suppress(FileExistsError):
                self._directory.publish_new(self._path.name, place.name)
                logger.warning("Another program replaced %s; its file was moved to %s", self._path, place)
                self._unread_since = None
                return
