"""Messages on standard error: permanent lines, and a status line during slow work."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from nbtape.cli.display.consoles import consoles, read_or_not, shows_progress, spinner
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.printing import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.status import Status

#: Faster work shows no status line and does not import rich.console.
_SHOWN_AFTER_SECONDS: Final = 0.5


def say(line: str) -> None:
    """Print a message, made plain unless it is `Shown`; standard output is for results."""
    with read_or_not():
        echo(line, err=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show a status line on a terminal while entered; call the yielded function to change the line."""
    if not shows_progress():
        yield lambda _: None
        return
    line = _Line(what)
    later = threading.Timer(_SHOWN_AFTER_SECONDS, line.show)
    later.start()
    try:
        yield line.change
    finally:
        later.cancel()
        later.join()
        line.hide()


class _Line:
    """A status line that a timer shows after a delay."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._status: Status | None = None

    def show(self) -> None:
        _, console = consoles()
        self._status = console.status("", spinner=spinner())
        self._status.start()
        self.change(self._text)  # which may have changed meanwhile

    def change(self, text: str) -> None:
        self._text = plain_line(text)
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(self._text))

    def hide(self) -> None:
        if self._status is not None:
            self._status.stop()
