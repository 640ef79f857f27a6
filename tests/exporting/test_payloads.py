"""Nothing hostile in a recording runs where it is read: in a browser, with every payload in every place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from payloads import GROUPS, PAYLOADS, SIZES, huge_png
from playwright.sync_api import Error

from nbtape.exporting.page import render
from nbtape.exporting.report import write_report

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from nbformat import NotebookNode
    from playwright.sync_api import Browser, Dialog, Page, Route

#: What opens a page by itself, or needs a person: no policy of a page keeps it from that.
LEADS_AWAY = {"refresh"}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    yield page
    page.close()


def everywhere(payloads: Collection[str]) -> NotebookNode:
    """A notebook with payloads in every place that it has."""
    payload = " ".join(payloads)[:20_000]
    environment = {"python": payload[:4000], "platform": payload[:4000], "packages": {}, "local": []}
    ours = {"started": payload, "recorded_by": payload, "server": payload}
    metadata = {
        "kernelspec": {"name": "python3", "display_name": payload},
        "language_info": {"name": payload, "pygments_lexer": payload},
        "title": payload,
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {payload: payload}}},
        "nbtape": {**ours, "environment": {**environment, "directory": payload[:4000], "utc_offset": 0}},
    }
    cells = [cell for each in payloads for cell in cells_of(each)]
    notebook: NotebookNode = new_notebook(cells=cells, metadata=metadata)
    return notebook


def cells_of(payload: str) -> list[NotebookNode]:
    """Cells with a payload in every place that they have."""
    data: list[dict[str, object]] = [
        {kind: payload} for kind in ("text/html", "image/svg+xml", "text/markdown", "text/latex", "text/plain")
    ]
    data += [{"application/json": {payload: [payload]}}, {"image/png": payload}, {"application/javascript": payload}]
    data += [{"image/svg+xml": payload, "text/html": payload, "text/plain": payload}, {payload: payload}]
    outputs = [new_output("display_data", each, metadata={"text/html": {"isolated": True}}) for each in data]
    outputs += [new_output("stream", name=name, text=payload) for name in ("stdout", "stderr")]
    outputs += [new_output("error", ename=payload, evalue=payload, traceback=lines) for lines in ([payload], [])]
    ours = {"status": "error", "note": payload, "extracted": [{"path": payload}], "kernel_epoch": payload}
    times = {"iopub.execute_input": payload, "shell.execute_reply": payload}
    tags = [payload.replace(",", ";")]
    return [
        new_markdown_cell(payload, attachments={"x.png": {"image/png": payload, "text/html": payload}}),
        new_raw_cell(payload, metadata={"raw_mimetype": "text/html"}),
        new_code_cell(payload, outputs=outputs, metadata={"nbtape": ours, "execution": times, "tags": tags}),
    ]


#: What a reader may do: point at things, and click.
POINT_AT_ALL = """() => {
    const kinds = ["mouseover", "pointerover", "focus", "toggle", "click", "submit", "animationstart"];
    for (const element of document.querySelectorAll("body *"))
        for (const kind of kinds)
            if (kind != "click" || !(element.getAttribute("href") || "").startsWith("http"))
                element.dispatchEvent(new MouseEvent(kind, { bubbles: true, cancelable: true }));
}"""

#: Elements that are in no page of ours, but for its own style.
ACTING = (
    "script, iframe, frame, object, embed, form, input, button, link, base, svg, math, template, video, audio, "
    "body style, head style ~ style, meta[http-equiv=refresh i]"
)
POSITIONS = "() => [...document.querySelectorAll('main *')].map(e => getComputedStyle(e).position)"


class Seen:
    """What a page does that it should not."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.done: list[str] = []
        page.on("dialog", self._dismiss)
        page.on("popup", lambda popup: self.done.append(f"popup {popup.url}"))
        page.on("download", lambda _: self.done.append("download"))
        page.on("pageerror", lambda error: self.done.append(f"script: {error}"))
        page.route("**/*", self._judge)

    def _dismiss(self, dialog: Dialog) -> None:
        self.done.append("dialog")
        dialog.dismiss()

    def _judge(self, route: Route) -> None:
        if route.request.url.startswith(("file:", "data:image/")):
            route.continue_()
        else:
            self.done.append(f"request {route.request.url[:100]}")
            route.abort()

    def of(self, path: Path) -> list[str]:
        """Open a page, and point at everything in it."""
        self._page.goto(path.as_uri())
        try:
            self._page.evaluate(POINT_AT_ALL)
            self._page.wait_for_load_state()
            if self._page.evaluate("window.pwned"):
                self.done.append("a script ran")
        except Error as error:  # it has gone elsewhere meanwhile
            self.done.append(str(error))
        if self._page.url.partition("#")[0] != path.as_uri():
            self.done.append(f"went to {self._page.url}")
        return self.done


def test_the_corpus_is_large_and_works_where_nothing_holds_it(browser: Browser, tmp_path: Path) -> None:
    assert len(PAYLOADS) >= 100
    worked = set()
    context = browser.new_context()
    for number, (name, payload) in enumerate(PAYLOADS.items()):
        (path := tmp_path / f"{number}.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{payload}")
        page = context.new_page()
        if Seen(page).of(path):
            worked.add(name)
        page.close()
    context.close()
    assert len(worked) >= 60, sorted(PAYLOADS.keys() - worked)


@pytest.mark.parametrize("group", GROUPS)
def test_nothing_of_it_runs_even_without_the_policy(group: str, page: Page, tmp_path: Path) -> None:
    payloads = GROUPS[group].values()
    text = render(everywhere(payloads), " ".join(payloads)[:5000])
    without, policies = re.subn(r'<meta http-equiv="Content-Security-Policy".*?>', "", text, count=1)
    assert policies == 1
    (path := tmp_path / "page.html").write_text(without)
    assert Seen(page).of(path) == []
    assert page.locator(ACTING).count() == 0
    attributes = page.evaluate("() => [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert {name for name in attributes if name.startswith("on") or name in {"srcset", "ping", "background"}} == set()
    assert set(page.evaluate(POSITIONS)) == {"static"}
    assert page.locator(".run-summary").is_visible()
    assert page.locator("main .run-badge").count() == len(payloads)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000
    for width, height in page.evaluate("() => [...document.images].map(i => [i.clientWidth, i.clientHeight])"):
        assert width <= 1000
        assert height <= 48 * 16


def test_nothing_of_it_runs_with_the_policy_alone(page: Page, tmp_path: Path) -> None:
    seen = Seen(page)
    head = render(new_notebook(), "x").partition("<body>")[0]
    for number, (name, payload) in enumerate(PAYLOADS.items()):
        (path := tmp_path / f"{number}.html").write_text(f"{head}<body>{payload}")
        if name in LEADS_AWAY | SIZES.keys():
            continue
        assert seen.of(path) == [], name


@pytest.mark.parametrize("group", GROUPS)
def test_nothing_of_it_runs_in_a_report_that_is_rendered_without_care(group: str, page: Page, tmp_path: Path) -> None:
    payloads = GROUPS[group].values()
    report = write_report(everywhere(payloads), " ".join(payloads)[:5000], "files")
    careless = MarkdownIt("commonmark", {"html": True}).enable("table")
    careless.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005
    (path := tmp_path / "page.html").write_text(f"<meta charset=utf-8><body>{careless.render(report.text)}")
    for name, content in report.pictures.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert Seen(page).of(path) == []
    for drawing in tmp_path.glob("files/*.svg"):
        assert Seen(page).of(drawing) == []


def test_a_picture_that_would_fill_the_memory_is_told_of(page: Page, tmp_path: Path) -> None:
    outputs = [
        new_output("display_data", {"image/png": huge_png(60_000, 60_000), "text/plain": "<Figure>"}),
        new_output("display_data", {"image/png": huge_png(100, 100), "text/plain": "<Figure>"}),
    ]
    (path := tmp_path / "page.html").write_text(render(new_notebook(cells=[new_code_cell("x", outputs=outputs)]), "x"))
    page.goto(path.as_uri())
    assert page.locator("main img").count() == 1
    assert page.locator(".cell-output").first.inner_text().startswith("[image/png: not for a page; see the notebook]")
