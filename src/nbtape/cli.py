"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nbtape import __version__
from nbtape.blocking import JupyterCodeExecutor
from nbtape.blocks import CodeBlock
from nbtape.errors import BlockInterrupted, NbtapeError
from nbtape.kernels.connection import JupyterConnectionInfo
from nbtape.options import DEFAULT_NAME
from nbtape.results import join_cells, output_text
from nbtape.sources import read_source
from nbtape.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtape.blocks import Prose
    from nbtape.results import CellResult, CodeResult

#: The exit code where nothing could be run at all: click's own for a wrong command line.
CANNOT_RUN: Final = 2

_EXIT_CODES = """
\b
Exit codes of run:
  0    every block succeeded
  1    a block failed, or could not be run by this kernel
  2    nothing could be run: the command line, the source, the kernel or the notebook
  124  a block ran into its timeout
  130  interrupted (Ctrl-C)
  137  the kernel died
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(__version__, prog_name="nbtape")
@click.option("--debug", is_flag=True, help="Log what happens, and show the traceback of an error.")
@click.pass_context
def main(context: click.Context, *, debug: bool) -> None:
    """Run an agent's code blocks in a Jupyter kernel and record them as a live notebook."""
    context.obj = debug
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")


@main.command(epilog=_EXIT_CODES)
@click.argument("source")
@click.option(
    "--output-dir", default=".", show_default="here", help="Where the notebook and its files go; made if need be."
)
@click.option("--notebook", help="Its name.  [default: that of SOURCE]")
@click.option(
    "--kernel", default="python3", show_default=True, help="The kernel spec, as `jupyter kernelspec list` has it."
)
@click.option(
    "--server",
    metavar="URL",
    help="A Jupyter server whose kernels are used in place of this machine's. Its token comes in the URL or, so that "
    "no process list shows it, in the variable JUPYTER_TOKEN.",
)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds for each block.")
@click.option("--keep-going", is_flag=True, help="Run what comes after a block that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the result, as one JSON object.")
@click.pass_obj
def run(  # noqa: PLR0913  (one argument an option)
    debug: bool,  # noqa: FBT001  (click's object)
    *,
    source: str,
    output_dir: str,
    notebook: str | None,
    kernel: str,
    server: str | None,
    timeout: float,
    keep_going: bool,
    as_json: bool,
) -> None:
    """Run the code of SOURCE and record it as a notebook.

    SOURCE is a message or transcript in Markdown (.md: prose becomes Markdown cells, fenced code becomes code cells),
    a script with percent cells (.py), or - for Markdown on standard input. Outputs are printed while the code runs;
    the last line names the notebook. A block that fails stops the rest, which is recorded as not run.

    \b
    Examples:
      nbtape run answer.md
      nbtape run analysis.py --output-dir runs --timeout 600
      cat answer.md | nbtape run - --json | jq .status
      JUPYTER_TOKEN=... nbtape run answer.md --server https://hub.example.org/user/alice/
    """
    terminal = Terminal(quiet=as_json)
    try:
        parts = read_source(source)
        executor = JupyterCodeExecutor(
            None if server is None else _server(server),
            kernel_name=kernel,
            timeout=timeout,
            output_dir=output_dir,
            notebook=notebook or (DEFAULT_NAME if source == "-" else Path(source).stem),
            on_output=lambda output: terminal.output(output["output_type"] == "stream", output_text(output)),
        )
        result = _record(executor, parts, terminal, keep_going=keep_going)
    except (NbtapeError, ValueError, OSError) as exc:
        if debug:
            raise
        click.echo(f"nbtape: {exc}", err=True)
        sys.exit(CANNOT_RUN)
    click.echo(json.dumps(result.to_dict()) if as_json else f"Notebook: {result.notebook}")
    sys.exit(result.exit_code)


def _server(url: str) -> JupyterConnectionInfo:
    info = JupyterConnectionInfo.from_url(url)
    return info if info.token else dataclasses.replace(info, token=os.environ.get("JUPYTER_TOKEN") or None)


def _record(
    executor: JupyterCodeExecutor, parts: Sequence[Prose | CodeBlock], terminal: Terminal, *, keep_going: bool
) -> CodeResult:
    """Record the parts in order, run the blocks, and tell the terminal."""
    cells: list[CellResult] = []
    total = sum(isinstance(part, CodeBlock) for part in parts)
    with terminal, executor:
        for part in parts:
            if not isinstance(part, CodeBlock):
                executor.add_markdown(part.text)
                continue
            stopped = bool(cells) and cells[-1].status in {"interrupted", "not_run"}
            failed = any(cell.status != "ok" for cell in cells)
            if stopped or (failed and not keep_going):
                cells += executor.skip_code_blocks([part]).cells
                continue
            terminal.begin(len(cells) + 1, total, part)
            cells += _run_block(executor, part)
            terminal.end(cells[-1])
        terminal.summary(cells)
        return join_cells(cells, executor.notebook, executor.max_output_chars)


def _run_block(executor: JupyterCodeExecutor, block: CodeBlock) -> list[CellResult]:
    try:
        return executor.execute_code_blocks([block]).cells
    except BlockInterrupted as exc:
        if exc.result is None:
            raise
        return exc.result.cells
