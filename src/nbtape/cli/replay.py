"""`nbtape replay`: run recorded notebooks again, with a verdict on every cell."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli import completion
from nbtape.cli.command import Command, json_option, print_document, timeout_option
from nbtape.cli.display.replay_output import Verdicts
from nbtape.cli.kernel_options import OUR_IMAGE, kernel_option, with_place
from nbtape.common.untrusted_files import Directory, replace_file
from nbtape.errors import NbtapeError
from nbtape.replay.report import REPORT_VERSION, NotReplayed, Outcome, ReplayReport
from nbtape.results import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbtape.cli.kernel_options import Place

_VERDICTS: Final = {
    "same": "the same outputs",
    "cosmetic": "the same but for what never repeats: addresses, times, temporary paths, progress bars, orders of sets",
    "drift": "numbers moved within the tolerance, or a picture in a few pixels",
    "same_error": "it failed as it had failed",
    "different": "other outputs",
    "error": "it failed, and had not; the rest is not run (--keep-going runs it)",
    "fixed": "it had failed, and does not any more",
    "not_run": "a cell before it failed",
    "ignored": "with --trust-notebook-settings: the cell's own settings or tags allow the difference",
    "skipped": "with --trust-notebook-settings: not run, because of its tag skip-execution",
}


@click.command(
    cls=Command,
    exit_codes=[FAILED],
    tables={"Verdicts (from different on, the exit code is 1; --allow-ignored excepts the last two)": _VERDICTS},
    examples=[
        "nbtape replay answer.ipynb",
        "nbtape replay answer.ipynb -p n 20 -o answer-20.ipynb",
        "nbtape replay runs/*.ipynb --jobs 4 -o replayed --report report.html",
        "nbtape replay answer.ipynb --docker",
        "nbtape replay answer.ipynb --trust-notebook-settings --allow-ignored",
        "nbtape replay answer.ipynb --json | jq '.notebooks[].counts'",
    ],
)
@click.argument("notebooks", nargs=-1, metavar="NOTEBOOK...", shell_complete=completion.notebooks)
@click.option(
    "-o",
    "--output",
    metavar="NOTEBOOK|DIR",
    shell_complete=completion.notebooks,
    help="The new notebook; of several notebooks, a directory for them, made if need be.  [default: "
    "NAME-replayed.ipynb beside each]",
)
@kernel_option("The kernel spec.  [default: the one that the notebook names]")
@with_place
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Override a variable of the parameters cell, as papermill does it; may be repeated.",
)
@timeout_option(600, "How long each cell may run, unless it was recorded with more, or ran into its timeout.")
@click.option("--keep-going", is_flag=True, help="Run what comes after a cell that failed and had not.")
@click.option(
    "--trust-notebook-settings",
    is_flag=True,
    help="Apply settings and tags in NOTEBOOK that relax the comparison: metadata.nbtape.replay, nbval-ignore-output, "
    "skip-execution on a cell that was run. Without it they are listed and ignored.",
)
@click.option(
    "--allow-ignored",
    is_flag=True,
    help="With --trust-notebook-settings: exit with 0 in spite of ignored and skipped cells.",
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), metavar="N", help="How many notebooks at once."
)
@click.option(
    "--report",
    metavar="FILE",
    shell_complete=completion.files(".html", ".json"),
    help="Write the report there: a page to look at if it is an .html, else JSON.",
)
@json_option("exit_code, notebooks")
def replay(  # noqa: PLR0913  (one argument an option)
    *,
    notebooks: tuple[str, ...],
    output: str | None,
    kernel: str | None,
    place: Place,
    parameters: tuple[tuple[str, str], ...],
    timeout: float,
    keep_going: bool,
    trust_notebook_settings: bool,
    allow_ignored: bool,
    jobs: int,
    report: str | None,
    as_json: bool,
) -> int:
    """Run notebooks again and say what has changed.

    Each NOTEBOOK is run from its first cell on a fresh kernel, in its own directory, to a new notebook, and each cell
    is judged. What had failed may fail again; what had run into its timeout is stopped after as long. Any notebook of
    nbformat 4 will do.
    """
    if (place.docker or "").endswith(".ipynb"):  # click took the notebook for the value of --docker
        notebooks, place = (str(place.docker), *notebooks), dataclasses.replace(place, docker=OUR_IMAGE)
    if not notebooks:
        raise click.UsageError("Missing argument 'NOTEBOOK...'.")
    place.check()
    if allow_ignored and not trust_notebook_settings:
        raise click.UsageError("--allow-ignored needs --trust-notebook-settings: otherwise no cell is ignored.")
    if report is not None and not Path(report).parent.is_dir():  # checked before the replay, which may take hours
        raise ValueError(f"{Path(report).parent}, where the report is to go, is no directory: make it.")
    if report is not None and report.endswith(".html"):
        from nbtape.replay.html_report import check_packages

        check_packages()
    targets = _targets([Path(name) for name in notebooks], output)
    with place.ready() as kernels:
        outcomes = _replay_all(
            targets,
            jobs,
            Verdicts(quiet=as_json),
            keeps_documents=report is not None and report.endswith(".html"),
            jupyter_server=kernels,
            kernel_name=kernel,
            parameters={name: _value(text) for name, text in parameters},
            timeout=timeout,
            keep_going=keep_going,
            trust_notebook_settings=trust_notebook_settings,
            allow_ignored=allow_ignored,
        )
    if report is not None:
        _write(Path(report), outcomes, [Path(name).parent for name in notebooks])
    if as_json:
        print_document(_told(outcomes))
    return max(outcome.exit_code for outcome in outcomes)


def _targets(notebooks: Sequence[Path], output: str | None) -> list[tuple[Path, Path | None]]:
    """Each notebook with its output; the directory for several outputs is created."""
    if output is None or (len(notebooks) == 1 and not Path(output).is_dir()):
        return [(notebook, None if output is None else Path(output)) for notebook in notebooks]
    names = [notebook.name for notebook in notebooks]
    if len(set(names)) < len(names):
        raise ValueError("two of the notebooks have the same name: replay them one by one, or leave out --output.")
    with Directory(Path(output).parent) as parent:
        parent.make(Path(output).name)
        parent.below(Path(output).name).close()  # raises OSError for a link or a file
    return [(notebook, Path(output) / notebook.name) for notebook in notebooks]


def _replay_all(
    targets: Sequence[tuple[Path, Path | None]],
    jobs: int,
    verdicts: Verdicts,
    *,
    keeps_documents: bool,
    **options: Any,  # noqa: ANN401  (those of `nbtape.replay`)
) -> list[Outcome]:
    """Replay notebooks, `jobs` at a time. If one cannot be run, the others still are.

    The documents, which only a page needs, take memory.
    """
    stops: list[Callable[[], None]] = []

    def replay_one(notebook: Path, output: Path | None) -> Outcome:
        from nbtape.replay.api import replay as run_again

        try:
            report = run_again(notebook, output, on_cell=verdicts.follow(notebook), on_start=stops.append, **options)
            return report if keeps_documents else dataclasses.replace(report, documents=None)
        except (NbtapeError, ValueError, OSError) as exc:
            return NotReplayed(notebook, str(exc))

    with verdicts.progress:
        with ThreadPoolExecutor(jobs) as pool:
            running = [pool.submit(replay_one, *target) for target in targets]
            try:
                for each in as_completed(running):
                    verdicts.show(each.result())
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for stop in stops:
                    stop()
                raise
        outcomes = [each.result() for each in running]
        verdicts.summary(outcomes)
    return outcomes


def _value(text: str) -> object:
    """Parse the value of a parameter as papermill does: a number, a boolean, None, or else a string."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return {"True": True, "False": False, "None": None}.get(text, text)


def _write(path: Path, outcomes: Sequence[Outcome], untrusted: Sequence[Path]) -> None:
    """Write a report on all notebooks: HTML of those that were run, or JSON.

    Their code may have made links in the directories `untrusted`; none is followed below those.
    """
    if path.suffix == ".html":
        from nbtape.replay.html_report import render

        content = render([outcome for outcome in outcomes if isinstance(outcome, ReplayReport)])
    else:
        content = f"{json.dumps(_told(outcomes), indent=1)}\n"
    replace_file(path, content.encode(), untrusted)


def _told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "version": REPORT_VERSION,
        "exit_code": max(outcome.exit_code for outcome in outcomes),
        "notebooks": [outcome.to_dict() for outcome in outcomes],
    }
