"""What a person sees of a run: outputs line by line as they come, and below them a line that says what is going on."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

from nbtape.cli.display.consoles import consoles, read_or_not, shows_progress
from nbtape.common.text import fit_text, strip_escapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CellResult
    from nbtape.session.resume_plan import Resumption


class Terminal:
    """Outputs go to standard output; the progress line is for terminals, and for nobody else.

    Outputs come from the thread of the executor, everything else from the caller's. What nobody reads any more stops
    nothing: the recording goes on.

    Args:
        quiet: Show nothing but the progress line.
    """

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._quiet = quiet
        self._out, self._err = consoles()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", markup=False),
            console=self._err,
            transient=True,
            disable=not shows_progress(),
        )
        self._task = self._progress.add_task("starting the kernel", total=None, line="")
        self._lock = threading.Lock()
        self._line = ""

    def run_again(self, line: str) -> None:
        """A cell of a resumed notebook is run again, says a line."""
        self._progress.update(self._task, description="running again")
        self._say(f"again {strip_escapes(line)}")

    def resumed(self, resumption: Resumption) -> None:
        """A recorded notebook is gone on with; which of its cells are not as they were."""
        self._say(str(resumption))
        for cell in resumption.differing:
            self._say(f"    cell {cell.index}: {strip_escapes(cell.reason)}")

    def begin(self, number: int, total: int, block: CodeBlock) -> None:
        """A block starts."""
        first = next(iter(block.code.strip().splitlines()), "")
        self._progress.reset(self._task, description=f"block {number} of {total}")
        self._say(f"[{number}/{total}] {strip_escapes(first)[:100]}")

    def output(self, is_stream: bool, text: str) -> None:  # noqa: FBT001
        """An output came in; what follows the last line break waits for the rest of its line."""
        if self._quiet:
            return
        with self._lock:
            if not is_stream:
                self._flush()
                text += "\n"
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._print(line)
            # A progress bar shows where it is. A line without an end must not grow here without one.
            self._line = self._line.rpartition("\r")[2][-100_000:]
            self._progress.update(self._task, line=strip_escapes(self._line)[:80])

    def end(self, cell: CellResult) -> None:
        """A block has ended."""
        if self._quiet:
            return
        with self._lock:
            self._flush()
            for path in cell.output_files:
                self._say(f"    file: {path}")
            if cell.note:
                self._print(cell.note)
            self._progress.update(self._task, line="")

    def summary(self, cells: Sequence[CellResult]) -> None:
        """All blocks are through."""
        skipped = sum(cell.status == "not_run" and not cell.note for cell in cells)
        if skipped:
            self._say(f"{skipped} of {len(cells)} blocks were not run; --keep-going runs what comes after a failure.")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _flush(self) -> None:
        if self._line:
            self._print(self._line)
            self._line = ""

    def _print(self, line: str) -> None:
        """One line of output. Colours are for terminals; whatever else a code can do to one is for none."""
        from rich.text import Text

        line = line.rstrip("\r").rpartition("\r")[2]
        with read_or_not():
            if self._out.is_terminal:
                self._out.print(Text.from_ansi(line))
            else:
                sys.stdout.write(strip_escapes(line) + "\n")
                sys.stdout.flush()

    def _say(self, line: str) -> None:
        """One line of our own, beside the outputs."""
        if self._quiet:
            return
        line = fit_text(line)  # the name of a file need not be text
        with read_or_not():
            if self._err.is_terminal:
                self._err.print(line, style="dim")
            else:
                sys.stderr.write(line + "\n")
