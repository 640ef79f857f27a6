"""Pages in a browser, with what a reader does to them: what they do that they should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import Error

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page, Route

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
        """Open a page, and point at everything in it."""
        self._page.goto(url)
        return self.of_this(url)

    def of_this(self, url: str) -> list[str]:
        """Point at everything in the page that is open."""
        try:
            self._page.evaluate(POINT_AT_ALL)
            self._page.wait_for_load_state()
            if self._page.evaluate("window.pwned"):
                self.done.append("a script ran")
        except Error as error:  # it has gone elsewhere meanwhile
            self.done.append(str(error))
        if self._page.url.partition("#")[0] != url.partition("#")[0]:
            self.done.append(f"went to {self._page.url}")
        return self.done
