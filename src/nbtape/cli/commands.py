"""The command `nbtape` with all its subcommands."""

from __future__ import annotations

import click

from nbtape._version import __version__
from nbtape.cli.command import Group
from nbtape.cli.completion import completion
from nbtape.cli.display.consoles import wants_colour
from nbtape.cli.display.printing import echo
from nbtape.cli.environment import environment
from nbtape.cli.export import export
from nbtape.cli.image import image
from nbtape.cli.mcp import mcp
from nbtape.cli.replay import replay
from nbtape.cli.run import run
from nbtape.cli.show import show
from nbtape.cli.watch import watch
from nbtape.results import MEANINGS, REFUSED


@click.group(
    cls=Group,
    exit_codes=MEANINGS,
    invoke_without_command=True,
    examples=[
        "nbtape run answer.md",
        "nbtape show answer.ipynb",
        "nbtape replay answer.ipynb",
        "nbtape export answer.ipynb",
        "nbtape run --help",
    ],
)
@click.version_option(__version__, prog_name="nbtape", message="%(prog)s %(version)s")
@click.pass_context
def nbtape(context: click.Context) -> None:
    """Run an agent's code blocks in a Jupyter kernel and record them as a live notebook."""
    context.color = wants_colour()
    if context.invoked_subcommand is None:
        echo(context.get_help(), err=True)
        context.exit(REFUSED)


for command in (run, watch, show, export, replay, environment, image, mcp, completion):
    nbtape.add_command(command)
