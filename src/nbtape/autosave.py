"""Saves a notebook while a cell runs, as often as it can afford."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from nbtape.errors import NotebookWriteError
from nbtape.offload import offload

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape.notebook import Notebook

logger = logging.getLogger(__name__)

#: Seconds from an output to its save, at least.
_INTERVAL: Final = 0.2
#: A save that took long is not repeated for this many times as long.
_REST: Final = 10
#: Seconds from a save to its flush: what a power cut, other than a killed process, may cost.
_FLUSH_INTERVAL: Final = 1.0


class Autosave:
    """One for a notebook, on one event loop.

    Args:
        notebook: What to save.

    Attributes:
        prepare: Called before a save for each cell that changed; brings its outputs into the notebook.
    """

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self.prepare: Callable[[int], None] = lambda _: None
        self._changed: set[int] = set()
        self._save_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_task: asyncio.Future[None] | None = None  # kept, for the loop keeps no task alive
        self._cost = 0.0

    def changed(self, index: int) -> None:
        """Cell `index` has changed; a save follows soon."""
        self._changed.add(index)
        if self._save_timer is None:
            delay = max(_INTERVAL, _REST * self._cost)
            self._save_timer = asyncio.get_running_loop().call_later(delay, self._save_quietly)

    def save(self) -> None:
        """Save now.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        changed, self._changed = self._changed, set()
        for index in changed:
            self.prepare(index)
            self._notebook.touch(index)
        began = time.perf_counter()
        self._notebook.save()
        self._cost = time.perf_counter() - began
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(_FLUSH_INTERVAL, self._flush_soon)

    async def flush(self) -> None:
        """Wait until the last save is on the disk itself."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        await offload(self._flush_quietly)

    def _save_quietly(self) -> None:
        """A save in the middle of a cell that fails is tried again at the cell's end, and is told there."""
        try:
            self.save()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)

    def _flush_soon(self) -> None:
        self._flush_timer = None
        self._flush_task = asyncio.ensure_future(self.flush())

    def _flush_quietly(self) -> None:
        try:
            self._notebook.flush()
        except OSError as exc:
            logger.warning("%s could not be flushed to the disk: %s", self._notebook.path, exc)
