"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nbtape import __version__
from nbtape.blocking import JupyterCodeExecutor
from nbtape.blocks import CodeBlock
from nbtape.errors import BlockInterrupted, NbtapeError
from nbtape.kernels.connection import JupyterConnectionInfo
from nbtape.options import DEFAULT_NAME
from nbtape.results import EXIT_CODES, join_cells, output_text
from nbtape.sources import read_source
from nbtape.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbtape.blocks import Prose
    from nbtape.options import Server
    from nbtape.results import CellResult, CodeResult
    from nbtape.servers.docker import DockerJupyterServer

#: What `--docker` means without an image: a name that none can have.
_OUR_IMAGE: Final = "(nbtape's own)"

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
@click.argument("source", required=False, metavar="SOURCE")
@click.option("--output-dir", help="Where the notebook and its files go; made if need be.  [default: here]")
@click.option("--notebook", help="Its name.  [default: that of SOURCE]")
@click.option(
    "--resume",
    metavar="NOTEBOOK",
    help="Go on with a recorded notebook, in its directory: on its kernel, if that still lives on the --server, or on "
    "a fresh one, on which the cells that had succeeded are run again first.",
)
@click.option(
    "--until", type=click.IntRange(min=0), metavar="N", help="With --resume: go on from its first N cells, in a copy."
)
@click.option(
    "--kernel",
    help="The kernel spec, as `jupyter kernelspec list` has it.  [default: python3, or the resumed notebook's]",
)
@click.option(
    "--server",
    metavar="URL",
    help="A Jupyter server whose kernels are used in place of this machine's. Its token comes in the URL or, so that "
    "no process list shows it, in the variable JUPYTER_TOKEN.",
)
@click.option(
    "--docker",
    metavar="[IMAGE]",
    is_flag=False,
    flag_value=_OUR_IMAGE,
    help="Run the code in a Docker container, in which of this machine there is nothing but the output directory: in "
    "IMAGE, or in nbtape's own image, which is built the first time.",
)
@click.option("--base-image", help="With --docker: what nbtape's own image is built on.  [default: python:3.12-slim]")
@click.option("--network", help="With --docker: the network that the code is on; none for no network at all.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds for each block.")
@click.option("--keep-going", is_flag=True, help="Run what comes after a block that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the result, as one JSON object.")
@click.pass_obj
def run(  # noqa: PLR0913  (one argument an option)
    debug: bool,  # noqa: FBT001  (click's object)
    *,
    source: str | None,
    output_dir: str | None,
    notebook: str | None,
    resume: str | None,
    until: int | None,
    kernel: str | None,
    server: str | None,
    docker: str | None,
    base_image: str | None,
    network: str | None,
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
      nbtape run answer.md --docker
      nbtape run answer.md --docker nbtape-science --network none
      nbtape run more.md --resume answer.ipynb
      nbtape run other.md --resume answer.ipynb --until 4
    """
    if source is None and docker is not None:  # then it is the source that stands behind --docker
        source, docker = docker, _OUR_IMAGE
    if not source:
        raise click.UsageError("Missing argument 'SOURCE'.")
    if resume is None and until is not None:
        raise click.UsageError("--until goes with --resume.")
    if resume is not None and (output_dir or notebook):
        raise click.UsageError(
            "--resume goes on in the notebook's own directory: leave out --output-dir and --notebook."
        )
    place = _place(server, docker, base_image, network, quiet=as_json)
    terminal = Terminal(quiet=as_json)
    with _refusals(debug=debug):
        parts = read_source(source)
        with place() as kernels:
            if resume is None:
                name = notebook or (DEFAULT_NAME if source == "-" else Path(source).stem)
                make = partial(
                    JupyterCodeExecutor, kernels, kernel or "python3", notebook=name, output_dir=output_dir or "."
                )
            else:
                progress = terminal.run_again
                make = partial(JupyterCodeExecutor.resume, resume, kernels, kernel, until=until, on_progress=progress)
            executor = make(
                timeout=timeout,
                on_output=lambda output: terminal.output(output["output_type"] == "stream", output_text(output)),
            )
            result = _record(executor, parts, terminal, keep_going=keep_going)
    click.echo(_json(result, executor) if as_json else f"Notebook: {result.notebook}")
    sys.exit(result.exit_code)


def _json(result: CodeResult, executor: JupyterCodeExecutor) -> str:
    """All there is to say of a run."""
    resumption = {} if executor.resumption is None else {"resumption": dataclasses.asdict(executor.resumption)}
    return json.dumps({**result.to_dict(), **resumption})


@main.group()
def image() -> None:
    """The Docker images in which `nbtape run --docker` runs code."""


@image.command()
@click.option("--base-image", help="An image with Python 3.11 or newer, pip and venv.  [default: python:3.12-slim]")
@click.option("--package", "packages", multiple=True, help="A Python package that is to be in it; may be repeated.")
@click.option("--tag", help="A name for it, besides the one that says what it is made of.")
@click.pass_obj
def build(debug: bool, *, base_image: str | None, packages: tuple[str, ...], tag: str | None) -> None:  # noqa: FBT001  (click's object)
    """Build the image of kernels, with more packages in it if you like. The last line is its name.

    \b
    Examples:
      nbtape image build --package pandas --package matplotlib --tag nbtape-science
      nbtape run answer.md --docker nbtape-science
      nbtape image build --base-image mirror.example.org/library/python:3.12-slim
    """
    with _refusals(debug=debug):
        from nbtape.servers.engine import Engine
        from nbtape.servers.image import DEFAULT_BASE_IMAGE, Recipe, have_image

        engine = Engine()
        name = have_image(engine, Recipe(base_image or DEFAULT_BASE_IMAGE, packages), on_progress=_say)
        if tag is not None:
            with engine.refusals(f"call the image {tag}"):
                engine.docker.images.get(name).tag(tag)
    click.echo(tag or name)


def _say(line: str) -> None:
    """Progress, for people."""
    click.echo(line, err=True)


@contextlib.contextmanager
def _refusals(*, debug: bool) -> Iterator[None]:
    """Have what cannot be done said in one line, and end."""
    try:
        yield
    except (NbtapeError, ValueError, OSError) as exc:
        if debug:
            raise
        click.echo(f"nbtape: {exc}", err=True)
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:  # where no block runs yet: a kernel starts, or cells are run again
        click.echo("nbtape: Interrupted.", err=True)
        sys.exit(EXIT_CODES["interrupted"])


def _place(
    server: str | None, docker: str | None, base_image: str | None, network: str | None, *, quiet: bool
) -> Callable[[], contextlib.AbstractContextManager[Server]]:
    """Where the code is to run, once it is entered.

    Raises:
        UsageError: These options do not go together.
    """
    if docker is not None and server is not None:
        raise click.UsageError("--docker and --server are two places: name one of them.")
    if docker is not None:
        return partial(_containers, docker, base_image, network, quiet=quiet)
    if base_image or network:
        raise click.UsageError("--base-image and --network go with --docker.")
    return lambda: contextlib.nullcontext(None if server is None else _server(server))


def _containers(image: str, base_image: str | None, network: str | None, *, quiet: bool) -> DockerJupyterServer:
    from nbtape.servers.docker import DockerJupyterServer

    return DockerJupyterServer(
        custom_image_name=None if image == _OUR_IMAGE else image,
        base_image=base_image,
        network=network,
        on_progress=None if quiet else _say,
    )


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
        if executor.resumption is not None:
            terminal.resumed(executor.resumption)
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
