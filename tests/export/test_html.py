"""The HTML page of a recorded run, for readers without Jupyter."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
from io import BytesIO
from typing import TYPE_CHECKING, NoReturn

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from nbtape.common.safe_images import safe_image
from nbtape.export.html import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

TABLE = "<style scoped>td {color: red}</style><table class='dataframe'><tr><th></th><td>4.5 &lt; 5</td></tr></table>"


def png() -> str:
    Image.new("RGB", (40, 30), "red").save(content := BytesIO(), "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_a_page_shows_the_summary_cells_failures_and_outputs(browser: Browser, tmp_path: Path) -> None:
    outputs = [
        new_output("stream", text="\x1b[31mred\x1b[0m & more\n"),
        new_output("execute_result", {"text/html": TABLE, "text/plain": "   0\n0  4.5"}),
        new_output("display_data", {"image/png": png(), "text/plain": "<Figure>"}),
        new_output("display_data", {"text/html": "<script>plot()</script><div></div>", "text/plain": "Plot(…)"}),
    ]
    failed = new_output("error", ename="KeyError", evalue="'x'", traceback=["Traceback", "KeyError: 'x'"])
    cells = [
        new_markdown_cell("# Findings\n\n**Bold** and `code`:\n\n```python\nx = 1\n```\n\n- [x] done"),
        new_code_cell("x = 1\nprint(x)", execution_count=1, outputs=outputs),
        new_code_cell(
            "d['x']", execution_count=2, outputs=[failed], metadata={"nbtape": {"status": "error", "duration": 1.5}}
        ),
    ]
    environment = {
        "python": "3.12.1",
        "platform": "Linux",
        "packages": {},
        "local": [],
        "directory": "/work",
        "utc_offset": 0,
    }
    ours = {
        "started": "2026-05-01T10:00:00Z",
        "recorded_by": "nbtape 1",
        "environment": environment,
        "image": "science",
    }
    metadata = {"nbtape": ours, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    (path := tmp_path / "page.html").write_text(render(new_notebook(cells=cells, metadata=metadata), "run.ipynb"))
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.title() == "run.ipynb"
    summary = page.locator(".run-summary").inner_text()
    for told in (
        "1 ok",
        "1 error",
        "2026-05-01 10:00:00 UTC",
        "Python 3.12.1, Linux",
        "/work",
        "science",
        "KeyError: 'x'",
    ):
        assert told in summary
    page.locator(".run-failures a").click()
    assert page.url.endswith("#cell-2")
    assert page.locator("#cell-2.cell-failed").inner_text().split()[:5] == ["block", "2", "error", "1.5", "s"]
    assert page.locator("main h1").inner_text() == "Findings"
    assert page.locator("main li input[type=checkbox]").is_checked()
    assert page.locator("main li").inner_text().strip() == "done"
    assert page.locator("table td").inner_text() == "4.5 < 5"
    assert page.locator(".ansi-red-fg").inner_text() == "red"
    assert page.evaluate("document.images[0].naturalWidth") == 40
    assert "Plot(…)" in page.locator(".output-text").inner_text()
    assert [url for url in asked if not url.startswith(("file:", "data:image/png;"))] == []
    page.close()


def test_tables_align_left_in_prose_and_right_in_outputs(browser: Browser, tmp_path: Path) -> None:
    prose = new_markdown_cell("| a | b |\n|---|--:|\n| x | 1 |")
    output = new_output("execute_result", {"text/html": TABLE, "text/plain": "4.5"})
    (tmp_path / "page.html").write_text(render(new_notebook(cells=[prose, new_code_cell("", outputs=[output])]), "n"))
    page = browser.new_page()
    page.goto(f"file://{tmp_path / 'page.html'}")
    aligned = "[...document.querySelectorAll('td')].map(cell => getComputedStyle(cell).textAlign)"
    assert page.evaluate(aligned) == ["left", "right", "right"]


def test_files_in_the_working_directory_are_not_used_as_templates_or_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"type": "nbconvert.preprocessors.ExecutePreprocessor", "enabled": True}
    for directory in (tmp_path, tmp_path / "base", tmp_path / "nbconvert" / "templates"):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "conf.json").write_text(json.dumps({"preprocessors": {"1": runs}}))
        for name in ("page", "page.html.j2", "index.html.j2", "<memory>"):
            (directory / name).write_text("hijacked")
    monkeypatch.chdir(tmp_path)
    notebook = new_notebook(cells=[new_code_cell(f"open({str(tmp_path / 'ran')!r}, 'w')")])
    assert "hijacked" not in render(notebook, "x")
    assert not (tmp_path / "ran").exists()


def test_a_long_output_is_cut_with_a_notice() -> None:
    outputs = [new_output("stream", text="x" * 1_000_000)]
    page = render(new_notebook(cells=[new_code_cell("flood()", outputs=outputs)]), "x")
    assert "characters left out; full text in the notebook" in page
    assert len(page) < 100_000


@pytest.mark.parametrize("data", ["", "no base64", base64.b64encode(b"no picture").decode(), None, ["x"]])
def test_invalid_image_data_is_not_shown(data: object) -> None:
    assert safe_image("image/png", data) is None
    assert safe_image("image/svg+xml", data) is None


def test_an_image_must_match_its_mime_type() -> None:
    assert safe_image("image/png", png()) is not None
    assert safe_image("image/gif", png()) is None


def test_text_that_takes_quadratic_time_to_parse_is_shown_as_written() -> None:
    stars = "*" * 50_000
    cells = [new_code_cell(stars), new_markdown_cell(f"```python\n{stars[:19_000]}\n```"), new_markdown_cell(stars)]
    with time_limit(20):
        assert stars in render(new_notebook(cells=cells), "x")


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Fail the test if the block takes longer."""

    def fail(*_: object) -> NoReturn:
        pytest.fail("it takes for ever")  # Not an exception, which would be attributed to the text.

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
