"""Decide when to save a notebook: after every cell, unless saving takes too large a share of the time.

Until the next save, changes go to the journal. So a cell costs as much at the end of a long session as at its start.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from typing import TYPE_CHECKING, Final

from nbtape.common.concurrency import offload
from nbtape.errors import NotebookWriteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape.notebook.document import Notebook

logger = logging.getLogger(__name__)

#: Maximum share of the time that is spent on saving, apart from the first seconds of saving.
MAX_SAVE_SHARE: Final = 0.1
SAVE_CREDIT_SECONDS: Final = 1.0
#: Minimum time from an output to its save, and from the start of a cell to a save: many cells end sooner.
_OUTPUT_SAVE_SECONDS: Final = 0.2
_START_SAVE_SECONDS: Final = 0.05
#: Time from a save to its flush. A power cut may lose these seconds; a killed process loses nothing.
_FLUSH_SECONDS: Final = 1.0
#: How often the file is checked for changes by someone else.
_EDIT_POLL_SECONDS: Final = 1.0


class Autosave:
    """Saves one notebook, on one event loop. Before a save, calls `prepare` for each changed cell."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self.prepare: Callable[[int], None] = lambda _: None
        self._changed: set[int] = set()
        self._save_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._poll_timer: asyncio.TimerHandle | None = None
        # References to tasks, because the event loop does not keep them alive.
        self._flush_error = ""
        self._flush_task: asyncio.Future[None] | None = None
        self._release_task: asyncio.Future[bool] | None = None
        # Duration and time of the last save, and the seconds available for the next one.
        self._cost = 0.0
        self._last = 0.0
        self._allowance = SAVE_CREDIT_SECONDS

    def changed(self, index: int) -> None:
        """Save cell `index` soon, because it has changed."""
        self._changed.add(index)
        self._save_within(max(_OUTPUT_SAVE_SECONDS, self._cost / MAX_SAVE_SHARE))

    def begin(self) -> None:
        """Write a cell that is about to run, so that it survives a crash; raises NotebookWriteError on failure."""
        if self._rest() <= 0:
            self.save_now()
        else:
            self._keep(_START_SAVE_SECONDS)

    def save(self) -> None:
        """Save now, or write to the journal and save later; raises NotebookWriteError if it cannot be written."""
        if self._afforded() >= 0:
            self.save_now()
        else:
            self._keep(_OUTPUT_SAVE_SECONDS)

    def save_now(self) -> None:
        """Save regardless of the cost; raises NotebookWriteError if it cannot be written."""
        self._cancel_save()
        self._prepare_changed()
        allowance, began = self._afforded(), time.monotonic()
        try:
            self._notebook.save()
        finally:
            self._last = time.monotonic()
            self._cost = self._last - began
            self._allowance = allowance - self._cost
        if not self._notebook.is_saved:  # someone else was writing it
            self._save_within(_OUTPUT_SAVE_SECONDS)
        if self._poll_timer is None:
            self._poll_later()
        if self._notebook.file.has_much_replaced:
            self._release_task = asyncio.ensure_future(offload(self._notebook.file.release_replaced))
        self._flush_later()

    def _afforded(self) -> float:
        """Seconds that saving may take now."""
        return min(SAVE_CREDIT_SECONDS, self._allowance + MAX_SAVE_SHARE * (time.monotonic() - self._last))

    def _rest(self) -> float:
        """Seconds until another save like the last one takes no more than its share of the time."""
        return self._last + self._cost / MAX_SAVE_SHARE - time.monotonic()

    def _keep(self, delay: float) -> None:
        """Write changes to the journal, and save after `delay` or when that is affordable."""
        self._prepare_changed()
        self._notebook.keep()
        self._flush_later()
        self._save_within(max(delay, self._rest()))

    def _prepare_changed(self) -> None:
        changed, self._changed = self._changed, set()
        for index in changed:
            self.prepare(index)
            self._notebook.touch(index)

    def _cancel_save(self) -> None:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None

    def _save_within(self, delay: float) -> None:
        """Save after `delay` at the latest."""
        loop = asyncio.get_running_loop()
        if self._save_timer is None or self._save_timer.when() > loop.time() + delay:
            self._cancel_save()
            self._save_timer = loop.call_later(delay, self._save_quietly)

    def _save_quietly(self) -> None:
        """Save in the middle of a cell. If that fails, the save at the end of the cell tries again and reports it."""
        self._save_timer = None
        try:
            self.save()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)

    def _poll_later(self) -> None:
        """Check repeatedly for changes by someone else, as long as anything else refers to this object."""
        self._poll_timer = asyncio.get_running_loop().call_later(_EDIT_POLL_SECONDS, _poll, weakref.ref(self))

    def poll(self) -> None:
        """Merge and restore if someone else has overwritten the notebook."""
        self._poll_timer = None
        try:
            if self._notebook.merge_changes():
                self._save_quietly()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)
        else:
            if self._poll_timer is None:
                self._poll_later()

    async def close(self) -> None:
        """Save and flush to disk, once no one else is writing it; raises NotebookWriteError if that fails."""
        try:
            self.save_now()
            while not self._notebook.is_saved:
                await asyncio.sleep(_START_SAVE_SECONDS)
                self.save_now()
            await self.flush()
        finally:
            self._cancel_save()
            if self._poll_timer is not None:
                self._poll_timer.cancel()
                self._poll_timer = None

    def _flush_later(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._start_flush)

    def _start_flush(self) -> None:
        self._flush_timer = None
        self._flush_task = asyncio.ensure_future(self.flush())

    async def flush(self) -> None:
        """Wait until the last save is on disk."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        await offload(self._flush_quietly)

    def _flush_quietly(self) -> None:
        try:
            self._notebook.file.release_replaced()
            self._notebook.file.flush()
        except OSError as exc:
            reason = exc.strerror or str(exc)
            if reason != self._flush_error:  # code could repeat it every second
                logger.warning("%s could not be flushed to disk: %s", self._notebook.path, reason)
            self._flush_error = reason
        else:
            self._flush_error = ""


def _poll(autosave: weakref.ref[Autosave]) -> None:
    """Poll if the object still exists; the timer must not keep it alive."""
    if (found := autosave()) is not None:
        found.poll()
