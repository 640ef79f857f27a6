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
    """Print what NOTEBOOK ran in, for pip.

    It is a requirements file, as of the end of the recording. It is the word of the kernel: who does not trust what ran
    there reads it before pip does. Packages that came from no index are comments.
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
            "it does not tell what it ran in: only what nbtape recorded on a Python kernel does. Run it with "
            "`nbtape replay`: the new notebook tells.",
        )
    if as_json:
        print_document({"notebook": notebook, **told.to_dict(), **place_of(node)})
    else:
        echo(plain_code(told.requirements()), end="")
