"""`nbtape environment`: what a recording ran in."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nbtape.cli.refusals import refusals


@click.command()
@click.argument("notebook", metavar="NOTEBOOK")
@click.option("--json", "as_json", is_flag=True, help="Print all that is recorded, the server or image too, as JSON.")
@click.pass_obj
def environment(debug: bool, *, notebook: str, as_json: bool) -> None:  # noqa: FBT001  (click's object)
    """Print what NOTEBOOK ran in as a requirements file, as of the end of the recording.

    It is the word of the kernel: who does not trust what ran there reads it before pip does. Packages that came from
    no index are comments.

    \b
    Examples:
      nbtape environment answer.ipynb > requirements.txt && pip install -r requirements.txt
      nbtape environment answer.ipynb --json
    """
    with refusals(debug=debug):
        from nbtape.errors import NotebookReadError
        from nbtape.reader import read_document
        from nbtape.recorded import environment_of, place_of

        path = Path(notebook)
        node = read_document(path)
        told = environment_of(node)
        if told is None:
            raise NotebookReadError(
                path,
                "it does not tell what it ran in: only what nbtape recorded on a Python kernel does. Run it with "
                "`nbtape replay`: the new notebook tells.",
            )
    click.echo(
        json.dumps({**told.to_dict(), **place_of(node)}, indent=1) if as_json else told.requirements(), nl=as_json
    )
