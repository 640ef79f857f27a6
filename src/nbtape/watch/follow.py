"""Follow a session of another process until it ends."""

from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING, Final, Literal

from nbtape.common.untrusted_files import Directory
from nbtape.errors import NotebookReadError
from nbtape.notebook.atomic_write import version_of
from nbtape.notebook.lock import can_be_locked, is_locked
from nbtape.notebook.read import read_content
from nbtape.replay.selection import first_recording
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape.watch.snapshots import Snapshot

POLL_SECONDS: Final = 0.1
#: Maximum share of the time for reading; a slow read is followed by a longer pause.
_MAX_LOAD: Final = 0.25

#: How long a notebook without a writer may be missing or broken, because another program is saving it.
SAVE_TIMEOUT_SECONDS: Final = 2.0

Ending = Literal["ended", "not written", "gone"]


class Session:
    """The session that records one notebook.

    Attributes:
        ending: None during the session, then `ended` if its writer stopped or was killed, `not written` if it never had
            one, or `gone` if the notebook and its writer are missing.
        lives: Whether the notebook had a writer when last read. None if `Writer` cannot know; the session then never
            ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = SnapshotReader(path)
        self._writer = Writer(path)
        self._fault: NotebookReadError | None = None
        self._readable_at = time.monotonic()
        self.ending: Ending | None = None
        self.lives: bool | None = None

    def follow(self) -> Iterator[Snapshot | None]:
        """Yield a snapshot whenever the notebook has changed, and None otherwise, until the session ends.

        Raises:
            NotebookReadError: The notebook is missing at the start, or stays invalid.
        """
        if not self._path.is_file():
            read_content(self._path)  # reports the reason
        while self.ending is None:
            self.lives = self._writer.lives()  # checked before reading: without a writer, this read is the last
            began = time.monotonic()
            snapshot = self._read()
            cost = time.monotonic() - began
            yield snapshot
            self.ending = self._judge()
            if self.ending is None:
                time.sleep(max(POLL_SECONDS, cost / _MAX_LOAD))

    def _read(self) -> Snapshot | None:
        try:
            snapshot = self._reader.read()
        except NotebookReadError as exc:
            self._fault = exc
            return None
        if self._path.exists():
            self._fault, self._readable_at = None, time.monotonic()
        return snapshot

    def _judge(self) -> Ending | None:
        if self.lives:
            return None
        exists = self._path.exists()
        if self._fault is not None or not exists:
            if time.monotonic() - self._readable_at < SAVE_TIMEOUT_SECONDS:
                return None
            if self._fault is not None and exists:
                raise self._fault
            return "gone"
        if self.lives is None:
            return None
        return "ended" if self._writer.was_seen else "not written"


def await_session(place: Path) -> Iterator[Path | None]:
    """Yield None until a session records `place`, a notebook or a directory of notebooks; then yield its notebook."""
    while (found := _written(place)) is None:
        yield None
        time.sleep(POLL_SECONDS)
    yield found


def newest_notebook(directory: Path) -> Path:
    """The newest notebook that is being written in a directory, otherwise the newest recording.

    A replay or an export of another notebook in the directory is not a recording.

    Raises:
        ValueError: The directory has no notebooks.
    """
    notebooks = _notebooks(directory)
    if not notebooks:
        raise ValueError(f"{directory} contains no notebook. Choose another directory, or use --wait.")
    if (written := next((path for path in notebooks if Writer(path).lives()), None)) is not None:
        return written
    return first_recording(notebooks)


def _written(place: Path) -> Path | None:
    notebooks = _notebooks(place) if place.is_dir() else [place] if place.is_file() else []
    return next((path for path in notebooks if Writer(path).lives() is not False), None)


def _notebooks(directory: Path) -> list[Path]:
    """The notebooks in a directory, newest first."""
    with Directory(directory) as opened:
        names = [name for name in opened.names() if name.endswith(".ipynb") and not name.startswith(".")]
    paths = (directory / name for name in names)
    found = [(version[1], path) for path in paths if (version := version_of(path))]
    return [path for _, path in sorted(found, reverse=True)]


class Writer:
    """The process that writes one notebook; `was_seen` is true once there has been one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.was_seen = False
        # The last file that was seen locked, kept open because its writer still holds it after another program, such as
        # JupyterLab, has moved or replaced it.
        self._held: int | None = None
        self._close: Callable[[], object] = lambda: None
        self._locks_work: bool | None = None

    def lives(self) -> bool | None:
        """Whether there is a writer; None without file locks, as on Windows and some network drives."""
        found = self._is_path_locked()
        if found is not True and self._held is not None and is_locked(self._held):
            return True
        self.was_seen = self.was_seen or found is True
        return found

    def _is_path_locked(self) -> bool | None:
        """Check the lock of the file at the path."""
        while True:
            try:
                with Directory(self._path.parent) as directory:
                    file = directory.open(self._path.name)
            except OSError:
                return False
            found = self._is_locked(file)
            if found:
                self._close()
                self._held, self._close = file, weakref.finalize(self, os.close, file)
                return True
            was_replaced = self._was_replaced(file)
            os.close(file)
            if not was_replaced:
                return found

    def _is_locked(self, file: int) -> bool | None:
        found = is_locked(file)
        if found is False and not self.was_seen and self._locks_work is None:
            self._locks_work = can_be_locked(file)
        return None if self._locks_work is False else found

    def _was_replaced(self, file: int) -> bool:
        """Whether another file is now at the path: a writer locks the new file and releases this one."""
        try:
            return not os.path.samestat(os.fstat(file), self._path.lstat())
        except OSError:
            return False
