"""What a person sees of replays: how far each is, and a table of what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from nbtape.cli.display.consoles import consoles, read_or_not, shows_progress
from nbtape.cli.display.plain import plain, plain_line
from nbtape.replay.report import ReplayReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from nbtape.replay.report import Outcome

#: How verdicts are coloured; those that are no news are not.
_STYLES = {"different": "yellow", "error": "red", "fixed": "green", "not_run": "dim", "drift": "cyan"}


class Verdicts:
    """Tables go to standard output; progress is for terminals, and for nobody else.

    What is told goes through the consoles: click writes past them, into the middle of the progress.

    Args:
        quiet: Show progress alone, and what could not be run.
    """

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._quiet = quiet
        self._out, self._err = consoles()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not shows_progress(),
        )

    def follow(self, notebook: Path) -> Callable[[int, int], None]:
        """A replay begins; what is to be called, by any thread, with how many of how many cells have run."""
        task = self._progress.add_task(plain_line(notebook.name), total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def show(self, outcome: Outcome) -> None:
        """A replay has ended, or could not begin."""
        with read_or_not():
            if not isinstance(outcome, ReplayReport):
                self._err.print(f"nbtape: {plain_line(str(outcome.notebook))}: {plain_line(outcome.error)}")
                return
            if self._quiet:
                return
            if self._out.is_terminal:
                self._show_table(outcome)
            else:
                self._out.print(plain(str(outcome)))
            self._out.print(f"Notebook: {plain_line(str(outcome.output))}")

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """All of several replays are through."""
        reports = [outcome for outcome in outcomes if isinstance(outcome, ReplayReport)]
        if len(outcomes) > 1 and not self._quiet:
            good = sum(report.exit_code == 0 for report in reports)
            with read_or_not():
                self._out.print(
                    f"{good} of {len(outcomes)} notebooks are as recorded, {len(reports) - good} are not, "
                    f"{len(outcomes) - len(reports)} could not be run."
                )

    def _show_table(self, report: ReplayReport) -> None:
        from rich.table import Table
        from rich.text import Text

        head, *_ = str(report).splitlines()
        self._out.print(plain_line(head), style="bold")
        news = [cell for cell in report.cells if not cell.is_as_recorded or cell.verdict == "drift"]
        for line in report.news_of_environment():
            self._out.print(plain_line(line))
        if not news:
            return
        table = Table("cell", "verdict", "then", "now", "what differs")
        for cell in news:
            table.add_row(
                str(cell.index),
                Text(cell.verdict, style=_STYLES.get(cell.verdict, "")),
                cell.recorded or "not recorded",
                cell.replayed,
                Text(plain_line(cell.reason)),
            )
        self._out.print(table)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
