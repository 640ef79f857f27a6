"""What a person sees of a recorded run: a table of its cells, and one of them in full."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.display.plain import coloured, plain, plain_line
from nbtape.summary.wording import counted, edits, facts_of, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.summary.run_summary import Run, RunCell

_COLOURS: Final[Mapping[str, dict[str, Any]]] = {
    "ok": {"fg": "green"},
    "error": {"fg": "red"},
    "timeout": {"fg": "red"},
    "kernel_died": {"fg": "red"},
    "interrupted": {"fg": "yellow"},
    "running": {"fg": "yellow"},
    "not_run": {"dim": True},
}

#: Characters of a first line that are shown where no terminal sets an end to it.
_WIDEST: Final = 60

_HEAD: Final = ("cell", "status", "time", "code", "files")
#: The columns that are as wide as this, with their gaps: cell, status and time.
_FIXED: Final = 5 + 2 + 11 + 2 + 8 + 2


def print_run(name: str, run: Run) -> None:
    """The whole run: a few lines on all of it, and a line for each cell of code."""
    click.secho(plain_line(f"{name}: {counted(run)}"), bold=True)
    facts = facts_of(run)
    widest = max((len(fact) for fact, _ in facts), default=0)
    for fact, value in facts:
        click.echo(f"{fact:<{widest}}  {plain_line(value)}")
    if not run.cells:
        return
    click.echo()
    code, files = _widths(run)
    lines = [click.style(_row(_HEAD, code, files), bold=True)]
    for cell in run.cells:
        lines += _rows(cell, code, files)
    click.echo("\n".join(lines))


def print_cell(index: int, cell: Mapping[str, Any], about: RunCell | None, outputs: Sequence[str]) -> None:
    """One cell: how it went, its source, and its outputs, whose colours are for terminals."""
    if about is None:
        click.secho(f"cell {index}: {cell['cell_type']}", bold=True)
        click.echo(plain(cell["source"]))
        return
    said = [f"cell {index}:", styled(about.status), span(about.seconds)]
    click.echo(" ".join(filter(None, [*said, f"kernel {about.kernel_epoch}" if about.kernel_epoch else ""])))
    for told in (*(f"file: {path}" for path in about.files), f"note: {about.note}" if about.note else "", edits(about)):
        if told:
            click.echo(plain_line(told))
    click.echo("\n" + plain(cell["source"]))
    for output in outputs:
        click.echo()
        text = output.removesuffix("\n")
        click.echo(coloured(text))


def _rows(cell: RunCell, code: int, files: int) -> list[str]:
    """A cell: its line, and one more each for what went wrong and what was edited."""
    took, line = span(cell.seconds), plain_line(cell.first_line)
    row = _row((str(cell.index), cell.status, took, line, plain_line(", ".join(cell.files))), code, files)
    head, tail = row[:7], row[7:].removeprefix(cell.status)
    rows = [head + styled(cell.status) + tail]
    wrong = cell.error or (cell.note if cell.status != "ok" else "")
    told = [_cut(plain_line(text), code + files + 2) for text in (wrong, edits(cell)) if text]
    return [*rows, *(" " * _FIXED + click.style(line, dim=True) for line in told)]


def _row(texts: tuple[str, str, str, str, str], code: int, files: int) -> str:
    from rich.cells import set_cell_size

    index, status, took, line, paths = texts
    shown = _cut(paths, files)
    return f"{index:>5}  {status:<11}  {took:>8}  {set_cell_size(_cut(line, code), code)}  {shown}".rstrip()


def _widths(run: Run) -> tuple[int, int]:
    """How wide the last two columns are. What is no terminal has room for all files."""
    longest = max(len(_HEAD[3]), *(len(cell.first_line) for cell in run.cells))
    paths = max(len(", ".join(cell.files)) for cell in run.cells)
    if not sys.stdout.isatty():
        return min(longest, _WIDEST), max(paths, 80)
    room = max(40, shutil.get_terminal_size().columns - _FIXED - 2)
    files = min(paths, max(room // 3, room - longest))
    return room - files, max(files, len(_HEAD[-1]))


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def styled(status: str) -> str:
    """A status, in its colour."""
    return click.style(status, **_COLOURS.get(status, {}))
