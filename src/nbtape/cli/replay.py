"""`nbtape replay`: run recorded notebooks again, with a verdict on every cell."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli import completion
from nbtape.cli.command import Command, json_option, print_document, timeout_option
from nbtape.cli.ctrl_c import interruptible
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.replay_output import Verdicts
from nbtape.cli.display.status_line import say
from nbtape.cli.exit import ending
from nbtape.cli.kernel_options import OUR_IMAGE, kernel_option, with_place
from nbtape.common.untrusted_files import replace_file
from nbtape.kernels.sources import checked_directory
from nbtape.kernels.start import make_directory
from nbtape.notebook.output_path import reporting
from nbtape.replay.report import REPORT_VERSION, NotReplayed, Outcome, ReplayReport
from nbtape.replay.selection import expanded, is_plural, made_from_others

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbtape.cli.kernel_options import Place

logger = logging.getLogger(__name__)

_VERDICTS: Final = {
    "same": "the outputs are the same",
    "cosmetic": "only values that change on every run differ: addresses, times, random ids, temporary paths, progress "
    "bars, set order",
    "drift": "numbers differ by at most 1e-5 of their value, or an image in a few pixels",
    "same_error": "the cell failed with the recorded error",
    "different": "the outputs differ",
    "error": "the cell failed now but not when recorded; later cells are not run without --keep-going",
    "fixed": "the cell failed when recorded but not now",
    "not_run": "an earlier cell failed",
    "ignored": "with --trust-notebook-settings: the cell's settings or tags allow the difference",
    "skipped": "with --trust-notebook-settings: not run because of a tag or comment, such as skip-execution",
}


@click.command(
    cls=Command,
    failed="a cell is different, error, fixed or not_run, or, without --allow-ignored, ignored or skipped",
    tables={"Verdicts (exit code 0: same, cosmetic, drift and same_error)": _VERDICTS},
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
    help="The notebook to write, if the name ends in .ipynb, or a directory for the new notebooks, created with its "
    "parents if missing.  [default: a new file next to each, NAME-replayed.ipynb, NAME-replayed-2.ipynb and so on]",
)
@kernel_option("The kernel spec.  [default: the one in the notebook]")
@with_place
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Override a variable of the parameters cell, as in papermill; may be repeated. Without such a cell, the "
    "variable is set in a new first cell.",
)
@timeout_option(600, "The time limit for each cell, unless it was recorded with a longer one or timed out.")
@click.option("--keep-going", is_flag=True, help="Continue after a cell that failed now but not when recorded.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Run in the directory of the notebook, instead of in a private copy of it that is removed afterwards. The "
    "code then overwrites the recorded files.",
)
@click.option(
    "--trust-notebook-settings",
    is_flag=True,
    help="Apply settings, tags and comments in NOTEBOOK that relax the comparison: metadata.nbtape.replay, "
    "nbval-ignore-output, # NBVAL_IGNORE_OUTPUT, nbval-skip, # NBVAL_SKIP, and skip-execution on a cell that was run. "
    "By default they are listed and ignored.",
)
@click.option(
    "--allow-ignored",
    is_flag=True,
    help="With --trust-notebook-settings: exit with 0 despite ignored and skipped cells.",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="How many notebooks to replay at once.",
)
@click.option(
    "--report",
    metavar="FILE",
    shell_complete=completion.files(".html", ".json"),
    help="Write a report: an HTML page if FILE ends in .html, else JSON.",
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
    in_place: bool,
    trust_notebook_settings: bool,
    allow_ignored: bool,
    jobs: int,
    report: str | None,
    as_json: bool,
) -> int:
    """Run notebooks again and report what changed.

    Runs each NOTEBOOK on a fresh kernel, in a private copy of its directory, writes a new notebook, and compares each
    cell and each file that the code writes with the record. A cell that failed when recorded may fail again; a cell
    that timed out is stopped after the same time. Accepts any notebook of nbformat 4; older ones are converted.

    The copy lacks the files that the recording created, virtual environments, caches, and links that lead out of the
    directory. Absolute paths in the code lead to the original.

    NOTEBOOK may be a directory, which stands for the notebooks in it. If you name several notebooks, nbtape skips those
    that are a replay or an export of another one of them. To replay such a notebook, name only that one.
    """
    if (place.docker or "").endswith(".ipynb"):  # click took the notebook for the value of --docker
        notebooks, place = (str(place.docker), *notebooks), dataclasses.replace(place, docker=OUR_IMAGE)
    if not notebooks:
        raise click.UsageError("Missing argument 'NOTEBOOK...'.")
    place.check()
    if allow_ignored and not trust_notebook_settings:
        raise click.UsageError("--allow-ignored needs --trust-notebook-settings: without it, no cell is ignored.")
    if report is not None:
        _check_report(Path(report))
    if report is not None and report.endswith(".html"):
        from nbtape.replay.html_report import check_packages

        check_packages()
    chosen = _chosen(notebooks)
    targets = _targets(chosen, output, is_plural=is_plural(notebooks))
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
            in_place=in_place,
            trust_notebook_settings=trust_notebook_settings,
            allow_ignored=allow_ignored,
        )
    if report is not None:
        _write(Path(report), outcomes, [path.parent for path in chosen])
    if as_json:
        print_document(_told(outcomes))
    return max(outcome.exit_code for outcome in outcomes)


def _check_report(path: Path) -> None:
    """Raise ValueError if no report can be written: checked before the replay, which may take hours."""
    if not path.parent.is_dir():
        raise ValueError(f"The directory of the report, {path.parent}, does not exist. Create it.")
    if path.is_dir():
        raise ValueError(f"--report {path} is a directory. Name a file in it.")


def _chosen(names: Sequence[str]) -> list[Path]:
    """The notebooks to replay, without those that were made from another one of them."""
    found = expanded(names)
    made = made_from_others(found)
    for path, origin in made.items():
        say(plain_line(f"nbtape: Skipping {path}: it was made from {origin.name}. To replay it, name it alone."))
    return [path for path in found if path not in made]


def _targets(notebooks: Sequence[Path], output: str | None, *, is_plural: bool) -> list[tuple[Path, Path | None]]:
    """Each notebook with its output; the directory for several outputs is created."""
    if output is None or not (is_plural or Path(output).is_dir() or not Path(output).suffix):
        return [(notebook, None if output is None else Path(output)) for notebook in notebooks]
    names = [notebook.name for notebook in notebooks]
    if len(set(names)) < len(names):
        raise ValueError("Two notebooks have the same name. Replay them one by one, or leave out --output.")
    make_directory(checked_directory(Path(output)), [notebook.parent for notebook in notebooks])
    return [(notebook, Path(output) / notebook.name) for notebook in notebooks]


def _replay_all(
    targets: Sequence[tuple[Path, Path | None]],
    jobs: int,
    verdicts: Verdicts,
    *,
    keeps_documents: bool,
    **options: Any,  # noqa: ANN401  (those of `nbtape.replay`)
) -> list[Outcome]:
    """Replay notebooks, `jobs` at a time. If one cannot be run, the others still run.

    The documents take memory and only an HTML report needs them.
    """
    with interruptible():
        from nbtape.replay.api import prepare
        from nbtape.replay.api import replay as run_again

        prepare()
    stops = _Stops()

    def replay_one(notebook: Path, output: Path | None) -> Outcome:
        progress = verdicts.follow(notebook)
        try:
            report = run_again(
                notebook, output, on_cell=progress.cells, on_copy=progress.copied, on_start=stops.add, **options
            )
            return report if keeps_documents else dataclasses.replace(report, documents=None)
        except Exception as exc:  # a bug that one notebook triggers does not keep the others from being replayed
            logger.debug("The replay of %s failed.", notebook, exc_info=True)
            code, line = ending(exc)
            return NotReplayed(notebook, line, code)

    with verdicts.progress:
        with ThreadPoolExecutor(jobs) as pool:
            running = [pool.submit(replay_one, *target) for target in targets]
            try:
                for each in as_completed(running):
                    verdicts.show(each.result())
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                stops.call()
                raise
        outcomes = [each.result() for each in running]
        verdicts.summary(outcomes)
    return outcomes


class _Stops:
    """Functions that each stop a replay; once they are called, further ones are called as they come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._is_over = False

    def add(self, stop: Callable[[], None]) -> None:
        with self._lock:
            self._stops.append(stop)
            is_over = self._is_over
        if is_over:
            stop()

    def call(self) -> None:
        with self._lock:
            self._is_over = True
            stops = [*self._stops]
        for stop in stops:
            stop()


def _value(text: str) -> object:
    """Parse the value of a parameter as papermill does: a number, a boolean, None, or else a string."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return {"True": True, "False": False, "None": None}.get(text, text)


def _write(path: Path, outcomes: Sequence[Outcome], untrusted: Sequence[Path]) -> None:
    """Write a report on all notebooks: HTML of those that were run, or JSON.

    Their code may have created links in the directories `untrusted`; links below those are not followed.
    """
    if path.suffix == ".html":
        from nbtape.replay.html_report import render

        content = render([outcome for outcome in outcomes if isinstance(outcome, ReplayReport)])
    else:
        content = f"{json.dumps(_told(outcomes), indent=1)}\n"
    with reporting(path):
        replace_file(path, content.encode(), untrusted)


def _told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "version": REPORT_VERSION,
        "exit_code": max(outcome.exit_code for outcome in outcomes),
        "notebooks": [outcome.to_dict() for outcome in outcomes],
    }
