"""`nbtape environment`: the Python, the packages and the platform of a recording."""

from __future__ import annotations

from pathlib import Path

import click

from nbtape.cli.command import Command, json_option, print_document
from nbtape.cli.completion import notebooks
from nbtape.cli.display.plain import plain_code
from nbtape.cli.display.printing import echo
from nbtape.cli.display.status_line import working


@click.command(
    cls=Command,
    examples=[
        "nbtape environment answer.ipynb > requirements.txt",
        "nbtape environment answer.ipynb --json | jq -r .python",
    ],
)
@click.argument("notebook", metavar="NOTEBOOK", shell_complete=notebooks)
@json_option(
    "notebook, python, platform, directory, local, utc_offset, packages, and its server or image if it had one"
)
def environment(*, notebook: str, as_json: bool) -> None:
    """Print the packages as a requirements file.

    Lists the packages that were installed at the end of the recording, as reported by the
    kernel. The code in NOTEBOOK can forge that report: if you do not trust it, read the list before you pass it to pip.
    Packages that were not installed from an index are comments.
    """
    from nbtape.errors import NotebookReadError
    from nbtape.notebook.format import environment_of, place_of
    from nbtape.notebook.read import read_document

    path = Path(notebook)
    with working("reading the notebook"):
        node = read_document(path)
    told = environment_of(node)
    if told is None:
        raise NotebookReadError(
            path,
            "it has no record of its environment, because nbtape did not record it on a Python kernel. "
            "Run `nbtape replay` on it: the new notebook has one.",
        )
    if as_json:
        print_document({"notebook": notebook, **told.to_dict(), **place_of(node)})
    else:
        echo(plain_code(told.requirements()), end="")
