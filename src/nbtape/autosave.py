"""Saves a notebook while a cell runs, as often as it can afford."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from nbtape.errors import NotebookWriteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape.notebook import Notebook

logger = logging.getLogger(__name__)

#: Seconds from an output to its save, at least.
_INTERVAL: Final = 0.2
#: A save that took long is not repeated for this many times as long.
_REST: Final = 10


class Autosave:
    """One for a notebook, on one event loop.

    Args:
        notebook: What to save.
        prepare: Called before each save with the cells that changed; brings their outputs into the notebook.
    """

    def __init__(self, notebook: Notebook, prepare: Callable[[int], None]) -> None:
        self._notebook = notebook
        self._prepare = prepare
        self._changed: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._cost = 0.0

    def changed(self, index: int) -> None:
        """Cell `index` has changed; a save follows soon."""
        self._changed.add(index)
        if self._timer is None:
            delay = max(_INTERVAL, _REST * self._cost)
            self._timer = asyncio.get_running_loop().call_later(delay, self._save_quietly)

    def save(self) -> set[int]:
        """Save now and return the cells that had changed.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, set()
        for index in changed:
            self._prepare(index)
            self._notebook.touch(index)
        began = time.perf_counter()
        self._notebook.save()
        self._cost = time.perf_counter() - began
        return changed

    def _save_quietly(self) -> None:
        """A save in the middle of a cell that fails is tried again at the cell's end, and is told there."""
        try:
            self.save()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)
