"""How often a notebook is saved."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from nbtape.notebook import autosave
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SECONDS = 2.0


async def test_saving_a_large_notebook_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook.create(tmp_path, "session", {"nbtape": {"started": "2026-01-01T00:00:00+00:00"}})
    notebook.add_markdown("x" * 30_000_000, {})
    monkeypatch.setattr(autosave, "SAVE_CREDIT_SECONDS", 0.0)
    save, spent, cells = notebook.save, 0.0, 0

    def timed_save() -> None:
        nonlocal spent
        began = time.monotonic()
        save()
        spent += time.monotonic() - began

    monkeypatch.setattr(notebook, "save", timed_save)
    saving = Autosave(notebook)
    saving.save_now()
    began, spent = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < SECONDS:
        number = notebook.add_code("x = 1", {})
        saving.begin()
        saving.changed(number)
        await asyncio.sleep(0)
        saving.save()
        cells += 1
    assert spent < 2 * autosave.MAX_SAVE_SHARE * passed
    assert cells > 100
    await saving.close()
    notebook.close()
