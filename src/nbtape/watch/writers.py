"""Whether somebody writes a notebook: asked again and again of the lock on it, which is left to whom it belongs."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from nbtape.notebook.lock import can_be_locked, is_locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
