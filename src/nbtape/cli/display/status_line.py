"""What a person is told while something takes its time: a line that goes away again, or lines that stay."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

import click

from nbtape.cli.display.consoles import consoles, read_or_not, shows_progress
from nbtape.cli.display.plain import plain_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.status import Status

#: Seconds for which nobody wonders: what is done by then shows nothing, and does not even load what would show it.
_PATIENCE: Final = 0.5


def say(line: str) -> None:
    """A line for people, who need not read it: standard output is for what was asked for."""
    with read_or_not():
        click.echo(line, err=True)


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something is under way, as long as it is entered.

    What it gives takes how far that is, a line.
    """
    if not shows_progress():
        yield lambda _: None
        return
    line = _Line(what)
    later = threading.Timer(_PATIENCE, line.show)
    later.start()
    try:
        yield line.change
    finally:
        later.cancel()
        later.join()
        line.hide()


class _Line:
    """A line with something that moves. It is shown by a thread of its own."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._status: Status | None = None

    def show(self) -> None:
        self._status = consoles().err.status("")
        self._status.start()
        self.change(self._text)  # the last one, whatever was said meanwhile

    def change(self, text: str) -> None:
        self._text = plain_line(text)
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(self._text))

    def hide(self) -> None:
        if self._status is not None:
            self._status.stop()
