"""The HTML page of a replay: both notebooks side by side, without active content."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import nbformat
import pytest
from lxml import html
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from nbtape import ReplayedCell, ReplayReport
from nbtape.environment import Difference
from nbtape.replay.html_report import render

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def report(directory: Path, recorded: list[NotebookNode], replayed: list[NotebookNode], verdict: str) -> ReplayReport:
    paths = directory / "recorded.ipynb", directory / "replayed.ipynb"
    for path, outputs in zip(paths, (recorded, replayed), strict=True):
        cell = new_code_cell(f"evil = {EVIL!r}", id="one", execution_count=1, outputs=outputs)
        nbformat.write(new_notebook(cells=[cell]), path)
    cell = ReplayedCell(0, "one", verdict, "ok", "ok", f"the text differs: {EVIL}")  # type: ignore[arg-type]
    return ReplayReport(*paths, [cell])


def test_both_outputs_are_shown_side_by_side_with_verdict_and_reason(tmp_path: Path) -> None:
    page = html.fromstring(
        render(
            [report(tmp_path, [new_output("stream", text="then\n")], [new_output("stream", text="now\n")], "different")]
        )
    )
    assert [pre.text for pre in page.xpath("//*[@class='pair']//pre")] == ["then\n", "now\n"]
    assert [each.text for each in page.xpath("//*[contains(@class, 'verdict')]")] == ["different"]
    assert "the text differs" in page.xpath("//section/p")[0].text_content()


def test_the_environment_is_shown_as_text(tmp_path: Path) -> None:
    told = report(tmp_path, [], [], "same")
    evil = replace(told, environment=[Difference("pandas", "2.3.1", EVIL)])
    page = html.fromstring(render([evil]))
    assert page.xpath("//details//li")[0].text_content() == f"pandas 2.3.1 → {EVIL}"
    assert not page.xpath("//script | //*[@onerror]")


@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", text=EVIL),
        new_output("display_data", {"text/html": EVIL}),
        new_output("display_data", {"text/html": EVIL, "text/plain": EVIL}),
        new_output("display_data", {"application/javascript": "alert(3)"}),
        new_output("display_data", {"image/svg+xml": f"<svg>{EVIL}</svg>"}),
        new_output("display_data", {"image/png": EVIL}),
        new_output("display_data", {"image/png": '" onerror="alert(4)'}),
        new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL]),
    ],
)
def test_the_page_has_no_active_content(tmp_path: Path, output: NotebookNode) -> None:
    text = render([report(tmp_path, [output], [output], "same")])
    page = html.fromstring(text)
    assert page.xpath("//script|//iframe|//object|//embed|//link|//form") == []
    assert [name for each in page.iter() for name in each.attrib if name.startswith("on")] == []
    assert all(source.startswith("data:image/") for source in page.xpath("//img/@src"))
    assert "default-src 'none'" in text


def test_images_are_embedded_in_the_page(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(content := BytesIO(), "PNG")
    encoded = base64.b64encode(content.getvalue()).decode()
    picture = new_output("display_data", {"image/png": encoded, "text/plain": "<Figure>"})
    page = html.fromstring(render([report(tmp_path, [picture], [picture], "same")]))
    sources = [source.partition("base64,")[2] for source in page.xpath("//*[@class='pair']//img/@src")]
    assert [base64.b64decode(source) for source in sources] == [content.getvalue()] * 2


def test_a_long_text_is_cut_with_a_notice(tmp_path: Path) -> None:
    flood = new_output("stream", text="x" * 1_000_000)
    assert "[980,000 more characters]" in (page := render([report(tmp_path, [flood], [flood], "same")]))
    assert len(page) < 60_000
