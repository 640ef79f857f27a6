"""Sanitized SVG does nothing active in a browser, and ordinary images look unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output
from opened import Seen
from svg_payloads import BOMBS, DISARMED, GRAPHVIZ, PLOTLY, REFUSED

from nbtape.common.safe_images import safe_image
from nbtape.export.html import render
from nbtape.export.markdown import write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

ALL = {**DISARMED, **REFUSED, **BOMBS}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 700, "height": 500})
    yield page
    page.close()


def test_the_corpus_works_without_protection(browser: Browser, tmp_path: Path, *, full: bool) -> None:
    tried = dict(list(DISARMED.items())[:: 1 if full else 4])
    worked = []
    for number, (name, text) in enumerate(tried.items()):
        (path := tmp_path / f"{number}.svg").write_text(text)
        page = browser.new_page()
        if Seen(page).of(path.as_uri()):
            worked.append(name)
        page.close()
    assert len(worked) / len(tried) >= 25 / len(DISARMED), worked


def test_images_of_a_report_do_nothing_when_opened(page: Page, tmp_path: Path) -> None:
    outputs = [new_output("display_data", {"image/svg+xml": text}) for text in ALL.values()]
    report = write_report(new_notebook(cells=[new_code_cell("", outputs=outputs)]), "x", "files")
    assert len(report.images) == len(DISARMED)
    seen = Seen(page)
    for number, content in enumerate(report.images.values()):
        (path := tmp_path / f"{number}.svg").write_bytes(content)
        assert seen.of(path.as_uri()) == []
        assert page.evaluate("document.querySelectorAll('rect').length") >= 1


def test_a_page_shows_the_sanitized_images(page: Page, tmp_path: Path) -> None:
    outputs = [new_output("display_data", {"image/svg+xml": text}) for text in ALL.values()]
    (path := tmp_path / "page.html").write_text(render(new_notebook(cells=[new_code_cell("", outputs=outputs)]), "x"))
    assert Seen(page).of(path.as_uri()) == []
    assert page.evaluate("[...document.images].filter(image => image.naturalWidth == 90).length") == len(DISARMED)


def _plot(fonts: str) -> str:
    """A plot with lines, markers, an image, hatches, clips, text and transparency."""
    from io import StringIO

    with mpl.rc_context({"svg.fonttype": fonts}):
        figure = Figure(figsize=(6, 4))
        left, right = figure.subplots(1, 2)
        left.plot(range(20), [value**2 for value in range(20)], "o--", label="é & < $x^2$", alpha=0.5)
        left.fill_between(range(20), range(0, 400, 20), hatch="//", alpha=0.3)
        left.legend(title="a 'title'")
        right.imshow([[1, 2], [3, 4]], interpolation="nearest")
        right.bar([0, 1], [1, 0.5], hatch="x", edgecolor="red")
        right.annotate("here", (0, 0), (1, 1), arrowprops={"arrowstyle": "->"})
        figure.savefig(written := StringIO(), format="svg")
    return written.getvalue()


@pytest.mark.parametrize("kind", ["paths", "text", "Graphviz", "plotly"])
def test_ordinary_images_look_the_same(kind: str, page: Page, tmp_path: Path) -> None:
    texts = {"Graphviz": GRAPHVIZ, "plotly": PLOTLY}
    text = texts.get(kind) or _plot("path" if kind == "paths" else "none")
    assert "<!DOCTYPE" in text or kind == "plotly"
    content = safe_image("image/svg+xml", text)
    assert content is not None
    looks = []
    for name, each in (("before", text.encode()), ("after", content)):
        (path := tmp_path / f"{name}.svg").write_bytes(each)
        page.goto(path.as_uri())
        looks.append(page.screenshot())
    assert looks[0] == looks[1]
