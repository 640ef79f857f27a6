"""nbclient has the private method that nbtape depends on."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from nbtape.session.compat_nbclient import PollingClient

if TYPE_CHECKING:
    import pytest

CHANGED = "nbclient has changed: adapt nbtape.session.compat_nbclient"


async def test_polling_started_by_a_cell_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspect.iscoroutinefunction(NotebookClient._async_poll_kernel_alive), CHANGED
    assert "self._async_poll_kernel_alive()" in inspect.getsource(NotebookClient.async_execute_cell), CHANGED

    async def poll(_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(NotebookClient, "_async_poll_kernel_alive", poll)
    client = PollingClient(new_notebook(cells=[new_code_cell("1")]))
    polling = asyncio.ensure_future(client._async_poll_kernel_alive())
    await asyncio.sleep(0)
    client.stop_polling()
    await asyncio.wait({polling}, timeout=10)
    assert polling.cancelled(), CHANGED
