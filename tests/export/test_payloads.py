"""Hostile content in a recording does not run in a browser: every payload, in every position."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_notebook, new_output
from opened import ACTING, POSITIONS, Seen
from payloads import GROUPS, LEADS_AWAY, PAYLOADS, SIZES, everywhere, huge_png

from nbtape.export.html import render
from nbtape.export.markdown import write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    yield page
    page.close()


def test_the_corpus_is_large_and_works_without_protection(browser: Browser, tmp_path: Path, *, full: bool) -> None:
    assert len(PAYLOADS) >= 100
    tried = dict(list(PAYLOADS.items())[:: 1 if full else 4])
    worked = set()
    context = browser.new_context()
    for number, (name, payload) in enumerate(tried.items()):
        (path := tmp_path / f"{number}.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{payload}")
        page = context.new_page()
        if Seen(page).of(path.as_uri()):
            worked.add(name)
        page.close()
    context.close()
    assert len(worked) / len(tried) >= 60 / len(PAYLOADS), sorted(tried.keys() - worked)


@pytest.mark.parametrize("group", GROUPS)
def test_payloads_do_not_run_even_without_the_policy(group: str, page: Page, tmp_path: Path) -> None:
    payloads = GROUPS[group].values()
    text = render(everywhere(payloads), " ".join(payloads)[:5000])
    without, policies = re.subn(r'<meta http-equiv="Content-Security-Policy".*?>', "", text, count=1)
    assert policies == 1
    (path := tmp_path / "page.html").write_text(without)
    assert Seen(page).of(path.as_uri()) == []
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


def test_the_policy_alone_stops_payloads(page: Page, tmp_path: Path) -> None:
    seen = Seen(page)
    head = render(new_notebook(), "x").partition("<body>")[0]
    for number, (name, payload) in enumerate(PAYLOADS.items()):
        (path := tmp_path / f"{number}.html").write_text(f"{head}<body>{payload}")
        if name in LEADS_AWAY | SIZES.keys():
            continue
        assert seen.of(path.as_uri()) == [], name


@pytest.mark.parametrize("group", GROUPS)
def test_payloads_do_not_run_in_a_report_rendered_by_a_careless_viewer(group: str, page: Page, tmp_path: Path) -> None:
    payloads = GROUPS[group].values()
    report = write_report(everywhere(payloads), " ".join(payloads)[:5000], "files")
    careless = MarkdownIt("commonmark", {"html": True}).enable("table")
    careless.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005
    (path := tmp_path / "page.html").write_text(f"<meta charset=utf-8><body>{careless.render(report.text)}")
    for name, content in report.images.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert Seen(page).of(path.as_uri()) == []
    for drawing in tmp_path.glob("files/*.svg"):
        assert Seen(page).of(drawing.as_uri()) == []


def test_an_image_too_large_for_memory_is_replaced_by_a_notice(page: Page, tmp_path: Path) -> None:
    outputs = [
        new_output("display_data", {"image/png": huge_png(60_000, 60_000), "text/plain": "<Figure>"}),
        new_output("display_data", {"image/png": huge_png(100, 100), "text/plain": "<Figure>"}),
    ]
    (path := tmp_path / "page.html").write_text(render(new_notebook(cells=[new_code_cell("x", outputs=outputs)]), "x"))
    page.goto(path.as_uri())
    assert page.locator("main img").count() == 1
    assert (
        page.locator(".cell-output").first.inner_text().startswith("[image/png: not shown on a page; see the notebook]")
    )
