"""What came of a replay: a verdict on each cell, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from nbtape._version import __version__
from nbtape.results import FAILED, REFUSED, WELL

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.environment import Difference
    from nbtape.replay.compare.settings import Verdict

#: The version of what `ReplayReport.to_dict` gives.
REPORT_VERSION: Final = 1

#: The most differences of the environment that people are told at once.
_TOLD: Final = 10

#: Verdicts that are no news: what was recorded came again, or nearly.
_AS_RECORDED: Final = frozenset({"same", "cosmetic", "drift", "same_error"})


@dataclass(frozen=True, slots=True)
class ReplayedCell:
    """The verdict on one code cell.

    Args:
        index: Its position in the recorded notebook, from 0.
        cell_id: Its id.
        verdict: `same`, `cosmetic`, `drift`, `different`, `error`, `fixed`, `same_error` or `not_run`.
        recorded: How it had ended: a status, `running` where the recording was cut off, empty if nothing is recorded.
        replayed: How it ended now: a status.
        reason: What differs, or why it was not judged; empty if there is nothing to say.
    """

    index: int
    cell_id: str
    verdict: Verdict
    recorded: str
    replayed: str
    reason: str = ""

    @property
    def is_as_recorded(self) -> bool:
        """Whether it is no worse than `drift`, or failed as it had failed."""
        return self.verdict in _AS_RECORDED


@dataclass(frozen=True, slots=True)
class NotReplayed:
    """Why there is no report on a notebook, among those on others.

    Args:
        notebook: The notebook.
        error: Why it could not be run.
    """

    notebook: Path
    error: str

    exit_code: ClassVar[int] = REFUSED

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it, in the place of a report."""
        return {"notebook": str(self.notebook), "exit_code": self.exit_code, "error": self.error}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What came of the replay of one notebook. `print(report)` says it in a few lines.

    Args:
        notebook: The recorded notebook.
        output: The new one.
        cells: One for each code cell of the recorded notebook, in its order.
        duration: Seconds that the replay took.
        environment: What is another in the environment of its end; None if the notebook does not tell of its own.
    """

    notebook: Path
    output: Path
    cells: list[ReplayedCell] = field(default_factory=list)
    duration: float = 0.0
    environment: list[Difference] | None = None

    @property
    def exit_code(self) -> int:
        """0 if no verdict is worse than `drift`, a failure that was recorded included; else 1."""
        return WELL if all(cell.is_as_recorded for cell in self.cells) else FAILED

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have each verdict, the most frequent first."""
        return dict(Counter(cell.verdict for cell in self.cells).most_common())

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it.

        Under `version` 1; `replayed_by`; `notebook` and `output`, paths; `exit_code`; `duration`, seconds; `counts`,
        how many cells have each verdict; `environment`, null or what is another in it, each with `name`, `before` and
        `after`; and `cells`, each with what `ReplayedCell` has.
        """
        return {
            "version": REPORT_VERSION,
            "replayed_by": f"nbtape {__version__}",
            "notebook": str(self.notebook),
            "output": str(self.output),
            "exit_code": self.exit_code,
            "duration": round(self.duration, 3),
            "counts": self.counts,
            "environment": self.environment and [asdict(difference) for difference in self.environment],
            "cells": [asdict(cell) for cell in self.cells],
        }

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items()) or "no code cells"
        news = [f"cell {cell.index}: {cell.verdict}. {cell.reason}" for cell in self.cells if not cell.is_as_recorded]
        return "\n".join([f"{self.notebook.name}: {counted}.", *news, *self.news_of_environment()])

    def news_of_environment(self) -> list[str]:
        """What is another in the environment, a line for each of the first ones."""
        found = self.environment or []
        told = [f"environment: {difference}" for difference in found[:_TOLD]]
        rest = len(found) - len(told)
        return [*told, f"environment: {rest} more differences"] if rest else told


#: What came of one notebook.
Outcome: TypeAlias = ReplayReport | NotReplayed
