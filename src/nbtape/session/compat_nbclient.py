"""The private API of nbclient that nbtape depends on. `tests/session/test_compat_nbclient.py` checks each use."""

from __future__ import annotations

import asyncio

from nbclient import NotebookClient


class NoHooks(dict[str, tuple[()]]):
    """No hooks for any message. nbclient's own dict grows by a list for each id that a kernel invents."""

    def __missing__(self, _: str) -> tuple[()]:
        return ()


class PollingClient(NotebookClient):
    """nbclient's client without hooks for outputs, which can stop the polling that it starts with each cell."""

    _poll: asyncio.Task[None] | None = None

    def reset_execution_trackers(self) -> None:
        """Reset the trackers, with no hooks."""
        super().reset_execution_trackers()
        self.output_hook_stack = NoHooks()  # type: ignore[assignment]  # nbclient only looks up hooks in it

    @property
    def places_by_display_id(self) -> dict[str, dict[int, list[int]]]:
        """The positions of the outputs that show a display, by display id and cell number."""
        places: dict[str, dict[int, list[int]]] = self._display_id_map
        return places

    # nbclient does not stop this task when a cell is canceled. It would then report that the kernel, which nbtape shut
    # down, has died.
    async def _async_poll_kernel_alive(self) -> None:
        self._poll = asyncio.current_task()
        await super()._async_poll_kernel_alive()

    def stop_polling(self) -> None:
        """Stop the task that watches the kernel for the last cell."""
        if self._poll is not None:
            self._poll.cancel()
