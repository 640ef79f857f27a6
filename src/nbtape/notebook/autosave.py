"""When a notebook is saved: at every end of a cell, unless saving has come to take too much of the time.

Then what is new is kept in its journal until there is time again. So a cell costs the same at the end of a long session
as at its beginning.
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

#: Of the time that passes, how much may go into saving; and how many seconds besides.
SHARE: Final = 0.1
CREDIT: Final = 1.0
#: Seconds from an output to its save, at least; and from the beginning of a cell that follows another: many end before.
_INTERVAL: Final = 0.2
_BEGINNING: Final = 0.05
#: Seconds from a save to its flush: what a power cut, other than a killed process, may cost.
_FLUSH_INTERVAL: Final = 1.0
#: Seconds between looks at whether somebody else has saved the notebook.
_LOOK: Final = 1.0


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
        self._look_timer: asyncio.TimerHandle | None = None
        # Kept, for the loop keeps no task alive.
        self._flush_task: asyncio.Future[None] | None = None
        self._release_task: asyncio.Future[None] | None = None
        # Seconds that the last save took; when that was; and what may be spent on the next.
        self._cost = 0.0
        self._last = 0.0
        self._allowance = CREDIT

    def changed(self, index: int) -> None:
        """Cell `index` has changed; a save follows soon."""
        self._changed.add(index)
        self._save_within(max(_INTERVAL, self._cost / SHARE))

    def begin(self) -> None:
        """Have a cell that is about to run outlive us: saved, or if another cell has just ended kept for now.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        if (wait := self._rest()) <= 0:
            self.save_now()
        else:
            self._keep()
            self._save_within(max(wait, _BEGINNING))

    def save(self) -> None:
        """Save now, or keep what is new and save as soon as that can be afforded.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        if self._afforded() >= 0:  # it is bounded by CREDIT, which may be nothing
            self.save_now()
        else:
            self._keep()
            self._save_within(max(_INTERVAL, self._rest()))

    def save_now(self) -> None:
        """Save now, whatever it costs.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        self._cancel()
        self._take_in()
        allowance, began = self._afforded(), time.monotonic()
        try:
            self._notebook.save()
        finally:
            self._last = time.monotonic()
            self._cost = self._last - began
            self._allowance = allowance - self._cost
        if not self._notebook.is_saved:  # somebody else was just writing it
            self._save_within(_INTERVAL)
        self._look_within(_LOOK)
        if self._notebook.has_much_replaced:
            self._release_task = asyncio.ensure_future(offload(self._notebook.release_replaced))
        self._flush_within(_FLUSH_INTERVAL)

    def _afforded(self) -> float:
        """Seconds that saving may take now."""
        return min(CREDIT, self._allowance + SHARE * (time.monotonic() - self._last))

    def _rest(self) -> float:
        """Seconds until another save like the last one takes no more than its share of the time."""
        return self._last + self._cost / SHARE - time.monotonic()

    def _keep(self) -> None:
        self._take_in()
        self._notebook.keep()
        self._flush_within(_FLUSH_INTERVAL)

    def _take_in(self) -> None:
        changed, self._changed = self._changed, set()
        for index in changed:
            self.prepare(index)
            self._notebook.touch(index)

    def _cancel(self) -> None:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None

    def _save_within(self, delay: float) -> None:
        """Have a save at the latest so many seconds from now."""
        loop = asyncio.get_running_loop()
        if self._save_timer is None or self._save_timer.when() > loop.time() + delay:
            self._cancel()
            self._save_timer = loop.call_later(delay, self._save_quietly)

    def _flush_within(self, delay: float) -> None:
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(delay, self._flush_soon)

    def _look_within(self, delay: float) -> None:
        """Have a look in so many seconds, and again and again, for as long as anybody holds this."""
        if self._look_timer is None:
            loop = asyncio.get_running_loop()
            self._look_timer = loop.call_later(delay, _look, weakref.ref(self))

    def look(self) -> None:
        """Put back what somebody else has saved over."""
        self._look_timer = None
        try:
            if self._notebook.look():
                self._save_quietly()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)
        else:
            self._look_within(_LOOK)

    async def close(self) -> None:
        """Save, and see that on the disk itself. What somebody else is just writing is waited for.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        try:
            self.save_now()
            while not self._notebook.is_saved:
                await asyncio.sleep(_BEGINNING)
                self.save_now()
            await self.flush()
        finally:
            self._cancel()
            if self._look_timer is not None:
                self._look_timer.cancel()
                self._look_timer = None

    async def flush(self) -> None:
        """Wait until the last save is on the disk itself."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        await offload(self._flush_quietly)

    def _save_quietly(self) -> None:
        """A save in the middle of a cell that fails is tried again at the cell's end, and is told there."""
        self._save_timer = None
        try:
            self.save()
        except NotebookWriteError as exc:
            logger.warning("%s", exc)

    def _flush_soon(self) -> None:
        self._flush_timer = None
        self._flush_task = asyncio.ensure_future(self.flush())

    def _flush_quietly(self) -> None:
        try:
            self._notebook.release_replaced()
            self._notebook.flush()
        except OSError as exc:
            logger.warning("%s could not be flushed to the disk: %s", self._notebook.path, exc)


def _look(autosave: weakref.ref[Autosave]) -> None:
    """A timer that does not keep what nobody else holds."""
    if (found := autosave()) is not None:
        found.look()
