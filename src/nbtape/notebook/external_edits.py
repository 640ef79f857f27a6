"""What somebody else puts where our notebook is: his version of it is read, and anything else is moved aside.

Jupyter calls such changes out-of-band.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import stat
import time
from typing import TYPE_CHECKING, Final

from nbtape.errors import NotebookInUseError, NotebookReadError
from nbtape.notebook.atomic_write import NameTakenError, move_to_free_place, places, version_of
from nbtape.notebook.lock import WriterLock
from nbtape.notebook.read import parse_saved, read_content

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.notebook.atomic_write import Version

logger = logging.getLogger(__name__)

#: Bytes of a file that is read at most.
_MOST_BYTES: Final = 1 << 30

#: Seconds for which a file that cannot be read is taken for one that is being written.
_PATIENCE: Final = 1.0


class ChangedError(Exception):
    """The file is not as it was looked at, or somebody is writing it."""


class OutOfBand:
    """Looks at the file of a notebook that we write.

    Args:
        path: The file.

    Attributes:
        known: The file as we know it; None before we know it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: Version | None = None
        self._unread_since: float | None = None

    @property
    def is_changed(self) -> bool:
        """Whether there is a file, and another one than we know."""
        return self.known is not None and version_of(self._path) not in {self.known, None}

    def check(self) -> None:
        """See that the file is as we know it, or gone.

        Raises:
            ChangedError: It is not.
        """
        if self.is_changed and self._is_file():
            raise ChangedError

    def refuse_writer(self, lock: WriterLock | None) -> None:
        """See that no other executor writes the file.

        Args:
            lock: Ours; None if we have let go of it.

        Raises:
            OSError: One does.
        """
        if lock is not None and lock.is_on(self._path):
            return
        try:
            taken = WriterLock.take(self._path)
        except NotebookInUseError as exc:
            raise OSError(
                errno.EBUSY,
                "another executor has gone on with it. Resume it when that has stopped, or move it away and have this "
                "record saved in its place",
            ) from exc
        if taken is not None:
            taken.release()

    def read(
        self, is_ours: Callable[[NotebookNode], bool], is_known: Callable[[NotebookNode], bool]
    ) -> NotebookNode | None:
        """Somebody else's version, which is known from then on; None if there is none, and nothing in our way.

        Args:
            is_ours: Whether what was read is a version of our notebook.
            is_known: Whether a cell is as we have written it.

        Raises:
            ChangedError: He may still be writing it.
        """
        version = version_of(self._path)
        if version is None or not self._is_file():
            return None
        try:
            theirs = self._read(version[2], is_ours, is_known)
        except NotebookReadError as exc:
            if version_of(self._path) != version or self._may_be_half_written():
                raise ChangedError from exc
            self._move_aside()
            return None
        if version_of(self._path) != version:
            raise ChangedError
        self.known, self._unread_since = version, None
        return theirs

    def _read(
        self, size: int, is_ours: Callable[[NotebookNode], bool], is_known: Callable[[NotebookNode], bool]
    ) -> NotebookNode:
        if size > _MOST_BYTES:
            raise NotebookReadError(self._path, f"it has {size:,} bytes, and a notebook at most {_MOST_BYTES:,}.")
        theirs = parse_saved(self._path, read_content(self._path), is_known)
        if not is_ours(theirs):
            raise NotebookReadError(self._path, "it is another notebook.")
        return theirs

    def _is_file(self) -> bool:
        """Whether a file is there, and no link or directory: that is replaced, or told."""
        with contextlib.suppress(OSError):
            return stat.S_ISREG(self._path.lstat().st_mode)
        return False

    def _may_be_half_written(self) -> bool:
        now = time.monotonic()
        if self._unread_since is None:
            self._unread_since = now
        return now - self._unread_since < _PATIENCE

    def _move_aside(self) -> None:
        """Move what is there to a free name; nothing of it is lost.

        Raises:
            OSError: It cannot be moved.
        """
        for place in places(self._path.parent, self._path.stem):
            with contextlib.suppress(NameTakenError):
                move_to_free_place(self._path, place)
                logger.warning("what somebody has put in the place of %s is now in %s", self._path, place)
                self._unread_since = None
                return
