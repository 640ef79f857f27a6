"""`nbtape export`: convert a recorded run to HTML, a script, Markdown, or a notebook of what worked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli import completion
from nbtape.cli.command import Command, given_option, json_option, print_document, timeout_option
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.printing import echo
from nbtape.cli.display.status_line import say, working
from nbtape.cli.kernel_options import OUR_IMAGE, with_place
from nbtape.common.hidden_text import hidden_in_code
from nbtape.export.write import FORMATS
from nbtape.notebook.numbering import code_cells
from nbtape.results import FAILED, WELL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.cli.kernel_options import Place
    from nbtape.export.clean_run import Rehearsal
    from nbtape.export.write import Export, Format


#: How many distinct hidden characters a warning names.
_MAX_HIDDEN_SHOWN: Final = 10


@click.command(
    cls=Command,
    failed="with --clean: a remaining cell does not work, and nothing was written",
    examples=[
        "nbtape export answer.ipynb",
        "nbtape export answer.ipynb --to md -o report.md",
        "nbtape export answer.ipynb --clean --to py",
        "nbtape export answer.ipynb --clean -o best.ipynb --docker",
    ],
)
@click.argument("notebook", required=False, metavar="NOTEBOOK", shell_complete=completion.notebooks)
@click.option(
    "--to",
    "form",
    type=click.Choice(FORMATS),
    help="The format: a self-contained HTML page, a Python script with percent cells, Markdown with its images in a "
    "directory, or a notebook.  [default: the suffix of OUT, else html]",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    shell_complete=completion.files(*(f".{form}" for form in FORMATS)),
    help="The file to write; an existing file is replaced.  [default: a new file next to NOTEBOOK]",
)
@click.option(
    "--clean",
    is_flag=True,
    help="Leave out cells that failed, were stopped or never ran, the prose that led to them, empty cells, and "
    "stderr of cells that succeeded. Then run the remaining cells on a fresh kernel to check that they work. A "
    "failed cell is kept if later cells need what it did.",
)
@click.option(
    "--in-place",
    is_flag=True,
    help="With --clean: run in the directory of the notebook, instead of in a private copy of it.",
)
@timeout_option(600, "With --clean: the time limit for each cell.")
@with_place
@json_option("notebook, output, files, clean")
def export(  # noqa: PLR0913  (one argument an option)
    *,
    notebook: str | None,
    form: Format | None,
    output: str | None,
    clean: bool,
    in_place: bool,
    timeout: float,
    place: Place,
    as_json: bool,
) -> int:
    """Convert to HTML, Markdown or a script.

    The result can be read without Jupyter. Scripts and other active content in outputs are removed, and nothing is
    loaded from the network. With --clean, the code of NOTEBOOK is run in a private copy of its directory; use --docker
    to run it in a container.
    """
    if notebook is None and (place.docker or "").endswith(".ipynb"):  # click took it for the value of --docker
        notebook, place = place.docker, dataclasses.replace(place, docker=OUR_IMAGE)
    if notebook is None:
        raise click.UsageError("Missing argument 'NOTEBOOK'.")
    place.check()
    if not clean and (option := given_option("docker", "server", "python", "in_place")):
        raise click.UsageError(f"{option} needs --clean: without it, no code is run.")
    from nbtape.export.write import check_packages, write
    from nbtape.notebook.output_path import output_path
    from nbtape.notebook.read import read_document

    path = Path(notebook)
    chosen = form or _form_of(output)
    check_packages(chosen)  # before --clean runs the code
    with working("reading the notebook"):
        document = read_document(path)
    target = output_path(path, None if output is None else Path(output), "-clean" if clean else "", f".{chosen}")
    rehearsal = _rehearse(path, place, timeout, in_place=in_place) if clean else None
    works = rehearsal is None or rehearsal.broken is None
    kept = document if rehearsal is None else rehearsal.document
    with working("writing"):
        written = write(kept, path.name, chosen, target, [path.parent]) if works else None
    if chosen == "py" and written is not None:
        _warn_of_hidden(kept)
    if as_json:
        print_document(_told(path, written, rehearsal))
    else:
        _tell(written, rehearsal)
    return WELL if written else FAILED


def _warn_of_hidden(document: Mapping[str, Any]) -> None:
    """Warn about blocks with hidden characters, whose code differs from what an editor shows; a script keeps them."""
    for _, block, cell in code_cells(document["cells"]):
        if hidden := hidden_in_code(cell["source"]):
            some = ", ".join(hidden[:_MAX_HIDDEN_SHOWN])
            say(
                f"nbtape: block {block} has characters that an editor may not show: {some}. Check its code before "
                "you run it."
            )


def _form_of(output: str | None) -> Format:
    suffix = Path(output or "").suffix.removeprefix(".").lower()
    if output is None or suffix in FORMATS:
        return suffix or "html"  # type: ignore[return-value]  # one of them
    raise ValueError(f"The format of {output} is unknown. Set it with --to.")


def _rehearse(path: Path, place: Place, timeout: float, *, in_place: bool) -> Rehearsal:
    from nbtape.cli.display.replay_output import Verdicts
    from nbtape.export.clean_run import rehearse

    verdicts = Verdicts(quiet=True)
    with place.ready() as kernels, verdicts.progress:
        progress = verdicts.follow(path)
        return rehearse(
            path,
            jupyter_server=kernels,
            timeout=timeout,
            in_place=in_place,
            on_cell=progress.cells,
            on_copy=progress.copied,
        )


def _tell(written: Export | None, rehearsal: Rehearsal | None) -> None:
    if rehearsal is not None:
        for cell in rehearsal.left_out:
            say(plain_line(f"Block {cell.block} is left out: {cell.reason}."))
        for cell in rehearsal.put_back:
            say(f"Block {cell.block} failed but is kept: {cell.reason}.")
        for change in rehearsal.changes:
            say(plain_line(f"Block {change.block} has a different output now: {change.reason}"))
        if rehearsal.broken is not None:
            broken = rehearsal.broken
            why = f"nbtape: The remaining cells do not work: block {broken.block}: {broken.reason}"
            say(f"{plain_line(why)} Nothing was written. Repair that cell, or export without --clean.")
        else:
            say("The remaining cells work on a fresh kernel.")
    if written is not None:
        echo(f"Exported: {plain_line(str(written.output))}")


def _told(path: Path, written: Export | None, rehearsal: Rehearsal | None) -> dict[str, Any]:
    """The result as JSON; `clean` is null without --clean, and `output` is null if nothing was written."""
    facts = rehearsal and {
        "works": rehearsal.broken is None,
        "broken": rehearsal.broken and dataclasses.asdict(rehearsal.broken),
        "left_out": [dataclasses.asdict(cell) for cell in rehearsal.left_out],
        "put_back": [cell.index for cell in rehearsal.put_back],
        "changes": [dataclasses.asdict(change) for change in rehearsal.changes],
    }
    return {
        "notebook": str(path),
        "output": written and str(written.output),
        "files": [str(file) for file in written.files] if written else [],
        "clean": facts,
    }
