"""What `run` prints: outputs line by line and, on a terminal, a progress line below them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from nbtape.cli.display.consoles import consoles, read_or_not, shows_progress, spinner
from nbtape.cli.display.plain import coloured, overwritten, plain, plain_code, plain_line
from nbtape.cli.display.printing import write_error, write_line
from nbtape.notebook.output_text import output_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CellResult
    from nbtape.session.resume_plan import Resumption


#: Characters kept of an unfinished line.
_MAX_LINE_CHARS: Final = 100_000


class Terminal:
    """Prints outputs on standard output, and messages on standard error, unless it is `quiet`.

    Enter `progress` to show progress on a terminal. Outputs come from the executor's thread. A closed pipe does not
    stop the run.
    """

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._quiet = quiet
        self._out, self._err = consoles()
        self.progress = Progress(
            SpinnerColumn(spinner()),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", markup=False),
            console=self._err,
            transient=True,
            disable=not shows_progress(),
        )
        self._task = self.progress.add_task("starting the kernel", total=None, line="")
        self._lock = threading.Lock()
        self._line = ""

    def run_again(self, line: str) -> None:
        """Print that a cell of a resumed notebook is run again."""
        self.progress.update(self._task, description="rerunning")
        self._say(plain_line(f"rerun {line}"))

    def resumed(self, resumption: Resumption) -> None:
        """Print how a notebook was resumed, and which of its cells differ now."""
        self._say(str(resumption))
        for cell in resumption.differing:
            self._say(plain_line(f"    block {cell.block}: {cell.reason}"))

    def begin(self, number: int, total: int, block: CodeBlock) -> None:
        """Print the first line of a block that starts."""
        first = next(iter(block.code.strip().splitlines()), "")
        self.progress.reset(self._task, description=f"block {number} of {total}")
        self._say(plain_line(f"[{number}/{total}] {first[:100]}"))

    def output(self, output: Mapping[str, Any]) -> None:
        """Print the complete lines of an output, and keep an unfinished one until its end arrives."""
        if self._quiet:
            return
        text = output_text(output)
        with self._lock:
            if output["output_type"] != "stream":
                self._flush()
                text += "\n"
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._print(line)
            self._line = self._line.rpartition("\r")[2][-_MAX_LINE_CHARS:]
            self.progress.update(self._task, line=plain(self._line)[:80])

    def end(self, cell: CellResult) -> None:
        """Print the rest of a block: its last line, its files and its note."""
        if self._quiet:
            return
        with self._lock:
            self._flush()
            for path in cell.output_files:
                self._say(plain_line(f"    file: {path}"))
            if cell.note:
                self._print(cell.note)
            self.progress.update(self._task, line="")

    def summary(self, cells: Sequence[CellResult]) -> None:
        """Print how many blocks were skipped."""
        skipped = sum(cell.status == "not_run" and not cell.note for cell in cells)
        if skipped:
            self._say(f"Not run: {skipped} of {len(cells)} blocks. Use --keep-going to continue after a failure.")

    def _flush(self) -> None:
        if self._line:
            self._print(self._line)
            self._line = ""

    def _print(self, line: str) -> None:
        """Print a line of output, on a terminal with its colors, but without other escape sequences."""
        from rich.text import Text

        line = overwritten(line)
        with read_or_not():
            if self._out.is_terminal:
                self._out.print(Text.from_ansi(coloured(line)))
            else:
                write_line(plain(line))

    def _say(self, line: str) -> None:
        """Print a message."""
        if self._quiet:
            return
        line = plain_code(line)
        with read_or_not():
            if self._err.is_terminal:
                self._err.print(line, style="dim")
            else:
                write_error(line)
