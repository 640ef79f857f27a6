"""Hostile content in a session does not run in a browser that watches it: every payload, in every position."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from opened import ACTING, POSITIONS, Seen
from payloads import GROUPS, LEADS_AWAY, PAYLOADS, SIZES, everywhere
from playwright.sync_api import expect

from nbtape.export.html_parts import Parts
from nbtape.watch.page_server import PageServer
from nbtape.watch.page_state import Board
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbformat import NotebookNode
    from playwright.sync_api import Browser, Page


@contextmanager
def live(notebook: NotebookNode, directory: Path, name: str = "x") -> Iterator[str]:
    """The link to the page of a session that has ended."""
    nbformat.write(notebook, path := directory / "x.ipynb")
    snapshot = SnapshotReader(path).read()
    assert snapshot is not None
    board = Board(name)
    board.post(snapshot)
    board.conclude("It has ended.")
    with PageServer(board, 0) as server:
        yield server.url


#: Waits until every image is loaded or has failed.
SETTLED = """() => Promise.all([...document.images].map((image) => image.complete || new Promise((done) => {
    for (const kind of ["load", "error"]) image.addEventListener(kind, done);
})))"""


@contextmanager
def opened(browser: Browser, url: str, *, without_policy: bool = False) -> Iterator[tuple[Page, Seen]]:
    """The page after it has loaded everything."""
    with browser.new_context(bypass_csp=without_policy, viewport={"width": 1000, "height": 800}) as context:
        page = context.new_page()
        seen = Seen(page, ours=url.partition("#")[0])
        page.goto(url)
        expect(page.locator("#state")).to_have_text("It has ended.", timeout=60_000)
        page.evaluate(SETTLED)
        yield page, seen


@pytest.mark.parametrize("group", GROUPS)
def test_payloads_do_not_run_even_without_the_policy(group: str, browser: Browser, tmp_path: Path) -> None:
    payloads = GROUPS[group].values()
    with (
        live(everywhere(payloads), tmp_path, " ".join(payloads)) as url,
        opened(browser, url, without_policy=True) as (page, seen),
    ):
        assert seen.of_this(url) == []
        assert page.locator("main, header").locator(ACTING).count() == page.locator("#strip button").count()
        attributes = page.evaluate("() => [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
        assert {each for each in attributes if each.startswith("on") or each in {"srcset", "ping"}} == set()
        assert set(page.evaluate(POSITIONS)) == {"static"}
        assert page.locator("main .run-badge").count() == len(payloads)
        assert page.locator("main .cell-output").count() >= 10 * len(payloads)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show outputs without escaping."""
    monkeypatch.setattr(Parts, "output", lambda _, output: output["text"])


def raw(names: set[str]) -> NotebookNode:
    outputs = [new_output("stream", text=payload) for name, payload in PAYLOADS.items() if name in names]
    notebook: NotebookNode = new_notebook(cells=[new_code_cell("x", outputs=[output]) for output in outputs])
    return notebook


@pytest.mark.usefixtures("careless")
def test_the_policy_alone_stops_payloads(browser: Browser, tmp_path: Path) -> None:
    with live(raw(PAYLOADS.keys() - LEADS_AWAY - SIZES.keys()), tmp_path) as url, opened(browser, url) as (_, seen):
        # A payload's link to `#x` opens the page again, without its token.
        assert set(seen.of_this(url)) <= {f"popup {url.partition('#')[0]}#x"}


@pytest.mark.usefixtures("careless")
def test_payloads_run_without_escaping_and_policy(browser: Browser, tmp_path: Path) -> None:
    with (
        live(raw({"onerror", "onclick", "picture from elsewhere"}), tmp_path) as url,
        opened(browser, url, without_policy=True) as (_, seen),
    ):
        done = seen.of_this(url)
    assert "a script ran" in done
    assert any(each.startswith("request https://evil.example") for each in done)
