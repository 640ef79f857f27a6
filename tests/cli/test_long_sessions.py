"""A session with 2,000 cells and 100 MB is shown and watched within the promised time."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import time
from io import BytesIO
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import Watching
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from playwright.sync_api import expect
from reading import eventually, seconds
from warm_commands import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.alone

_CELLS = 2000


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the cells are Markdown; the others show text, a table and an image each."""
    cells = []
    for number in range(_CELLS // 2):
        Image.effect_noise((250, 250), 90).save(picture := BytesIO(), "PNG")
        rows = "".join(f"<tr><td>{row}</td><td>{row * number}</td></tr>" for row in range(320))
        outputs = [
            new_output("stream", text="".join(f"line {line} of {number}\n" for line in range(400))),
            new_output("display_data", {"image/png": base64.b64encode(picture.getvalue()).decode()}),
            new_output("execute_result", {"text/html": f"<table>{rows}</table>", "text/plain": "a table"}),
        ]
        metadata = {"nbtape": {"status": "ok", "duration": 0.1, "kernel_epoch": 1}}
        ran = {"outputs": outputs, "execution_count": number + 1, "metadata": metadata}
        cells.append(new_markdown_cell(f"## Step {number}", id=f"said-{number}"))
        cells.append(new_code_cell(f"step({number})", id=f"ran-{number}", **ran))
    path = tmp_path_factory.mktemp("long") / "session.ipynb"
    ours = {"nbtape": {"version": 1, "started": "2026-01-01T00:00:00+00:00"}}
    nbformat.write(new_notebook(cells=cells, metadata=ours), path)
    assert path.stat().st_size > 100e6
    return path


def test_show_takes_less_than_a_second(session: Path) -> None:
    def show() -> None:
        shown = subprocess.run([*COMMAND, "show", session], capture_output=True, text=True, check=True).stdout
        assert f"step({_CELLS // 2 - 1})" in shown

    assert min(seconds(show) for _ in range(3)) < 1


def test_the_watch_page_fills_in_less_than_three_seconds(session: Path, browser: Browser) -> None:
    def watch() -> float:
        began = time.monotonic()
        watching = Watching(session, "--web", cwd=session.parent)
        with contextlib.ExitStack() as stack:
            stack.callback(watching.end)
            stack.callback(watching.process.kill)
            assert eventually(lambda: watching.text.endswith("\n"), 30), watching.error
            page = stack.enter_context(browser.new_context()).new_page()
            page.goto(watching.text.strip())
            newest = page.locator("main > section:last-child")
            expect(newest).to_contain_text(f"step({_CELLS // 2 - 1})")
            expect(newest.locator("img")).to_be_visible()
            return time.monotonic() - began

    assert min(watch() for _ in range(3)) < 3
