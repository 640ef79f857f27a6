"""What `watch` prints: cells and outputs as they arrive and, on a terminal, a status line below them."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from nbtape.cli.display.consoles import drawn
from nbtape.cli.display.plain import coloured, joined, overwritten, plain_code, plain_line, styled
from nbtape.cli.display.printing import echo, set_last_line
from nbtape.cli.display.run_table import styled_status
from nbtape.common.text import shorten
from nbtape.notebook.numbering import place_name
from nbtape.notebook.output_text import output_text
from nbtape.summary.wording import edits, span
from nbtape.watch.events import CellBegun, OutputShown, StreamGrown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.summary.run_summary import RunCell
    from nbtape.watch.events import Event

#: Maximum characters of each source, output and unfinished line.
_MAX_CHARS: Final = 20_000


class Live:
    """Shows the events of one notebook on standard output, and on a terminal a status line below them."""

    def __init__(self, notebook: Path) -> None:
        self._notebook = notebook
        self._is_terminal = sys.stdout.isatty()
        # The stream that was printed last, and its unfinished line.
        self._stream: tuple[int, int] | None = None
        self._line = ""
        self._status_line = ""
        # Updates of outputs, shown when their cell ends; the running cell and its start time.
        self._updates: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._running: tuple[int, float] | None = None

    def show(self, event: Event) -> None:
        """Show an event."""
        match event:
            case CellBegun():
                self._begin(event)
            case StreamGrown():
                self._grow(event)
            case OutputShown(is_update=True):
                self._updates[event.index, event.position] = event.output
            case OutputShown():
                self._finish_stream()
                self._print_output(event.output)
            case _:
                self._end(event.about)

    def tick(self) -> None:
        """Update the status line."""
        if self._is_terminal:
            self._set_status_line(plain_line(self._line) or self._status())

    def close(self) -> None:
        """Print the unfinished line and pending updates, and remove the status line."""
        self._finish_cell()
        self._set_status_line("")

    def _begin(self, event: CellBegun) -> None:
        self._finish_cell()
        is_code = event.kind == "code"
        self._print(joined("\n", styled(place_name(event.block, is_code=is_code), bold=True)))
        source = plain_code(self._shorten(event.source)).removesuffix("\n")
        for line in source.split("\n"):
            self._print(joined(styled(drawn("  │ "), dim=True), line) if is_code else line)
        self._running = (event.block, time.monotonic()) if is_code else None

    def _grow(self, event: StreamGrown) -> None:
        if self._stream != (event.index, event.position):
            self._finish_stream()
            self._stream = event.index, event.position
        *lines, self._line = (self._line + self._shorten(event.text)).split("\n")
        if lines:
            self._print(coloured("\n".join(map(overwritten, lines))))
        self._line = overwritten(self._line)[-_MAX_CHARS:]

    def _end(self, about: RunCell) -> None:
        self._finish_cell()
        self._running = None
        status = joined(f"block {about.block}: ", styled_status(about.status))
        told = [status, span(about.seconds), plain_line(edits(about))]
        self._print(joined(*filter(None, told), by=", "))
        if about.note:
            self._print(f"    {plain_line(about.note)}")
        for path in about.files:
            self._print(f"    file: {plain_line(str(self._notebook.parent / path))}")

    def _print_output(self, output: Mapping[str, Any]) -> None:
        if text := output_text(output).removesuffix("\n"):
            self._print(coloured(self._shorten(text)))  # click removes the colors if they are not wanted

    def _finish_cell(self) -> None:
        """Show the unfinished line and the last state of updated outputs, which may have changed many times."""
        self._finish_stream()
        for _, output in sorted(self._updates.items()):
            self._print_output(output)
        self._updates.clear()

    def _finish_stream(self) -> None:
        if self._line:
            self._print(coloured(self._line))
        self._line, self._stream = "", None

    def _status(self) -> str:
        for output in self._updates.values():
            return plain_line(output_text(output).strip().rpartition("\n")[2])
        if self._running is None:
            return ""
        block, since = self._running
        return f"block {block} is running, {span(time.monotonic() - since)}"

    def _set_status_line(self, text: str) -> None:
        from rich.cells import set_cell_size

        text = set_cell_size(text[:1000], shutil.get_terminal_size().columns - 1).rstrip()
        if text != self._status_line:
            set_last_line(styled(plain_line(text), dim=True) if text else "")
            self._status_line = text

    def _print(self, text: str) -> None:
        if self._status_line:
            self._set_status_line("")
        echo(text)

    def _shorten(self, text: str) -> str:
        return shorten(text, _MAX_CHARS, f"full text in {plain_line(self._notebook.name)}")
