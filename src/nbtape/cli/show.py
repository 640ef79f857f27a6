"""`nbtape show`: print a recorded run as a table, or one of its cells in full."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from nbtape.cli.command import Command, json_option, print_document
from nbtape.cli.completion import notebooks
from nbtape.cli.display.status_line import working


@click.command(
    cls=Command,
    examples=[
        "nbtape show answer.ipynb",
        "nbtape show answer.ipynb --cell 3",
        "nbtape show answer.ipynb --json | jq -r '.cells[] | select(.status == \"error\") | .error'",
    ],
)
@click.argument("notebook", metavar="NOTEBOOK", shell_complete=notebooks)
@click.option("--cell", "index", type=int, metavar="N", help="Show cell N in full: its code and its outputs.")
@json_option(
    "notebook, cells, counts, started, ended, seconds, kernel, python, platform, directory, place, "
    "recorded_by, changed",
    cell="index, cell_id, cell_type, source, output, and for code status, seconds, first_line, files, error, note, "
    "kernel_epoch, touched",
)
def show(*, notebook: str, index: int | None, as_json: bool) -> None:
    """Show a recorded run as a table.

    Prints when and where NOTEBOOK was run, the status, time, first line and files of each code cell, and which cells
    were changed after they were recorded. Cells are counted from 0, Markdown cells included. No code is run. NOTEBOOK
    must have nbformat 4.
    """
    if index is None:
        _show_run(Path(notebook), as_json=as_json)
    else:
        _show_cell(Path(notebook), index, as_json=as_json)


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


def _show_cell(path: Path, index: int, *, as_json: bool) -> None:
    from nbtape.cli.display.run_table import print_cell
    from nbtape.notebook.output_text import cell_text, output_text
    from nbtape.notebook.read import read_unchecked
    from nbtape.summary.normalise import fit_cell, fit_output
    from nbtape.summary.run_summary import run_cell

    with working("reading the notebook"):
        cells = read_unchecked(path)["cells"]
    if not 0 <= index < len(cells):
        there = f"cells 0 to {len(cells) - 1}" if cells else "no cells"
        raise ValueError(f"There is no cell {index}; the notebook has {there}. Run without --cell to list them.")
    cell = fit_cell(cells[index])
    outputs = [fit_output(output) for output in cell["outputs"]]
    about = run_cell(index, cell) if cell["cell_type"] == "code" else None
    if as_json:
        told = {"index": index, "cell_id": cell["id"]} if about is None else dataclasses.asdict(about)
        kind, text = cell["cell_type"], cell_text(outputs, {})
        print_document({**told, "cell_type": kind, "source": cell["source"], "output": text})
    else:
        print_cell(index, cell, about, [output_text(output) for output in outputs])
