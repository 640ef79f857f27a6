"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import logging

import click

from nbtape import __version__
from nbtape.cli.environment import environment
from nbtape.cli.export import export
from nbtape.cli.image import image
from nbtape.cli.mcp import mcp
from nbtape.cli.replay import replay
from nbtape.cli.run import EXIT_CODES_OF_RUN, run
from nbtape.cli.show import show
from nbtape.cli.watch import watch


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES_OF_RUN)
@click.version_option(__version__, prog_name="nbtape")
@click.option("--debug", is_flag=True, help="Log what happens, and show the traceback of an error.")
@click.pass_context
def main(context: click.Context, *, debug: bool) -> None:
    """Run an agent's code blocks in a Jupyter kernel and record them as a live notebook."""
    context.obj = debug
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")


main.add_command(run)
main.add_command(watch)
main.add_command(show)
main.add_command(export)
main.add_command(replay)
main.add_command(environment)
main.add_command(image)
main.add_command(mcp)
