"""The private API of nbclient that nbtape depends on. `tests/session/test_compat_nbclient.py` checks each use."""

from __future__ import annotations

import asyncio

from nbclient import NotebookClient


class PollingClient(NotebookClient):
    """nbclient's client, able to stop the polling that it starts with each cell."""

    _poll: asyncio.Task[None] | None = None

    # nbclient does not stop this task when a cell is canceled. It would then report a kernel that nbtape shut down.
    async def _async_poll_kernel_alive(self) -> None:
        self._poll = asyncio.current_task()
        await super()._async_poll_kernel_alive()

    def stop_polling(self) -> None:
        """Stop the task that watches the kernel for the last cell."""
        if self._poll is not None:
            self._poll.cancel()
