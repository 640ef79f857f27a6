"""A session of another process, followed look by look until it has ended."""

from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING, Final, Literal

from nbtape.errors import NotebookReadError
from nbtape.notebook.lock import can_be_locked, is_locked
from nbtape.notebook.read import read_content
from nbtape.watch.snapshots import Looker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape.watch.snapshots import Look

#: Seconds from look to look, at least; and of the time that passes, how much may go into them.
INTERVAL: Final = 0.1
_SHARE: Final = 0.25

#: Seconds that a notebook which nobody of ours writes may be away, or broken: another program is saving it.
_PATIENCE: Final = 2.0

Ending = Literal["ended", "not written", "gone"]


class Session:
    """What goes on in one notebook.

    Args:
        path: The notebook.

    Attributes:
        ending: How it ended, once it has: its writer stopped or was killed (`ended`), there was none since we look
            (`not written`), or the notebook is away and so is its writer (`gone`).
        lives: Whether somebody writes it, by the last look; None where that cannot be told, and so neither when it
            ends: on Windows, and on drives without locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looker = Looker(path)
        self._writer = Writer(path)
        self._fault: NotebookReadError | None = None
        self._whole_at = time.monotonic()
        self.ending: Ending | None = None
        self.lives: bool | None = None

    def follow(self) -> Iterator[Look | None]:
        """What is there, whenever that has changed; None when it has not. Ends when the session does.

        Raises:
            NotebookReadError: There is no notebook, or what is there is none and stays so.
        """
        if not self._path.is_file():
            read_content(self._path)  # which says what is wrong
        while self.ending is None:
            self.lives = self._writer.lives()  # asked before the look: without a writer, that is the last one
            began = time.monotonic()
            look = self._look()
            cost = time.monotonic() - began
            yield look
            self.ending = self._judge()
            if self.ending is None:
                time.sleep(max(INTERVAL, cost / _SHARE))

    def _look(self) -> Look | None:
        try:
            look = self._looker.look()
        except NotebookReadError as exc:
            self._fault = exc
            return None
        if self._path.exists():
            self._fault, self._whole_at = None, time.monotonic()
        return look

    def _judge(self) -> Ending | None:
        """Whether it has ended, by the last look."""
        if self.lives:
            return None
        is_there = self._path.exists()
        if self._fault is not None or not is_there:
            if time.monotonic() - self._whole_at < _PATIENCE:
                return None
            if self._fault is not None and is_there:
                raise self._fault
            return "gone"
        if self.lives is None:
            return None
        return "ended" if self._writer.was_seen else "not written"


def await_session(place: Path) -> Iterator[Path | None]:
    """Wait until a session goes on: None again and again, then its notebook.

    Args:
        place: A notebook, or a directory whose newest one that is being written counts.
    """
    while (found := _written(place)) is None:
        yield None
        time.sleep(INTERVAL)
    yield found


def newest_notebook(directory: Path) -> Path:
    """The notebook of a directory that was written last; one that is being written before all others.

    Raises:
        ValueError: There is none.
    """
    notebooks = _notebooks(directory)
    if not notebooks:
        raise ValueError(f"there is no notebook in {directory}. Name another directory, or --wait for one.")
    return next((path for path in notebooks if Writer(path).lives()), notebooks[0])


def _written(place: Path) -> Path | None:
    notebooks = _notebooks(place) if place.is_dir() else [place] if place.is_file() else []
    return next((path for path in notebooks if Writer(path).lives() is not False), None)


def _notebooks(directory: Path) -> list[Path]:
    """The notebooks of a directory, the newest first."""
    times: dict[Path, float] = {}
    for path in directory.glob("*.ipynb"):
        if not path.name.startswith("."):
            try:
                times[path] = path.stat().st_mtime
            except OSError:  # it was moved away meanwhile
                continue
    return sorted(times, key=times.__getitem__, reverse=True)


class Writer:
    """Whoever writes one notebook.

    Args:
        path: The notebook.

    Attributes:
        was_seen: Whether there was one, since we look.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.was_seen = False
        # The file that was last seen locked, open: whoever writes it has it still if somebody else, JupyterLab for one,
        # has moved it away or put another one in its place.
        self._held: int | None = None
        self._let_go: Callable[[], object] = lambda: None
        self._locks_work: bool | None = None

    def lives(self) -> bool | None:
        """Whether there is one; None where that cannot be told: on Windows, and on drives without locks."""
        found = self._look()
        if found is not True and self._held is not None and is_locked(self._held):
            return True
        self.was_seen = self.was_seen or found is True
        return found

    def _look(self) -> bool | None:
        """The same by the file that is at the path."""
        while True:
            try:
                file = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            except OSError:
                return False
            found = self._ask(file)
            if found is not True:
                is_there = self._is_there(file)
                os.close(file)
                if not is_there:  # its writer may have put another in its place, and let go of this one
                    continue
            else:
                self._hold(file)
            return found

    def _ask(self, file: int) -> bool | None:
        found = is_locked(file)
        if found is False and not self.was_seen and self._locks_work is None:
            self._locks_work = can_be_locked(file)
        return None if self._locks_work is False else found

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except OSError:
            return True  # there is none that could be asked in its place

    def _hold(self, file: int) -> None:
        self._let_go()
        self._held, self._let_go = file, weakref.finalize(self, os.close, file)
