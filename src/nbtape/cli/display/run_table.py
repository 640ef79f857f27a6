"""What `show` prints: a table of a run's cells, or one cell in full."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from nbtape.cli.display.consoles import drawn
from nbtape.cli.display.plain import coloured, joined, plain_code, plain_line, styled
from nbtape.cli.display.printing import echo
from nbtape.summary.wording import counted, edits, facts_of, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.cli.display.plain import Shown
    from nbtape.summary.run_summary import Run, RunCell

_COLOURS: Final[Mapping[str, str]] = {
    "ok": "green",
    "error": "red",
    "timeout": "red",
    "kernel_died": "red",
    "interrupted": "yellow",
    "running": "yellow",
}

#: Maximum characters of a first line, and of file names, without a terminal.
_CODE_CHARS: Final = 60
_FILES_CHARS: Final = 80

_HEAD: Final = ("block", "status", "time", "code", "files")
#: The width of the first three columns, with their gaps.
_FIXED: Final = 5 + 2 + 11 + 2 + 8 + 2


def print_run(name: str, run: Run) -> None:
    """Print the facts of a run, and a line for each code cell."""
    echo(styled(plain_line(f"{name}: {counted(run)}"), bold=True))
    facts = facts_of(run)
    widest = max((len(fact) for fact, _ in facts), default=0)
    for fact, value in facts:
        echo(f"{fact:<{widest}}  {plain_line(value)}")
    if not run.cells:
        return
    code, files = _widths(run)
    lines = ["", styled(_row(_HEAD, code, files), bold=True)]
    for cell in run.cells:
        lines += _rows(cell, code, files)
    echo(joined(*lines, by="\n"))


def print_cell(name: str, cell: Mapping[str, Any], about: RunCell | None, outputs: Sequence[str]) -> None:
    """Print one cell: how it ended if it is code, its source, and its outputs."""
    if about is None:
        echo(styled(name, bold=True))
        echo(plain_code(cell["source"]))
        return
    kernel = f"kernel {about.kernel_epoch}" if about.kernel_epoch else ""
    counted_as = f", In [{about.execution_count}]" if about.execution_count is not None else ""
    head = [f"{name}{counted_as}:", styled_status(about.status), span(about.seconds), kernel]
    echo(joined(*filter(None, head), by=" "))
    note = f"note: {about.note}" if about.note else ""
    for line in filter(None, (*(f"file: {path}" for path in about.files), note, edits(about))):
        echo(plain_line(line))
    echo("\n" + plain_code(cell["source"]))
    for output in outputs:
        echo(joined("\n", coloured(output.removesuffix("\n"))))


def _rows(cell: RunCell, code: int, files: int) -> list[Shown]:
    """The line of a cell, and a further line each for its error and for edits."""
    texts = (
        str(cell.block),
        plain_line(cell.status),
        span(cell.seconds),
        plain_line(cell.first_line),
        ", ".join(cell.files),
    )
    row = _row(texts, code, files)
    wrong = cell.error or (cell.note if cell.status != "ok" else "")
    more = [_cut(plain_line(text), code + files + 2) for text in (wrong, edits(cell)) if text]
    return [
        _with_status(row, cell.status),
        *(joined(" " * _FIXED, styled(line, dim=True)) for line in more),
    ]


def _with_status(row: str, status: str) -> Shown:
    """The line of a cell with its status in color."""
    before, name, after = row[7:].partition(plain_line(status))
    return joined(plain_line(row[:7] + before), styled_status(status) if name else "", plain_line(after))


def _row(texts: tuple[str, str, str, str, str], code: int, files: int) -> str:
    from rich.cells import set_cell_size

    index, status, took, line, paths = texts
    shown = _cut(plain_line(paths), files)
    return f"{index:>5}  {status:<11}  {took:>8}  {set_cell_size(_cut(line, code), code)}  {shown}".rstrip()


def _widths(run: Run) -> tuple[int, int]:
    """The widths of the last two columns. Without a terminal, all files fit."""
    longest = max(len(_HEAD[3]), *(len(cell.first_line) for cell in run.cells))
    paths = max(len(", ".join(cell.files)) for cell in run.cells)
    if not sys.stdout.isatty():
        return min(longest, _CODE_CHARS), max(paths, _FILES_CHARS)
    room = max(40, shutil.get_terminal_size().columns - _FIXED - 2)
    files = min(paths, max(room // 3, room - longest))
    return room - files, max(files, len(_HEAD[-1]))


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    end = drawn("…")
    return text if cell_len(text) <= width else set_cell_size(text, width - len(end)) + end


def styled_status(status: str) -> Shown:
    """A status in its color."""
    text = plain_line(status)
    return styled(text, dim=True) if status == "not_run" else styled(text, fg=_COLOURS.get(status))
