"""What `replay` prints: the progress of each replay, and a table of what differs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from nbtape.cli.display.consoles import consoles, drawn, read_or_not, shows_progress
from nbtape.cli.display.plain import plain_code, plain_line
from nbtape.replay.report import ReplayReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.progress import Progress

    from nbtape.replay.report import Outcome

#: Time between two updates of the progress of a copy.
_UPDATE_SECONDS: Final = 0.1
_MB: Final = 1_000_000

#: The styles of verdicts in the table; the others are not colored.
_STYLES = {
    "different": "yellow",
    "error": "red",
    "fixed": "green",
    "not_run": "dim",
    "drift": "cyan",
    "ignored": "magenta",
    "skipped": "magenta",
}


class Verdicts:
    """Prints tables on standard output, unless it is `quiet`, and errors and progress on standard error.

    Enter `progress` to show progress on a terminal. While entered, do not print with click, which would write into the
    progress bars.
    """

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._quiet = quiet
        self._out, self._err = consoles()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not shows_progress(),
        )

    def follow(self, notebook: Path) -> NotebookProgress:
        """Add a progress bar for a notebook."""
        return NotebookProgress(self.progress, plain_line(notebook.name))

    def show(self, outcome: Outcome) -> None:
        """Print the outcome of a replay."""
        with read_or_not():
            if not isinstance(outcome, ReplayReport):
                where = "" if outcome.notebook.name in outcome.error else f"{outcome.notebook}: "
                self._err.print(f"nbtape: {plain_line(where + outcome.error)}")
                return
            if self._quiet:
                return
            if self._out.is_terminal:
                self._show_table(outcome)
            else:
                self._out.print(plain_code(drawn(str(outcome))))
            self._out.print(f"Notebook: {plain_line(str(outcome.output))}")

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """Print how many of several replays succeeded."""
        reports = [outcome for outcome in outcomes if isinstance(outcome, ReplayReport)]
        if len(outcomes) > 1 and not self._quiet:
            good = sum(report.exit_code == 0 for report in reports)
            with read_or_not():
                self._out.print(
                    f"{len(outcomes)} notebooks: {good} as recorded, {len(reports) - good} not as recorded, "
                    f"{len(outcomes) - len(reports)} could not be run."
                )

    def _show_table(self, report: ReplayReport) -> None:
        from rich.table import Table
        from rich.text import Text

        self._out.print(plain_line(report.summary()), style="bold")
        news = [cell for cell in report.cells if not cell.is_as_recorded or cell.verdict == "drift"]
        for line in (*report.news_of_files(), *report.news_of_settings(), *report.news_of_environment()):
            self._out.print(plain_line(drawn(line)))
        if not news:
            return
        table = Table("block", "verdict", "then", "now", "what differs")
        for cell in news:
            table.add_row(
                str(cell.block),
                Text(plain_line(cell.verdict), style=_STYLES.get(cell.verdict, "")),
                plain_line(cell.recorded or "not recorded"),
                plain_line(cell.replayed),
                Text(plain_line(cell.reason)),
            )
        self._out.print(table)


class NotebookProgress:
    """The progress bar of one notebook; its methods may be called from any thread."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._task = progress.add_task(name, total=None)
        self._copied = 0.0  # when the bar was last updated

    def cells(self, done: int, total: int) -> None:
        """Show how many cells have run."""
        self._progress.update(self._task, description=self._name, completed=done, total=total)

    def copied(self, done: int, total: int) -> None:
        """Show how many bytes of its directory are copied."""
        now = time.monotonic()
        if done == total:
            self._progress.update(self._task, description=self._name, completed=0, total=None)
        elif now - self._copied > _UPDATE_SECONDS:
            self._copied = now
            what = f"{self._name}: copying its directory, MB"
            self._progress.update(self._task, description=what, completed=done // _MB, total=total // _MB)
