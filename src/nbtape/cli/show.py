"""`nbtape show`: print a recorded run as a table, or one of its cells in full."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbtape.cli.command import Command, json_option, print_document
from nbtape.cli.completion import notebooks
from nbtape.cli.display.status_line import working

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    cls=Command,
    examples=[
        "nbtape show answer.ipynb",
        "nbtape show answer.ipynb --block 2",
        "nbtape show answer.ipynb --json | jq -r '.cells[] | select(.status == \"error\") | .error'",
    ],
)
@click.argument("notebook", metavar="NOTEBOOK", shell_complete=notebooks)
@click.option("--block", type=int, metavar="N", help="Show block N in full: its code and its outputs.")
@click.option(
    "--cell",
    "index",
    type=int,
    metavar="INDEX",
    help="The same for the cell at a position of the notebook, also a Markdown cell; the first one is 0.",
)
@json_option(
    "notebook, cells, counts, started, ended, seconds, kernel, python, platform, directory, place, "
    "recorded_by, changed",
    block="index, cell_id, cell_type, source, output, and for code status, seconds, first_line, files, error, note, "
    "kernel_epoch, touched, block, execution_count",
)
def show(*, notebook: str, block: int | None, index: int | None, as_json: bool) -> None:
    """Show a recorded run as a table.

    Prints when and where NOTEBOOK was run, the status, time, first line and files of each code cell, and which cells
    were changed after they were recorded. Block N is the N-th code cell. No code is run. NOTEBOOK must have nbformat 4;
    older ones are converted.
    """
    if block is not None and index is not None:
        raise click.UsageError("--block and --cell cannot be combined. Use one of them.")
    if block is None and index is None:
        _show_run(Path(notebook), as_json=as_json)
    else:
        _show_cell(Path(notebook), block, index, as_json=as_json)


def _show_run(path: Path, *, as_json: bool) -> None:
    from nbtape.cli.display.run_table import print_run
    from nbtape.summary.outline import read_outline
    from nbtape.summary.run_summary import summarise

    with working("reading the notebook"):
        run = summarise(read_outline(path))
    if as_json:
        print_document({"notebook": str(path), **run.to_dict()})
    else:
        print_run(path.name, run)


def _show_cell(path: Path, block: int | None, index: int | None, *, as_json: bool) -> None:
    from nbtape.cli.display.run_table import print_cell
    from nbtape.notebook.numbering import block_numbers, place_name
    from nbtape.notebook.output_text import cell_text, output_text
    from nbtape.notebook.read import read_unchecked
    from nbtape.summary.normalise import fit_cell, fit_output
    from nbtape.summary.run_summary import run_cell

    with working("reading the notebook"):
        cells = [fit_cell(cell) for cell in read_unchecked(path)["cells"]]
    numbers = block_numbers(cells)
    index = _index_of(block, numbers) if index is None else _checked(index, len(cells))
    cell, number = cells[index], numbers[index]
    outputs = [fit_output(output) for output in cell["outputs"]]
    about = run_cell(index, number, cell) if cell["cell_type"] == "code" else None
    if as_json:
        told = {"index": index, "cell_id": cell["id"]} if about is None else dataclasses.asdict(about)
        kind, text = cell["cell_type"], cell_text(outputs, {})
        print_document({**told, "cell_type": kind, "source": cell["source"], "output": text})
    else:
        name = place_name(number, is_code=about is not None)
        print_cell(name, cell, about, [output_text(output) for output in outputs])


def _index_of(block: int | None, numbers: Sequence[int]) -> int:
    """The position of a block; `numbers` has those of all cells."""
    count = max(numbers, default=0)
    if block is None or not 0 < block <= count:
        there = f"blocks 1 to {count}" if count > 1 else "only block 1" if count else "no blocks"
        raise ValueError(f"There is no block {block}; the notebook has {there}. Run without --block to list them.")
    return numbers.index(block)


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        there = f"cells 0 to {count - 1}" if count > 1 else "only cell 0" if count else "no cells"
        raise ValueError(f"There is no cell {index}; the notebook has {there}.")
    return index
