"""Pages in a browser, with a reader's actions, and what a page does that it must not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import Error

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page, Route

#: A reader's actions: point at elements and click them.
POINT_AT_ALL = """() => {
    const kinds = ["mouseover", "pointerover", "focus", "toggle", "click", "submit", "animationstart"];
    for (const element of document.querySelectorAll("body *"))
        for (const kind of kinds)
            if (kind != "click" || !(element.getAttribute("href") || "").startsWith("http"))
                element.dispatchEvent(new MouseEvent(kind, { bubbles: true, cancelable: true }));
}"""

#: Elements that no page of nbtape contains, except for its own style.
ACTING = (
    "script, iframe, frame, object, embed, form, input, button, link, base, svg, math, template, video, audio, "
    "body style, head style ~ style, meta[http-equiv=refresh i]"
)
POSITIONS = "() => [...document.querySelectorAll('main *')].map(e => getComputedStyle(e).position)"


class Seen:
    """What a page does that it must not do."""

    def __init__(self, page: Page, ours: str = "file:") -> None:
        self._page = page
        self._ours = ours
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
        if route.request.url.startswith((self._ours, "data:image/")):
            route.continue_()
        else:
            self.done.append(f"request {route.request.url[:100]}")
            route.abort()

    def of(self, url: str) -> list[str]:
        """Open a page and point at everything in it."""
        self._page.goto(url)
        return self.of_this(url)

    def of_this(self, url: str) -> list[str]:
        """Point at everything in the open page."""
        try:
            self._page.evaluate(POINT_AT_ALL)
            self._page.wait_for_load_state()
            if self._page.evaluate("window.pwned"):
                self.done.append("a script ran")
        except Error as error:  # it has navigated away in the meantime
            self.done.append(str(error))
        if self._page.url.partition("#")[0] != url.partition("#")[0]:
            self.done.append(f"went to {self._page.url}")
        return self.done
