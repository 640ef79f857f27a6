"""What a person sees of replays: how far each is, and a table of what has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import click

from nbtape.outputs import fit_text
from nbtape.replaying.report import ReplayReport
from nbtape.results import strip_escapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from nbtape.cli.replay import Outcome

#: How verdicts are coloured; those that are no news are not.
_STYLES = {"different": "yellow", "error": "red", "fixed": "green", "not_run": "dim", "drift": "cyan"}


class Verdicts:
    """Tables go to standard output; progress is for terminals, and for nobody else. Used by several threads."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._out = Console(highlight=False, markup=False, emoji=False)
        console = self._out if self._out.is_terminal else Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._lock = threading.Lock()

    def follow(self, notebook: Path) -> Callable[[int, int], None]:
        """A replay begins; what is to be called with how many of how many cells have run."""
        task = self._progress.add_task(_plain(notebook.name), total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def show(self, outcome: Outcome) -> None:
        """A replay has ended, or could not begin."""
        with self._lock:
            if not isinstance(outcome, ReplayReport):
                notebook, why = outcome
                click.echo(f"nbtape: {_plain(str(notebook))}: {_plain(why)}", err=True)
            elif self._out.is_terminal:
                self._show_table(outcome)
            else:
                click.echo(_plain(str(outcome)))
            if isinstance(outcome, ReplayReport):
                click.echo(f"Notebook: {_plain(str(outcome.output))}")

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """All of several replays are through."""
        reports = [outcome for outcome in outcomes if isinstance(outcome, ReplayReport)]
        if len(outcomes) > 1:
            good = sum(report.exit_code == 0 for report in reports)
            click.echo(
                f"{good} of {len(outcomes)} notebooks are as recorded, {len(reports) - good} are not, "
                f"{len(outcomes) - len(reports)} could not be run."
            )

    def _show_table(self, report: ReplayReport) -> None:
        from rich.table import Table
        from rich.text import Text

        head, *_ = str(report).splitlines()
        self._out.print(_plain(head), style="bold")
        news = [cell for cell in report.cells if not cell.is_as_recorded or cell.verdict == "drift"]
        if not news:
            return
        table = Table("cell", "verdict", "then", "now", "what differs")
        for cell in news:
            table.add_row(
                str(cell.index),
                Text(cell.verdict, style=_STYLES.get(cell.verdict, "")),
                cell.recorded or "not recorded",
                cell.replayed,
                Text(_plain(cell.reason)),
            )
        self._out.print(table)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


def _plain(text: str) -> str:
    """Text of a kernel or of a file's name, without what would change a terminal."""
    return strip_escapes(fit_text(text))
