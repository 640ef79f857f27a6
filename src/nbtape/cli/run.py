"""`nbtape run`: run the code of a Markdown file or a script, and record it."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbtape.cli import completion
from nbtape.cli.command import Command, given_option, json_option, print_document, timeout_option
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.printing import echo
from nbtape.cli.display.run_output import Terminal
from nbtape.cli.display.status_line import say
from nbtape.cli.kernel_options import OUR_IMAGE, kernel_option, notebook_option, output_dir_option, with_place
from nbtape.errors import BlockInterrupted, ServerError
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.kernels.start import make_directory
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.transcripts import read_source
from nbtape.results import KERNEL_DIED, TIMEOUT, join_cells
from nbtape.session.blocking import JupyterCodeExecutor
from nbtape.session.options import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbtape.cli.kernel_options import Place
    from nbtape.kernels.sources import Server
    from nbtape.messages.code_blocks import Prose
    from nbtape.results import CellResult, CodeResult


@click.command(
    cls=Command,
    exit_codes=[TIMEOUT, KERNEL_DIED],
    failed="a block failed or was not run",
    examples=[
        "nbtape run answer.md",
        "nbtape run analysis.py --output-dir runs --timeout 600",
        "cat answer.md | nbtape run - --json | jq .status",
        "nbtape run answer.md --follow",
        "nbtape run answer.md --docker",
        "nbtape run answer.md --docker nbtape-science --network none",
        "JUPYTER_TOKEN=... nbtape run answer.md --server https://hub.example.org/user/alice/",
        "nbtape run more.md --resume answer.ipynb",
        "nbtape run other.md --resume answer.ipynb --until 4",
    ],
)
@click.argument("source", required=False, metavar="SOURCE", shell_complete=completion.sources)
@output_dir_option
@notebook_option("that of SOURCE")
@click.option(
    "--resume",
    metavar="NOTEBOOK",
    shell_complete=completion.notebooks,
    help="Continue a recorded notebook in its directory. Uses its kernel if that still runs on the --server; otherwise "
    "the cells that succeeded are first rerun on a fresh kernel.",
)
@click.option(
    "--until",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --resume: continue a copy of its first N cells, Markdown cells included.",
)
@kernel_option(
    "The kernel spec, as listed by `jupyter kernelspec list`.  [default: python3, or the resumed notebook's]"
)
@with_place
@timeout_option(60, "The time limit for each block.")
@click.option("--keep-going", is_flag=True, help="Continue after a block that failed.")
@click.option(
    "--follow",
    is_flag=True,
    help="Print a link to the notebook in JupyterLab on standard error. Uses the JupyterLab of the --server if that "
    "can see the notebook; without --server, starts one for the run (needs nbtape[lab]). File > Reload Notebook from "
    "Disk shows new cells.",
)
@click.option(
    "--code-tag",
    "code_tags",
    multiple=True,
    metavar="NAME",
    help="Also run the code in <NAME>...</NAME> elements of Markdown, such as execute_ipython. Can be repeated.",
)
@json_option("exit_code, status, output, output_files, cells, notebook, kernel_epoch", resume="also resumption")
def run(  # noqa: PLR0913  (one argument an option)
    *,
    source: str | None,
    output_dir: str | None,
    notebook: str | None,
    resume: str | None,
    until: int | None,
    kernel: str | None,
    place: Place,
    timeout: float,
    keep_going: bool,
    follow: bool,
    code_tags: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run code and record it as a notebook.

    SOURCE is a Markdown file (.md), such as an agent's answer or a whole conversation: prose becomes Markdown cells,
    fenced code becomes code cells. It may also be a script with # %% cells (.py), or - for Markdown on standard input.
    Outputs are printed while the code runs; the last line names the
    notebook. If a block fails, the remaining blocks are recorded as not run. Blocks in languages that
    the kernel does not run are skipped, as is a block that the end of the message cuts off. Code in <think> sections
    is not run.
    """
    if source is None and place.docker is not None:  # click took the source for the value of --docker
        source, place = place.docker, dataclasses.replace(place, docker=OUR_IMAGE)
    if not source:
        raise click.UsageError("Missing argument 'SOURCE'.")
    _check_resume(resume, until)
    place.check()
    terminal = Terminal(quiet=as_json)
    parts = read_source(source, code_tags)
    directory = Path(resume).parent if resume is not None else Path(place.output_dir(output_dir))
    with _kernels_to_follow(place, directory) if follow else place.ready() as kernels:
        if resume is None:
            name = notebook or (DEFAULT_NAME if source == "-" else Path(source).stem)
            make = partial(JupyterCodeExecutor, kernels, kernel or DEFAULT_KERNEL, notebook=name, output_dir=directory)
        else:
            progress = terminal.run_again
            make = partial(JupyterCodeExecutor.resume, resume, kernels, kernel, until=until, on_progress=progress)
        executor = make(timeout=timeout, on_output=terminal.output)
        with terminal.progress, executor:
            if follow:
                say(_invitation(executor, kernels))
            result = _record(executor, parts, terminal, keep_going=keep_going)
    if as_json:
        resumption = executor.resumption and {"resumption": dataclasses.asdict(executor.resumption)}
        print_document({**result.to_dict(), **(resumption or {})})
    else:
        echo(f"Notebook: {plain_line(str(result.notebook))}")
    return result.exit_code


def _check_resume(resume: str | None, until: int | None) -> None:
    """Raise a UsageError if options exclude each other."""
    if resume is None and until is not None:
        raise click.UsageError("--until needs --resume.")
    if resume is not None and (option := given_option("output_dir", "notebook")):
        raise click.UsageError(
            f"{option} has no use with --resume, which keeps the name and the directory. Leave it out."
        )


def _record(
    executor: JupyterCodeExecutor, parts: Sequence[Prose | CodeBlock], terminal: Terminal, *, keep_going: bool
) -> CodeResult:
    """Record the parts in order, run the blocks, and print their progress."""
    cells: list[CellResult] = []
    is_interrupted = False
    total = executor.block_count + sum(isinstance(part, CodeBlock) for part in parts)
    if executor.resumption is not None:
        terminal.resumed(executor.resumption)
    for part in parts:
        if not isinstance(part, CodeBlock):
            executor.add_markdown(part.text)
            continue
        failed = any(cell.stops for cell in cells)
        if is_interrupted or (failed and not keep_going):
            cells += executor.skip_code_blocks([part]).cells
            continue
        terminal.begin(executor.block_count + 1, total, part)
        ran, is_interrupted = _run_block(executor, part)
        cells += ran
        terminal.end(cells[-1])
    terminal.summary(cells)
    return join_cells(cells, executor.notebook, executor.max_output_chars)


def _run_block(executor: JupyterCodeExecutor, block: CodeBlock) -> tuple[list[CellResult], bool]:
    """Run a block; return its cell, and whether it was interrupted."""
    try:
        cells = executor.execute_code_blocks([block]).cells
    except BlockInterrupted as exc:
        if exc.result is None:
            raise
        return exc.result.cells, True
    return cells, any(cell.status == "interrupted" for cell in cells)


def _kernels_to_follow(place: Place, directory: Path) -> contextlib.AbstractContextManager[Server]:
    """Provide kernels of the requested server, or else of a local JupyterLab that can see the notebook."""
    if place.docker is not None:
        raise click.UsageError(
            "--follow and --docker cannot be combined: the container has no JupyterLab. Leave out one of them."
        )
    if place.server is not None:
        return place.ready()
    if place.python is not None:
        raise click.UsageError(
            "--follow and --python cannot be combined: its JupyterLab starts kernels in nbtape's Python. Leave out one "
            "of them."
        )
    return _own_lab(directory)


@contextlib.contextmanager
def _own_lab(directory: Path) -> Iterator[Server]:
    """Start a local JupyterLab while entered."""
    from nbtape.servers.local import LocalJupyterServer

    make_directory(directory)
    lab = LocalJupyterServer(lab=True, root_dir=directory)
    try:
        lab.start()
    except ServerError as exc:
        raise ServerError(
            f"--follow could not start JupyterLab. Use a running one with --server, or leave out --follow. {exc}"
        ) from exc
    with lab:
        yield lab


def _invitation(executor: JupyterCodeExecutor, kernels: Server) -> str:
    """A sentence with the link to the notebook in JupyterLab, if there is one."""
    if not executor.url:
        return f"--follow has no link: the server has no JupyterLab or cannot see {executor.notebook}."
    from nbtape.servers.local import LocalJupyterServer

    if isinstance(kernels, LocalJupyterServer):
        link = kernels.login(executor.url)
        return f"Follow it in JupyterLab while it runs (the link works once): {link}"
    return f"Follow it in JupyterLab (which may ask for the server's token): {executor.url}"
