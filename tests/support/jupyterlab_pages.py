"""JupyterLab in a browser, for tests: a real one on real files, and what a user sees and does in it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_servers import TOKEN, plain_server
from playwright.sync_api import expect

from nbtape import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

#: Milliseconds for JupyterLab to do something on a busy machine.
PATIENCE = 30_000


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab.

    Args:
        info: Its address and token.
        files: The directory that it shows.
    """

    info: JupyterConnectionInfo
    files: Path

    def link(self, notebook: Path) -> str:
        """Return the link to a notebook, with the token."""
        return f"{self.info.url}lab/tree/{notebook.relative_to(self.files).as_posix()}?reset&token={TOKEN}"


#: Settings: ask nothing about news, and record times.
SETTINGS = {
    "labconfig/page_config.json": {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}},
    "lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"recordTiming": True},
}


@contextlib.contextmanager
def jupyterlab(home: Path) -> Iterator[Lab]:
    """Run JupyterLab with usual settings."""
    for name, settings in SETTINGS.items():
        file = home / "jupyter" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    with plain_server(home, program="jupyterlab") as port:
        yield Lab(JupyterConnectionInfo("127.0.0.1", use_https=False, port=port, token=TOKEN), home / "files")


class NotebookPage:
    """One notebook, open in a browser tab of its own.

    Args:
        page: The tab.
    """

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def cells(self) -> Locator:
        """The notebook's cells."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    @property
    def title(self) -> Locator:
        """The tab's title, which marks unsaved changes."""
        return self.page.locator("#jp-main-dock-panel .lm-TabBar-tab")

    @property
    def dialogs(self) -> Locator:
        """Dialogs that ask for an answer or show a warning."""
        return self.page.locator(".jp-Dialog, .Toastify__toast")

    def outputs(self, index: int) -> Locator:
        """Return the outputs that cell `index` shows."""
        return self.cells.nth(index).locator(".jp-OutputArea-output")

    def wait_for_kernel(self) -> None:
        """Return when the page has an idle kernel."""
        expect(self.page.locator("#jp-bottom-panel")).to_contain_text("| Idle")

    def expect_saved(self) -> None:
        """Expect that the page has no unsaved changes."""
        expect(self.title).not_to_have_class(re.compile("jp-mod-dirty"))

    def expect_unsaved(self) -> None:
        """Expect that the page has unsaved changes and shows that."""
        expect(self.title).to_have_class(re.compile("jp-mod-dirty"))

    def command(self, *names: str) -> None:
        """Choose a menu item by the names that lead to it."""
        for name in names:
            self.page.get_by_role("menuitem", name=re.compile(f"^{re.escape(name)}")).first.click()

    def save(self) -> None:
        """Save, and return when that is done or a question is asked."""
        self.page.keyboard.press("Control+s")

    def answer(self, button: str) -> None:
        """Answer the open question."""
        self.page.locator(".jp-Dialog button", has_text=re.compile(f"^{button}$")).click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)

    def answer_if_asked(self, question: str, button: str) -> None:
        """Answer a question each time it appears; JupyterLab may or may not ask it."""
        dialog = self.page.locator(".jp-Dialog", has_text=question)
        self.page.add_locator_handler(dialog, lambda: self.answer(button))

    def select(self, index: int) -> None:
        """Select a cell and give the notebook the keyboard focus."""
        self.cells.nth(index).locator(".jp-InputPrompt").click()

    def write(self, index: int, source: str) -> None:
        """Replace the source of a cell."""
        self.cells.nth(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def add(self, index: int, source: str) -> int:
        """Write a cell below another one and return its position."""
        count = self.cells.count()
        self.select(index)
        self.page.keyboard.press("b")
        expect(self.cells).to_have_count(count + 1)
        self.write(index + 1, source)
        return index + 1

    def delete(self, index: int) -> None:
        """Delete a cell."""
        count = self.cells.count()
        self.select(index)
        self.page.keyboard.press("d")
        self.page.keyboard.press("d")
        expect(self.cells).to_have_count(count - 1)

    def run_code(self, code: str) -> int:
        """Add a cell at the end, run it, and return its position."""
        index = self.add(self.cells.count() - 1, code)
        self.page.keyboard.press("Control+Enter")
        return index

    def expect_output(self, index: int, text: str) -> None:
        """Expect that a cell shows only this text."""
        expect(self.outputs(index)).to_have_text(text)


@contextlib.contextmanager
def opened(browser: Browser, link: str, *, clock: bool = False) -> Iterator[NotebookPage]:
    """Open a notebook in JupyterLab from a link.

    Args:
        browser: The browser to use.
        link: The link, with the token.
        clock: Whether the test controls the page's clock.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    try:
        page = context.new_page()
        if clock:
            page.clock.install()
        page.goto(link)
        shown = NotebookPage(page)
        expect(shown.cells.first).to_be_visible()
        shown.wait_for_kernel()
        yield shown
    finally:
        context.close()
