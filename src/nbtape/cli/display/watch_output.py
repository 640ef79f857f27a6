"""What a person sees of a session that goes on: cell by cell, line by line, and below it what has no end yet."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.display.plain import coloured, plain, plain_line
from nbtape.cli.display.run_table import styled
from nbtape.common.text import shorten
from nbtape.notebook.output_text import output_text
from nbtape.summary.wording import edits, span
from nbtape.watch.events import CellBegun, OutputShown, StreamGrown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.summary.run_summary import RunCell
    from nbtape.watch.events import Event

#: Characters that are shown of what comes at once, and of a line that has no end.
_MOST_SHOWN: Final = 20_000


class Live:
    """Shows the events of one notebook on standard output. Colours and lines that move are for terminals.

    Args:
        notebook: Where it is.
    """

    def __init__(self, notebook: Path) -> None:
        self._notebook = notebook
        self._is_terminal = sys.stdout.isatty()
        # The stream that was printed last, and its line that has no end yet; what stands on the terminal's last line.
        self._stream: tuple[int, int] | None = None
        self._line = ""
        self._standing = ""
        # Outputs that take the place of others, until their cell ends; the cell that runs, and since when.
        self._updates: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._running: tuple[int, float] | None = None

    def tell(self, event: Event) -> None:
        """Show an event."""
        match event:
            case CellBegun():
                self._begin(event)
            case StreamGrown():
                self._grow(event)
            case OutputShown(is_update=True):
                self._updates[event.index, event.position] = event.output
            case OutputShown():
                self._finish_line()
                self._show(event.output)
            case _:
                self._end(event.about)

    def tick(self) -> None:
        """Show what is going on, below all else."""
        if self._is_terminal:
            self._stand(plain_line(self._line) or self._status())

    def close(self) -> None:
        """Nothing is to come."""
        self._finish_line()
        self._show_updates()
        self._stand("")

    def _begin(self, event: CellBegun) -> None:
        self._finish_line()
        self._show_updates()
        is_code = event.kind == "code"
        self._print("\n" + click.style(f"cell {event.index}" + ("" if is_code else f": {event.kind}"), bold=True))
        source = plain(shorten(event.source, _MOST_SHOWN, self._where())).removesuffix("\n")
        for line in source.split("\n"):
            self._print(click.style("  │ ", dim=True) + line if is_code else line)
        self._running = (event.index, time.monotonic()) if is_code else None

    def _grow(self, event: StreamGrown) -> None:
        if self._stream != (event.index, event.position):
            self._finish_line()
            self._stream = event.index, event.position
        *lines, self._line = (self._line + shorten(event.text, _MOST_SHOWN, self._where())).split("\n")
        if lines:
            self._print(self._fit("\n".join(map(_settled, lines))))
        self._line = _settled(self._line)[-_MOST_SHOWN:]

    def _end(self, about: RunCell) -> None:
        self._finish_line()
        self._show_updates()
        self._running = None
        told = [f"cell {about.index}: {styled(about.status)}", span(about.seconds), plain_line(edits(about))]
        self._print(", ".join(filter(None, told)))
        if about.note:
            self._print(f"    {plain_line(about.note)}")
        for path in about.files:
            self._print(f"    file: {plain_line(str(self._notebook.parent / path))}")

    def _show(self, output: Mapping[str, Any]) -> None:
        if text := output_text(output).removesuffix("\n"):
            self._print(self._fit(shorten(text, _MOST_SHOWN, self._where())))

    def _show_updates(self) -> None:
        """What displays came to that were updated: not each of the states between, of which there may be many."""
        for _, output in sorted(self._updates.items()):
            self._show(output)
        self._updates.clear()

    def _finish_line(self) -> None:
        if self._line:
            self._print(self._fit(self._line))
        self._line, self._stream = "", None

    def _status(self) -> str:
        for output in self._updates.values():
            return plain_line(output_text(output).strip().rpartition("\n")[2])
        if self._running is None:
            return ""
        index, since = self._running
        return f"cell {index} is running, {span(time.monotonic() - since)}"

    def _stand(self, text: str) -> None:
        """Have a text on the last line of the terminal, in place of the one that stands there."""
        from rich.cells import set_cell_size

        text = set_cell_size(text[:1000], shutil.get_terminal_size().columns - 1).rstrip()
        if text != self._standing:
            sys.stdout.write("\r\x1b[2K" + click.style(text, dim=True) if text else "\r\x1b[2K")
            sys.stdout.flush()
            self._standing = text

    def _print(self, text: str) -> None:
        """Lines that stay."""
        if self._standing:
            self._stand("")
        click.echo(text)

    def _fit(self, text: str) -> str:
        return coloured(text)  # click takes the colours away where there is no terminal, or nobody wants them

    def _where(self) -> str:
        return f"the whole is in {plain_line(self._notebook.name)}"


def _settled(line: str) -> str:
    """A line as a terminal leaves it whose cursor was sent back to its beginning."""
    return line.rstrip("\r").rpartition("\r")[2]
